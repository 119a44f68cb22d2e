//! Admin servers of the sidecar: health for everybody, statistics and sessions on loopback or with a token.

mod guard;
mod health;
mod sessions;
mod statistics;

use super::config::ListenAddress;
use super::limits::{ADMIN_CONNECTIONS, FEW_WAITING};
use super::reload::Reloads;
use super::runtime_config::ActiveConfig;
use super::serve::{Arrival, Bounds, Listeners, bind};
use super::stats::Stats;
use axum::Router;
use axum::body::Body;
use countersign_io::shutdown::Shutdown;
use guard::Guard;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

/// Longest time for a header to arrive, and between two requests.
const SILENCE: Duration = Duration::from_secs(30);
/// Largest header block, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// State that the admin servers show.
#[derive(Clone)]
pub(crate) struct About {
    /// The configuration in force.
    pub(crate) active: ActiveConfig,
    /// Counters and histograms.
    pub(crate) stats: Stats,
    /// Outcome of the last reload.
    pub(crate) reloads: Reloads,
    /// Fails readiness.
    pub(crate) stop: Shutdown,
    /// Ends the servers, with the last requests of the agent: whoever watches sees how they end.
    pub(crate) ending: Shutdown,
}

/// The three admin servers, bound and not yet serving.
pub(crate) struct AdminServers {
    counters: Stats,
    health: TcpListener,
    stats: TcpListener,
    sessions: TcpListener,
}

impl AdminServers {
    /// Binds all three sockets; the error names the server that has none.
    pub(crate) fn bind(
        counters: Stats,
        health: ListenAddress,
        stats: ListenAddress,
        sessions: ListenAddress,
    ) -> io::Result<Self> {
        let named = |name: &str, address: ListenAddress| {
            bind(address).map_err(|error| {
                io::Error::other(format!("{name} cannot listen on {}: {error}", address.address))
            })
        };
        Ok(Self {
            counters,
            health: named("health", health)?,
            stats: named("stats", stats)?,
            sessions: named("the session server", sessions)?,
        })
    }

    /// Serves until a shutdown is requested. Only statistics and sessions are guarded.
    pub(crate) async fn serve(self, about: About) {
        let about = Arc::new(about);
        let run = |name, socket, router| run(name, self.counters.clone(), socket, router, &about.ending);
        let health = run("health", self.health, health::router(Arc::clone(&about)));
        let guard = Guard::new(about.active.clone());
        let guarded = |router: Router| guard.clone().protect(router);
        let stats = run("stats", self.stats, guarded(statistics::router(Arc::clone(&about))));
        let sessions = run("sessions", self.sessions, guarded(sessions::router(Arc::clone(&about))));
        tokio::join!(health, stats, sessions);
    }
}

async fn run(name: &'static str, counters: Stats, socket: TcpListener, router: Router, stop: &Shutdown) {
    let serve = |stream, arrival| serve_admin(stream, arrival, router.clone());
    let listeners = Listeners::new(name, || Bounds::new(ADMIN_CONNECTIONS, 0, FEW_WAITING), counters);
    listeners.run(socket, stop.clone(), Duration::ZERO, serve).await;
}

/// Serves a connection to an admin server to its end, HTTP/1.1 alone.
async fn serve_admin(stream: TcpStream, Arrival { address, place }: Arrival, router: Router) {
    let service = service_fn(|request: Request<Incoming>| {
        let (ticket, answer) = (place.pending.ticket(), router.clone().call(request.map(Body::new)));
        async move {
            // Under way until its last part was taken: event streams are long.
            let hold = move |frame| {
                let _ = &ticket;
                frame
            };
            answer.await.map(|answer| answer.map(|body| body.map_frame(hold)))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(peer = %address, "a connection to an admin server ended: {error}");
    }
}

//! Admin servers of the sidecar: health for everybody, statistics and sessions on loopback or with a token.

mod guard;
mod health;
mod sessions;
mod statistics;

pub(crate) use guard::Guard;

use super::config::ListenAddress;
use super::reload::Reloads;
use super::runtime_config::ActiveConfig;
use super::serve::bind;
use super::stats::Stats;
use axum::Router;
use countersign_io::shutdown::Shutdown;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

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
    health: TcpListener,
    stats: TcpListener,
    sessions: TcpListener,
}

impl AdminServers {
    /// Binds all three sockets; the error names the server that has none.
    pub(crate) fn bind(
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
            health: named("health", health)?,
            stats: named("stats", stats)?,
            sessions: named("the session server", sessions)?,
        })
    }

    /// Serves until a shutdown is requested. Only statistics and sessions are guarded.
    pub(crate) async fn serve(self, about: About, guard: Option<Guard>) {
        let about = Arc::new(about);
        let health = run(self.health, health::router(Arc::clone(&about)), &about.ending);
        let guarded = |router: Router| match &guard {
            Some(guard) => guard.clone().protect(router),
            None => router,
        };
        let stats = run(self.stats, guarded(statistics::router(Arc::clone(&about))), &about.ending);
        let sessions = run(self.sessions, guarded(sessions::router(Arc::clone(&about))), &about.ending);
        tokio::join!(health, stats, sessions);
    }
}

async fn run(listener: TcpListener, router: Router, stop: &Shutdown) {
    let serving = axum::serve(listener, router);
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!("a server of the sidecar itself ended: {error}");
        },
        () = stop.requested() => {}
    }
}

//! The process: sockets are bound first, so that a port in use fails the start, and then everything runs on one thread
//! until SIGTERM or SIGINT.

use super::admin::{About, AdminServers, Guard};
use super::config::{Checked, ListenAddress, Reading};
use super::events::SessionStore;
use super::ext_proc::{self, Processor};
use super::identity::WorkloadIdentity;
use super::inbound::{self, InboundHandler};
use super::outbound::{LastRoutes, OutboundHandler, serve_proxy, serve_redirected};
use super::process_state::{ProcessState, session_bounds};
use super::reload::{IdentitySource, Reloader, Reloads, log_notices};
use super::runtime_config::{ActiveConfig, RuntimeConfig};
use super::serve::{Listeners, bind};
use super::stats::Stats;
use countersign_core::encoding::Digest;
use countersign_io::shutdown::{self, Shutdown};
use futures::future::join_all;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Longest time for requests in flight after a shutdown is requested; half of a pod's usual grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(15);

/// Listening sockets of the data plane.
struct Sockets {
    inbound: Option<TcpListener>,
    outbound: Option<TcpListener>,
    transparent: Vec<TcpListener>,
    ext_proc: Option<TcpListener>,
}

fn named(name: &str, address: Option<ListenAddress>) -> io::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let bound = bind(address);
    bound
        .map(Some)
        .map_err(|error| io::Error::other(format!("{name} cannot listen on {}: {error}", address.address)))
}

/// Binds the transparent listener. The kernel redirects to the loopback address of a connection's own family, so a port
/// alone is bound on both, where the machine has both.
fn transparent(address: Option<ListenAddress>) -> io::Result<Vec<TcpListener>> {
    let name = "the transparent listener";
    let mut sockets: Vec<TcpListener> = named(name, address)?.into_iter().collect();
    if let Some(ListenAddress { address, only_port: true }) = address {
        let other = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
        match bind(ListenAddress { address: other, only_port: false }) {
            Ok(socket) => sockets.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(io::Error::other(format!("{name} cannot listen on {other}: {error}"))),
        }
    }
    Ok(sockets)
}

/// Runs until a shutdown signal. The error is a sentence.
pub(super) async fn run(
    path: PathBuf,
    reading: Reading,
    checked: Checked,
    digest: Digest,
) -> Result<(), String> {
    let stop = shutdown::on_signal().map_err(|error| error.to_string())?;
    let Checked { config, addresses, notices, .. } = &checked;
    log_notices(notices);
    let stats = Stats::new();
    stats.config_current.set(1);
    stats.routes_current.set(1);
    let identity = WorkloadIdentity::new();
    let process_state = ProcessState {
        identity: identity.clone(),
        store: SessionStore::new(session_bounds(config)),
        last_routes: LastRoutes::default(),
        stats: stats.clone(),
    };
    let runtime = RuntimeConfig::new(&checked, &process_state)?;
    let failed = |error: io::Error| error.to_string();
    let servers = AdminServers::bind(addresses.health, addresses.stats, addresses.session).map_err(failed)?;
    let sockets = Sockets {
        inbound: named("the reverse proxy", addresses.inbound.as_ref().map(|(address, _)| *address))
            .map_err(failed)?,
        outbound: named("the forward proxy", addresses.outbound).map_err(failed)?,
        transparent: transparent(addresses.transparent).map_err(failed)?,
        ext_proc: named("the external processor", addresses.ext_proc).map_err(failed)?,
    };
    let mut source = IdentitySource::new(identity.clone());
    source.set(config.spiffe.as_ref());
    let active = ActiveConfig::new(runtime);
    let reloads = Reloads::new(digest);
    let about =
        About { active: active.clone(), stats: stats.clone(), reloads: reloads.clone(), stop: stop.clone() };
    let guard = config.admin.token_file.as_deref().map(Guard::new);
    let reloader = Reloader {
        path,
        reading,
        active: active.clone(),
        state: process_state,
        source,
        reloads,
        stats: stats.clone(),
    };
    let connections = config.limits.connections;
    tracing::info!(mode = ?config.mode, "started");
    // Joined with the data plane and without a drain of their own: a scrape must not delay the end of the process.
    let watching = async { tokio::join!(reloader.run(stop.clone()), servers.serve(about, guard)) };
    let reauthorizing = reauthorize_on_change(&active, &identity, &stop);
    tokio::join!(data_plane(sockets, connections, &active, &stats, &stop), watching, reauthorizing);
    Ok(())
}

async fn data_plane(
    sockets: Sockets,
    connections: usize,
    active: &ActiveConfig,
    stats: &Stats,
    stop: &Shutdown,
) {
    let inbound = Arc::new(InboundHandler::new(active.clone(), stats.clone(), stop.clone()));
    let outbound = Arc::new(OutboundHandler::new(active.clone(), stats.clone(), stop.clone()));
    let reverse = async {
        let Some(socket) = sockets.inbound else { return };
        let serve = |stream, peer| inbound::serve(Arc::clone(&inbound), stream, peer);
        Listeners::new("inbound", connections).run(socket, stop.clone(), DRAIN, serve).await;
    };
    let forward = async {
        let Some(socket) = sockets.outbound else { return };
        let serve = |stream, peer| serve_proxy(Arc::clone(&outbound), stream, peer);
        Listeners::new("outbound", connections).run(socket, stop.clone(), DRAIN, serve).await;
    };
    let transparent = join_all(sockets.transparent.into_iter().map(|socket| {
        let serve = |stream, peer| serve_redirected(Arc::clone(&outbound), stream, peer);
        Listeners::new("transparent", connections).run(socket, stop.clone(), DRAIN, serve)
    }));
    let processor = Arc::new(Processor::new(active.clone(), stats.clone(), stop.clone()));
    let processing = async {
        let Some(socket) = sockets.ext_proc else { return };
        let serve = |stream, peer| ext_proc::serve(Arc::clone(&processor), stream, peer);
        Listeners::new("ext_proc", connections).run(socket, stop.clone(), DRAIN, serve).await;
    };
    tokio::join!(reverse, forward, transparent, processing);
}

/// Starts a new epoch whenever the identity changes, since bundles decide who may stay connected, and at shutdown, which
/// wakes idle connections so that they end.
async fn reauthorize_on_change(active: &ActiveConfig, identity: &WorkloadIdentity, stop: &Shutdown) {
    let mut changes = identity.changes();
    loop {
        let ends = tokio::select! {
            told = changes.changed() => told.is_err(),
            () = stop.requested() => true,
        };
        active.reauthorize_connections();
        if ends {
            return;
        }
    }
}

//! The process: sockets are bound first, so that a port in use fails the start, and then everything runs on one thread
//! until SIGTERM or SIGINT. Then requests to the agent end first, and those of the agent last: it may still need tools to
//! finish its work.

use super::admin::{About, AdminServers};
use super::config::{Checked, Limits, ListenAddress, Reading};
use super::config_log::log_notices;
use super::events::SessionStore;
use super::ext_proc::{self, Processor};
use super::identity::WorkloadIdentity;
use super::inbound::{self, InboundHandler};
use super::outbound::{OutboundHandler, serve_proxy, serve_redirected};
use super::process_state::{Epochs, ProcessState, session_bounds};
use super::reload::{IdentitySource, Reloader, Reloads};
use super::runtime_config::{ActiveConfig, RuntimeConfig};
use super::serve::{Bounds, Listeners, Share, bind, raise_descriptors};
use super::stats::Stats;
use countersign_core::encoding::Digest;
use countersign_io::shutdown::{self, Shutdown, Trigger};
use futures::future::join_all;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Longest time for requests in flight after a shutdown is requested; half of a pod's usual grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(15);

/// Longest time from a requested shutdown for which an agent that still listens may call servers: 5 s less than a Pod's
/// usual grace period.
const LAST_CALLS: Duration = Duration::from_secs(25);
/// Time between two looks whether the agent still listens, and the longest time for one.
const LOOK: Duration = Duration::from_millis(250);
/// Longest time for requests of an agent that is gone.
const LEFT: Duration = Duration::from_secs(2);

/// Listening sockets of the data plane.
struct Sockets {
    inbound: Option<TcpListener>,
    transparent_inbound: Option<TcpListener>,
    outbound: Option<TcpListener>,
    transparent: Vec<TcpListener>,
    ext_proc: Option<TcpListener>,
}

impl Sockets {
    fn count(&self) -> usize {
        let single = [&self.inbound, &self.transparent_inbound, &self.outbound, &self.ext_proc];
        single.into_iter().flatten().chain(&self.transparent).count()
    }
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
    log_notices(&path, notices);
    let stats = Stats::new();
    stats.config_current.set(1);
    stats.routes_current.set(1);
    let identity = WorkloadIdentity::new();
    let process_state = ProcessState {
        identity: identity.clone(),
        store: SessionStore::new(session_bounds(config)),
        stats: stats.clone(),
        epochs: Epochs::default(),
    };
    let runtime = RuntimeConfig::new(&checked, &process_state, None)?;
    let failed = |error: io::Error| error.to_string();
    let servers = AdminServers::bind(stats.clone(), addresses.health, addresses.stats, addresses.session)
        .map_err(failed)?;
    let sockets = Sockets {
        inbound: named("the reverse proxy", addresses.inbound.as_ref().map(|(address, _)| *address))
            .map_err(failed)?,
        transparent_inbound: named("the transparent inbound listener", addresses.transparent_inbound)
            .map_err(failed)?,
        outbound: named("the forward proxy", addresses.outbound).map_err(failed)?,
        transparent: transparent(addresses.transparent).map_err(failed)?,
        ext_proc: named("the external processor", addresses.ext_proc).map_err(failed)?,
    };
    let mut source = IdentitySource::new(identity.clone());
    source.set(config.spiffe.as_ref());
    let active = ActiveConfig::new(runtime, process_state.epochs.clone());
    let reloads = Reloads::new(digest);
    let (end, ending) = shutdown::channel();
    let about = About {
        active: active.clone(),
        stats: stats.clone(),
        reloads: reloads.clone(),
        stop: stop.clone(),
        ending: ending.clone(),
    };
    let share = Share::new(raise_descriptors(), sockets.count());
    share.tell_shortage(config.limits.connections);
    let reloader = Reloader {
        path,
        reading,
        active: active.clone(),
        state: process_state,
        source,
        reloads,
        stats: stats.clone(),
        share,
    };
    tracing::info!(mode = ?config.mode, "started");
    // Joined with the data plane and without a drain of their own: a scrape must not delay the end of the process.
    let watching = async { tokio::join!(reloader.run(stop.clone()), servers.serve(about)) };
    let reauthorizing = reauthorize_on_change(&active, &identity, &stop, &ending);
    let phases = Phases { stop: stop.clone(), end, ending: ending.clone() };
    tokio::join!(data_plane(sockets, share, &active, &stats, phases), watching, reauthorizing);
    Ok(())
}

/// Two phases of a shutdown.
struct Phases {
    /// Requests to the agent are drained from here on.
    stop: Shutdown,
    /// Requests `ending`.
    end: Trigger,
    /// Requests of the agent are drained from here on, and the process ends.
    ending: Shutdown,
}

async fn data_plane(sockets: Sockets, share: Share, active: &ActiveConfig, stats: &Stats, phases: Phases) {
    let Phases { stop, end, ending } = phases;
    let inbound = Arc::new(InboundHandler::new(active.clone(), stats.clone(), stop.clone()));
    let outbound = Arc::new(OutboundHandler::new(active.clone(), stats.clone(), ending.clone()));
    // Read for each connection: a reload may change them.
    let bounds = |is_local: bool| {
        let active = active.clone();
        move || {
            let Limits { connections, connections_per_peer, memory, .. } = active.current().config.limits;
            let (connections, per_peer) = share.connections((connections, connections_per_peer));
            // The agent, or Envoy, is the only peer of the other listeners.
            let per_peer = if is_local { connections } else { per_peer };
            Bounds::new((connections, per_peer), memory, share.waiting).with_calls(share.connections)
        }
    };
    // With an Envoy there is no agent to look at, and all drain together.
    let takes_calls = sockets.inbound.is_some() || sockets.transparent_inbound.is_some();
    let left = if takes_calls { LEFT } else { DRAIN };
    let reverse = async {
        let Some(socket) = sockets.inbound else { return };
        let serve = |stream, peer| inbound::serve(Arc::clone(&inbound), stream, peer, None);
        Listeners::new("inbound", bounds(false), stats.clone()).run(socket, stop.clone(), DRAIN, serve).await;
    };
    let redirected = async {
        let Some(socket) = sockets.transparent_inbound else { return };
        let serve = |stream, peer| inbound::serve_redirected(Arc::clone(&inbound), stream, peer);
        let listeners = Listeners::new("transparent_inbound", bounds(false), stats.clone());
        listeners.run(socket, stop.clone(), DRAIN, serve).await;
    };
    let to_agent = async {
        if takes_calls {
            let last_calls = async {
                stop.requested().await;
                tokio::time::sleep(LAST_CALLS).await;
            };
            let drained = async {
                tokio::join!(reverse, redirected);
                agent_is_gone(&active.current(), &inbound).await;
            };
            tokio::select! {
                () = drained => {}
                () = last_calls => tracing::warn!("the agent still listens, and its calls end"),
            }
        } else {
            stop.requested().await;
        }
        end.request();
    };
    let forward = async {
        let Some(socket) = sockets.outbound else { return };
        let serve = |stream, peer| serve_proxy(Arc::clone(&outbound), stream, peer);
        Listeners::new("outbound", bounds(true), stats.clone())
            .run(socket, ending.clone(), left, serve)
            .await;
    };
    let transparent = join_all(sockets.transparent.into_iter().map(|socket| {
        let serve = |stream, peer| serve_redirected(Arc::clone(&outbound), stream, peer);
        Listeners::new("transparent", bounds(true), stats.clone()).run(socket, ending.clone(), left, serve)
    }));
    let processor = Arc::new(Processor::new(active.clone(), stats.clone(), stop.clone()));
    let processing = async {
        let Some(socket) = sockets.ext_proc else { return };
        let serve = |stream, peer| ext_proc::serve(Arc::clone(&processor), stream, peer);
        Listeners::new("ext_proc", bounds(true), stats.clone()).run(socket, stop.clone(), DRAIN, serve).await;
    };
    tokio::join!(to_agent, forward, transparent, processing);
}

/// Waits until nobody listens on the agent's port: the one behind the reverse proxy, or else the last that answered.
async fn agent_is_gone(runtime: &RuntimeConfig, inbound: &InboundHandler) {
    let Some(backend) = runtime.backend().ok().or_else(|| inbound.last_agent()) else { return };
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    while !matches!(
        tokio::time::timeout(LOOK, TcpStream::connect(backend.as_str())).await,
        Ok(Err(error)) if refused(&error)
    ) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Starts a new epoch whenever the identity changes, since bundles decide who may stay connected, and at both phases of a
/// shutdown, which wakes idle connections so that they end.
async fn reauthorize_on_change(
    active: &ActiveConfig,
    identity: &WorkloadIdentity,
    stop: &Shutdown,
    ending: &Shutdown,
) {
    let mut changes = identity.changes();
    let mut is_stopping = false;
    loop {
        let ends = tokio::select! {
            told = changes.changed() => told.is_err(),
            () = stop.requested(), if !is_stopping => {
                is_stopping = true;
                false
            }
            () = ending.requested() => true,
        };
        active.reauthorize_connections();
        if ends {
            return;
        }
    }
}

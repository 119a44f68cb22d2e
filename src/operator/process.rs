//! Start and end of the process. Probes are served first; at the end the controllers stop, then the lease is
//! released, then the servers stop.

use super::controllers::{Controllers, Observer};
use super::error::OperatorError;
use super::flags::Config;
use super::metrics::Metrics;
use super::shared::Shared;
use super::sidecars::Sidecars;
use super::webhook::{Decide, Webhook, admit};
use super::{metrics_server, telemetry};
use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;
use countersign_controller::admin::{self, Check, Readiness};
use countersign_controller::api_error::Explained;
use countersign_controller::lease;
use countersign_controller::list_limit::LimitLists;
use countersign_io::shutdown::{self, Shutdown, Trigger};
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_layer::layer_fn;

/// Maximum time for controllers to stop; the existing chart gives a Pod 10 s in total.
const STOP_CONTROLLERS: Duration = Duration::from_secs(3);
/// Maximum time for servers to finish their last answers; the webhook goes on for a moment before that.
const STOP_SERVERS: Duration = Duration::from_millis(6500);
/// Longest silence of the API server during a request. A hanging request would hold a slot and the write behind it; the
/// API server itself gives up on most requests after 60 s.
const SILENCE: Duration = Duration::from_secs(20);
/// Period and timeout of probes of the API server.
const API_PROBE: Duration = Duration::from_secs(10);

/// Runs the operator until a signal or an error ends it.
pub async fn run(config: Config) -> Result<(), OperatorError> {
    let telemetry = telemetry::start(&config)?;
    let stop = shutdown::on_signal().map_err(|error| OperatorError::setup("signals", error))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut servers = Servers::new();
    let ended = Box::pin(work(config, &stop, &mut servers)).await;
    servers.stop().await;
    match &ended {
        Ok(()) => tracing::info!("stopped"),
        Err(error) => tracing::error!("{error}"),
    }
    telemetry.end().await;
    ended
}

async fn work(config: Config, stop: &Shutdown, servers: &mut Servers) -> Result<(), OperatorError> {
    let readiness = Readiness::default();
    let api = readiness.check("api");
    if let Some(address) = config.health {
        let listener = listen("probes", address).await?;
        servers.running.spawn(admin::serve(listener, readiness.clone(), servers.token.clone()));
    }
    let (client, watching) = clients(&config).await?;
    let metrics = Metrics::default();
    if let Some(server) = config.metrics.clone() {
        let listener = listen("metrics", server.address).await?;
        let (metrics, client, token) = (metrics.clone(), client.clone(), servers.token.clone());
        servers.running.spawn(metrics_server::serve(listener, server.tls, metrics, client, token));
    }
    let sidecars = Arc::new(Sidecars::new(&config.sidecar_image));
    let webhook = config.webhook.clone().map(|server| {
        let clients = (client.clone(), watching.clone());
        (server.address, Webhook::new(server, &config.namespace, clients, metrics.clone()))
    });
    if let Some((address, webhook)) = webhook.clone() {
        let sidecars = Arc::clone(&sidecars);
        let decide: Decide = Arc::new(move |request| admit(request, sidecars.settings().as_deref()));
        let (check, token) = (readiness.check("webhook"), servers.token.clone());
        let listen = async move || listen("the webhook", address).await.map_err(io::Error::other);
        servers.running.spawn(webhook.serve(decide, check, listen, token));
    }
    let config = Arc::new(config);
    let context = Shared { config, client: client.clone(), watching, metrics, sidecars, readiness };
    let shared = context.clone();
    let (mut observer, mut controllers) = Observer::start(context)?;
    if let Some((_, webhook)) = webhook {
        controllers.also(webhook.keep());
    }
    let (end, token) = shutdown::channel();
    let mut leading = Box::pin(lead(shared, controllers, &token));
    let ended = tokio::select! {
        ended = &mut leading => ended,
        ended = async {
            tokio::select! {
                problem = observer.failed() => Err(problem),
                problem = servers.failed() => Err(problem),
                () = stop.requested() => Ok(()),
                never = probe(client, api) => match never {},
            }
        } => {
            // Whatever ends the process, the lease is released, so that another replica need not wait for its end.
            end.request();
            ended.and(leading.await)
        }
    };
    observer.stop().await;
    ended
}

/// Runs the controllers, under the lease if leader election is configured.
async fn lead(context: Shared, controllers: Controllers, stop: &Shutdown) -> Result<(), OperatorError> {
    if !context.config.leader_elect {
        context.metrics.leading(true);
        return Box::pin(control(controllers, stop)).await;
    }
    let identity = context.config.pod_name.clone().unwrap_or_else(|| {
        // Outside a Pod two replicas may share a machine and its name, so the identity is random.
        format!("countersign_{:016x}", fastrand::u64(..))
    });
    let metrics = context.metrics.clone();
    let namespace = context.config.namespace.clone();
    let client = context.client.clone();
    let leading = |leads| metrics.leading(leads);
    let held = lease::hold(
        client,
        namespace.as_str(),
        identity,
        stop,
        leading,
        Box::pin(control(controllers, stop)),
    );
    Box::pin(held).await?.unwrap_or(Ok(()))
}

/// Runs the controllers until they end, or until [`STOP_CONTROLLERS`] after `stop`.
async fn control(controllers: Controllers, stop: &Shutdown) -> Result<(), OperatorError> {
    tokio::select! {
        ended = controllers.run(stop.clone()) => ended,
        () = async { stop.requested().await; sleep(STOP_CONTROLLERS).await } => {
            tracing::warn!("the controllers did not stop in time");
            Ok(())
        }
    }
}

/// Updates the readiness check `api` by a probe of the API server every 10 s.
async fn probe(client: Client, check: Check) -> Infallible {
    loop {
        match timeout(API_PROBE, client.apiserver_version()).await {
            Ok(Ok(_)) => check.pass(),
            Ok(Err(error)) => check.fail(format!("the API server does not answer: {}", Explained(&error))),
            Err(_) => check.fail("the API server does not answer in time"),
        }
        sleep(API_PROBE).await;
    }
}

/// Client for requests, and client for watches.
async fn clients(config: &Config) -> Result<(Client, Client), OperatorError> {
    let found = match &config.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(file) => kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await,
            Err(error) => Err(error),
        }
        .map_err(|error| format!("{}: {error}", path.display())),
        None => kube::Config::infer().await.map_err(|error| error.to_string()),
    };
    let mut found = found.map_err(OperatorError::Kubernetes)?;
    found.connect_timeout = Some(Duration::from_secs(5));
    // The client would repeat a request for minutes, or for as long as `Retry-After` says, and with it a plan that is old by
    // then, while the turn that closes waits for this one. A turn that fails is repeated from a new observation.
    found.default_retry = false;
    let agent = HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION")));
    found.headers.push((USER_AGENT, agent));
    let client = |config: kube::Config| {
        Client::try_from(config).map_err(|error| OperatorError::Kubernetes(error.to_string()))
    };
    let mut patient = found.clone();
    // What a page of a list says does not grow old, and without the page the whole list would begin anew.
    patient.default_retry = true;
    let watching = ClientBuilder::try_from(patient)
        .map_err(|error| OperatorError::Kubernetes(error.to_string()))?
        .with_layer(&layer_fn(LimitLists))
        .build();
    found.read_timeout = Some(SILENCE);
    Ok((client(found)?, watching))
}

/// Listens on an address; without IPv6 on the node, `:PORT` is all addresses of IPv4.
async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, OperatorError> {
    let failed = |error| OperatorError::Listen { what, address, error };
    match TcpListener::bind(address).await {
        Err(error) => match without_ipv6(address, error.kind()) {
            Some(other) => TcpListener::bind(other).await.map_err(failed),
            None => Err(failed(error)),
        },
        Ok(listener) => Ok(listener),
    }
}

/// All addresses of IPv4 in place of those of both families, if a node without IPv6 refused the latter.
fn without_ipv6(address: SocketAddr, refused: ErrorKind) -> Option<SocketAddr> {
    // EAFNOSUPPORT has no stable kind, so the kinds that have another cause are listed.
    let lacks_family = !matches!(refused, ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
    let all = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (all && lacks_family).then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
}

/// Servers for probes and metrics, which outlive the controllers.
struct Servers {
    running: JoinSet<io::Result<()>>,
    end: Trigger,
    token: Shutdown,
}

impl Servers {
    fn new() -> Self {
        let (end, token) = shutdown::channel();
        Self { running: JoinSet::new(), end, token }
    }

    /// Waits until a server ends by itself; never returns if there is none.
    async fn failed(&mut self) -> OperatorError {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(Ok(Err(error))) => OperatorError::setup("a server", error),
            Some(ended) => OperatorError::setup("a server", format!("it ended: {ended:?}")),
        }
    }

    async fn stop(&mut self) {
        self.end.request();
        let all = async { while self.running.join_next().await.is_some() {} };
        if timeout(STOP_SERVERS, all).await.is_err() {
            tracing::warn!("a server did not stop in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_ipv6_is_served_on_ipv4_and_a_taken_port_is_an_error() {
        let all: SocketAddr = "[::]:8081".parse().unwrap();
        let there = Some("0.0.0.0:8081".parse().unwrap());
        for (address, refused, expected) in [
            (all, ErrorKind::Unsupported, there),
            (all, ErrorKind::AddrNotAvailable, there),
            (all, ErrorKind::AddrInUse, None),
            (all, ErrorKind::PermissionDenied, None),
            ("[::1]:8081".parse().unwrap(), ErrorKind::AddrNotAvailable, None),
        ] {
            assert_eq!(without_ipv6(address, refused), expected, "{address} {refused}");
        }
    }
}

//! Rules for requests of the agent, built from one configuration; the file of routes is reloaded while it runs.

use super::connect::{Dialer, Target};
use super::exchange::Exchanger;
use super::parsers::outbound_parsers;
use super::routes::{RouteDecision, Table};
use super::routes_file::{Absence, LastRoutes};
use crate::body::ProxyBody;
use crate::config::{
    Config, InboundInterception, MtlsMode, OnError, PluginSettings, Reading, Route, RouteTls, Routes,
    TokenExchange,
};
use crate::events::Parser;
use crate::identity::WorkloadIdentity;
use crate::process_state::{Epochs, ProcessState};
use crate::serve::TunnelTimes;
use crate::stats::Stats;
use arc_swap::ArcSwap;
use countersign_core::encoding::Digest;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Time between two reads of the file. It is not watched, because it and its folder may appear after the start.
const LOOK: Duration = Duration::from_secs(2);
/// Most servers with a connection pool.
const SERVERS: usize = 256;
/// Time for which an idle connection to a server is kept for the next request.
const KEEP: Duration = Duration::from_mins(1);

/// Rules for requests of the agent.
pub(crate) struct OutboundRules {
    routing: Arc<ArcSwap<Routing>>,
    pub(super) exchanger: Option<Arc<Exchanger>>,
    /// True with `on_error: observe`: a request passes although its token was not exchanged.
    pub(super) observes: bool,
    pub(super) parsers: Vec<Parser>,
    identity: WorkloadIdentity,
    default_tls: RouteTls,
    forbidden: Vec<u16>,
    tunnel: TunnelTimes,
    pub(super) stats: Stats,
    last_routes: Option<LastRoutes>,
    problem: Arc<Mutex<Option<String>>>,
}

/// Table of routes with the connections opened under it. They are replaced together, because a connection was verified
/// by its route.
pub(super) struct Routing {
    pub(super) table: Arc<Table>,
    clients: Cache<PoolKey, Client<Dialer, ProxyBody>>,
}

/// Key of the connections to one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    host: String,
    port: u16,
    address: Option<SocketAddr>,
    identity: Option<Digest>,
}

/// Key as it is looked up, without a copy of the name. Members stand in the order of [`PoolKey`], so both hash alike.
#[derive(Hash)]
struct PoolLookup<'a> {
    host: &'a str,
    port: u16,
    address: Option<SocketAddr>,
    identity: Option<Digest>,
}

impl Equivalent<PoolKey> for PoolLookup<'_> {
    fn equivalent(&self, key: &PoolKey) -> bool {
        (self.host, self.port, self.address, self.identity)
            == (key.host.as_str(), key.port, key.address, key.identity)
    }
}

impl From<&PoolLookup<'_>> for PoolKey {
    fn from(lookup: &PoolLookup<'_>) -> Self {
        let PoolLookup { host, port, address, identity } = lookup;
        Self { host: (*host).to_owned(), port: *port, address: *address, identity: *identity }
    }
}

impl Routing {
    fn new(table: Table) -> Self {
        Self { table: Arc::new(table), clients: Cache::new(SERVERS) }
    }
}

impl OutboundRules {
    /// Builds the rules; `tasks` follow the file of routes. `previous` are the rules in force.
    pub(crate) fn new(
        (config, reading): (&Config, Reading),
        state: &ProcessState,
        previous: Option<&Self>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, String> {
        let mut plugins =
            config.pipeline.outbound.plugins.iter().filter(|plugin| plugin.on_error != OnError::Off);
        let plugin = plugins.find_map(|plugin| match &plugin.settings {
            PluginSettings::TokenExchange(settings) => Some((settings.as_ref(), plugin.on_error)),
            _ => None,
        });
        let settings = plugin.map(|(settings, _)| settings);
        let skip = config.listener.skip_hosts.clone();
        let last_routes = settings.map(|settings| last_routes(&settings.routes.file, previous));
        let (from_file, problem) = match &last_routes {
            Some((last, absence)) => last.read(reading, *absence)?,
            None => (Vec::new(), None),
        };
        let last_routes = last_routes.map(|(last, _)| last);
        let table = Table::new(settings, &from_file, &skip)?;
        let exchanger = settings
            .map(|settings| exchanger(config, settings, &table, state, previous))
            .transpose()?
            .map(Arc::new);
        let strict = config.mtls.as_ref().is_some_and(|mtls| mtls.mode == MtlsMode::Strict);
        let default_tls = if strict { RouteTls::Mtls } else { RouteTls::Plain };
        let forbidden = own_ports(config);
        let tunnel = TunnelTimes::new(&config.limits);
        // Connections were opened under all four.
        let known = previous
            .filter(|rules| {
                rules.default_tls == default_tls && rules.forbidden == forbidden && rules.tunnel == tunnel
            })
            .map(Self::routing)
            .filter(|routing| *routing.table == table);
        let routing = Arc::new(ArcSwap::new(known.unwrap_or_else(|| Arc::new(Routing::new(table)))));
        let problem = Arc::new(Mutex::new(problem));
        if let (Some(settings), Some(exchanger), Some(last_routes)) = (settings, &exchanger, &last_routes) {
            let follow = Follow {
                settings: settings.clone(),
                reading,
                skip,
                last: from_file,
                last_routes: last_routes.clone(),
                exchanger: Arc::clone(exchanger),
                routing: Arc::clone(&routing),
                problem: Arc::clone(&problem),
                stats: state.stats.clone(),
                epochs: state.epochs.clone(),
            };
            tasks.spawn(follow.run());
        }
        Ok(Self {
            routing,
            exchanger,
            observes: plugin.is_some_and(|(_, on_error)| on_error == OnError::Observe),
            parsers: outbound_parsers(config)?,
            identity: state.identity.clone(),
            default_tls,
            forbidden,
            tunnel,
            stats: state.stats.clone(),
            last_routes,
            problem,
        })
    }

    /// The routes in force.
    pub(super) fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    /// Returns the transport to the server: that of the route, or else the one that `mtls.mode` selects.
    pub(super) fn tls(&self, decision: &RouteDecision) -> RouteTls {
        decision.tls.unwrap_or(self.default_tls)
    }

    /// The client for one server, with its pool of connections.
    pub(super) fn client(
        &self,
        routing: &Routing,
        target: Target,
        decision: &RouteDecision,
    ) -> Client<Dialer, ProxyBody> {
        let tls = self.tls(decision);
        // An mTLS connection was verified with one SVID and one set of bundles. The fingerprint in the key gives each
        // state its own pool, so that no request reuses a connection to a server that is no longer trusted.
        let identity = match tls {
            RouteTls::Mtls => self.identity.current().map(|current| current.fingerprint()),
            RouteTls::Plain | RouteTls::System => None,
        };
        let Target { host, port, address } = &target;
        let lookup = PoolLookup { host: host.text(), port: *port, address: *address, identity };
        if let Some(known) = routing.clients.get(&lookup) {
            return known;
        }
        let key = PoolKey::from(&lookup);
        let made = routing.clients.get_or_insert_with::<_, std::convert::Infallible>(&key, || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEEP).set_host(false);
            Ok(builder.build(self.dialer(routing, target, tls, decision)))
        });
        match made {
            Ok(client) => client,
            Err(never) => match never {},
        }
    }

    /// A dialer to one server, outside of any pool.
    pub(super) fn dialer(
        &self,
        routing: &Routing,
        target: Target,
        tls: RouteTls,
        decision: &RouteDecision,
    ) -> Dialer {
        let denied = (self.forbidden.clone(), Arc::clone(&routing.table));
        Dialer::new(target, tls, decision, &self.identity, denied, (self.stats.clone(), self.tunnel))
    }

    /// Waits for the first answer about credentials.
    pub(crate) async fn fetched(&self) {
        if let Some(exchanger) = &self.exchanger {
            exchanger.fetched().await;
        }
    }

    /// Returns the reason why requests of the agent get no tokens now; `None` if they can get them.
    pub(crate) fn problem(&self) -> Option<String> {
        self.exchanger.as_ref().and_then(|exchanger| exchanger.problem())
    }

    /// Returns the reason why the file of routes is not in force; `None` if it is.
    pub(crate) fn notice(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Memory of the file at `path`: that of the rules in force if they name it, too.
fn last_routes(path: &str, previous: Option<&OutboundRules>) -> (LastRoutes, Absence) {
    let known = previous.and_then(|rules| rules.last_routes.as_ref()).filter(|last| last.path() == path);
    let is_named = previous.is_some() && path != Routes::default().file;
    match known {
        Some(last) => (last.detached(), Absence::IsEmpty),
        None if is_named => (LastRoutes::new(path), Absence::IsError),
        None => (LastRoutes::new(path), Absence::IsEmpty),
    }
}

fn exchanger(
    config: &Config,
    settings: &TokenExchange,
    table: &Table,
    state: &ProcessState,
    previous: Option<&OutboundRules>,
) -> Result<Exchanger, String> {
    let url = settings.token_endpoint().ok_or("token-exchange has no token endpoint")?;
    let previous = previous.and_then(|rules| rules.exchanger.as_deref());
    let client = (&settings.identity, config.spiffe.as_ref());
    let exchanger = Exchanger::new(client, &url, previous, state.stats.clone())?;
    exchanger.set_endpoints(table.token_urls())?;
    Ok(exchanger)
}

/// Ports on which the sidecar itself listens: a request to one would loop through the proxy.
fn own_ports(config: &Config) -> Vec<u16> {
    let listener = &config.listener;
    let is_transparent = listener.inbound_interception == Some(InboundInterception::Transparent);
    let named = [
        listener.forward_proxy_addr.as_deref().or(Some(":8081")),
        listener.reverse_proxy_addr.as_deref().or(Some(":8080")),
        listener.session_api_addr.as_deref().or(Some(":9094")),
        listener.transparent_proxy_addr.as_deref(),
        listener.transparent_inbound_addr.as_deref().or(is_transparent.then_some(":8083")),
        Some(config.stats.address.as_str()),
    ];
    let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    named.into_iter().flatten().filter_map(port).collect()
}

/// Task that reads the file of routes periodically; a broken file leaves the table as it is, and is noticed.
struct Follow {
    settings: TokenExchange,
    reading: Reading,
    skip: Vec<String>,
    last: Vec<Route>,
    last_routes: LastRoutes,
    exchanger: Arc<Exchanger>,
    routing: Arc<ArcSwap<Routing>>,
    problem: Arc<Mutex<Option<String>>>,
    stats: Stats,
    epochs: Epochs,
}

impl Follow {
    async fn run(mut self) {
        let mut last = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let looked = self.look();
            // Errors of a file may quote its values, which the notice of a port without a token must not.
            let notice = match &looked {
                Ok(absent) => absent.clone(),
                Err(_) => {
                    Some("the file has errors, and its last routes count; the log names them".to_owned())
                }
            };
            let problem = looked.unwrap_or_else(Some);
            self.stats.routes_current.set(i64::from(problem.is_none()));
            if last != problem
                && let Some(problem) = &problem
            {
                tracing::warn!("the routes stay as they were: {problem}");
            }
            last = problem;
            *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = notice;
        }
    }

    fn look(&mut self) -> Result<Option<String>, String> {
        let (routes, problem) = self.last_routes.read(self.reading, Absence::IsEmpty)?;
        if routes == self.last {
            return Ok(problem);
        }
        let table = Table::new(Some(&self.settings), &routes, &self.skip)?;
        // Requests under way still have the table before.
        let before = self.routing.load_full();
        self.exchanger.set_endpoints(before.table.token_urls().chain(table.token_urls()))?;
        tracing::info!(routes = routes.len(), "the file of routes changed");
        self.routing.store(Arc::new(Routing::new(table)));
        // Tunnels that it would not open any more end.
        self.epochs.begin();
        self.last = routes;
        Ok(problem)
    }
}

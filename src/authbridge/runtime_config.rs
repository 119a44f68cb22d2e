//! One configuration at work: everything that requests pass through, replaced as a whole and never in parts.

use super::auth::TokenGate;
use super::body::ProxyBody;
use super::config::{Addresses, Checked, Config, MtlsMode, OnError, PluginSettings};
use super::denial::{Code, Denial};
use super::events::{Parser, SessionStore, parse_paths};
use super::identity::WorkloadIdentity;
use super::outbound::OutboundRules;
use super::peers::PeerPolicy;
use super::serve::Times;
use super::stats::Stats;
use super::tls::Terminator;
use arc_swap::ArcSwap;
use countersign_io::shutdown::{self, Trigger};
use hyper::http::uri::Authority;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a connection to the agent may take; it is on this machine.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection to the agent is kept for the next request.
const KEEP: Duration = Duration::from_mins(1);

/// The current configuration at work. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ActiveConfig(Arc<ConfigAndEpoch>);

struct ConfigAndEpoch {
    runtime: ArcSwap<RuntimeConfig>,
    epochs: watch::Sender<u64>,
}

/// What outlives a configuration.
pub(crate) struct ProcessState {
    /// Who we are.
    pub(crate) identity: WorkloadIdentity,
    /// The sessions.
    pub(crate) store: SessionStore,
    /// What is counted.
    pub(crate) stats: Stats,
}

/// One configuration at work.
pub(crate) struct RuntimeConfig {
    /// The configuration itself.
    pub(crate) config: Config,
    /// Where it listens.
    pub(crate) addresses: Addresses,
    /// Who we are.
    pub(crate) identity: WorkloadIdentity,
    /// mTLS for connections to the agent, if it is on.
    pub(crate) terminator: Option<(Terminator, MtlsMode)>,
    /// The sessions, if they are kept.
    pub(crate) sessions: Option<SessionStore>,
    /// Requests to the agent.
    pub(crate) inbound: InboundRules,
    /// Requests of the agent.
    pub(crate) outbound: OutboundRules,
    /// Connections to the agent.
    pub(crate) agent: AgentClients,
    backend: Option<Authority>,
    // Dropped with the configuration: its tasks end.
    _stop: Trigger,
    _tasks: JoinSet<()>,
}

/// What requests to the agent pass.
pub(crate) struct InboundRules {
    /// The gate, if there is one.
    pub(crate) gate: Option<TokenGate>,
    /// True if its refusals have no effect.
    pub(crate) observes: bool,
    /// Who reads calls.
    pub(crate) parsers: Vec<Parser>,
}

/// Connections to the agent, kept for later requests.
pub(crate) struct AgentClients {
    /// HTTP/1.1.
    pub(crate) http1: Client<HttpConnector, ProxyBody>,
    /// HTTP/2 without TLS, for gRPC.
    pub(crate) http2: Client<HttpConnector, ProxyBody>,
}

impl AgentClients {
    fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEEP).set_host(false);
        let http1 = builder.build(connector.clone());
        let http2 = builder.http2_only(true).build(connector);
        Self { http1, http2 }
    }
}

impl RuntimeConfig {
    /// Puts a configuration to work. The error is a sentence.
    pub(crate) fn new(checked: &Checked, state: &ProcessState) -> Result<Self, String> {
        let Checked { config, addresses, .. } = checked;
        let (trigger, stop) = shutdown::channel();
        let mut tasks = JoinSet::new();
        let mut inbound = InboundRules { gate: None, observes: false, parsers: Vec::new() };
        for plugin in config.pipeline.inbound.plugins.iter().filter(|plugin| plugin.on_error != OnError::Off)
        {
            match &plugin.settings {
                PluginSettings::JwtValidation(jwt) => {
                    inbound.gate = Some(TokenGate::new(jwt, &mut tasks, &stop)?);
                    inbound.observes = plugin.on_error == OnError::Observe;
                }
                PluginSettings::A2aParser(_) => inbound.parsers.push(Parser::A2a),
                _ => {}
            }
        }
        let outbound = OutboundRules::new(config, state, &mut tasks)?;
        let terminator = match &config.mtls {
            None => None,
            Some(mtls) => {
                let allowed = mtls.allowed_peers.as_deref().map(PeerPolicy::parse).transpose()?;
                let terminator =
                    Terminator::new(&state.identity, allowed).map_err(|error| error.to_string())?;
                Some((terminator, mtls.mode))
            }
        };
        let backend = match &addresses.inbound {
            None => None,
            Some((_, backend)) => Some(
                Authority::try_from(backend.authority.as_str())
                    .map_err(|error| format!("the backend: {error}"))?,
            ),
        };
        Ok(Self {
            config: config.clone(),
            addresses: addresses.clone(),
            identity: state.identity.clone(),
            terminator,
            sessions: config.session.enabled.then(|| state.store.clone()),
            inbound,
            outbound,
            agent: AgentClients::new(),
            backend,
            _stop: trigger,
            _tasks: tasks,
        })
    }

    /// How long connections may take.
    pub(crate) fn times(&self) -> Times {
        Times { header: self.config.limits.header_timeout.0, idle: self.config.limits.idle_timeout.0 }
    }

    /// How long an answer may take to begin.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.config.limits.response_timeout.0
    }

    /// Where the agent is.
    pub(crate) fn backend(&self) -> Result<Authority, Denial> {
        self.backend.clone().ok_or_else(|| Denial::new(Code::Unreachable, "no agent is configured"))
    }

    /// What keeps this configuration from judging requests now, by name.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.config.spiffe.is_some()
            && let Some(problem) = self.identity.problem()
        {
            problems.push(("identity", problem));
        }
        if let Some(problem) = self.inbound.gate.as_ref().and_then(TokenGate::problem) {
            problems.push(("jwt-validation", problem));
        }
        if let Some(problem) = self.outbound.problem() {
            problems.push(("token-exchange", problem));
        }
        problems
    }
}

/// The parsers of requests of the agent.
pub(crate) fn outbound_parsers(config: &Config) -> Result<Vec<Parser>, String> {
    let mut parsers = Vec::new();
    for plugin in config.pipeline.outbound.plugins.iter().filter(|plugin| plugin.on_error != OnError::Off) {
        match &plugin.settings {
            PluginSettings::McpParser(mcp) => parsers.push(Parser::Mcp(parse_paths(&mcp.paths)?)),
            PluginSettings::InferenceParser(inference) => {
                parsers.push(Parser::Inference(parse_paths(&inference.paths)?));
            }
            _ => {}
        }
    }
    Ok(parsers)
}

impl ActiveConfig {
    /// Starts with `runtime`.
    pub(crate) fn new(runtime: RuntimeConfig) -> Self {
        let (epochs, _) = watch::channel(0);
        Self(Arc::new(ConfigAndEpoch { runtime: ArcSwap::from_pointee(runtime), epochs }))
    }

    /// What is at work now.
    pub(crate) fn current(&self) -> Arc<RuntimeConfig> {
        self.0.runtime.load_full()
    }

    /// What is at work now, and an epoch at which it was, for what is judged once for each of them.
    pub(crate) fn current_with_epoch(&self) -> (Arc<RuntimeConfig>, u64) {
        // In this order: a configuration that is newer than its epoch costs one more check and admits nobody.
        let epoch = *self.0.epochs.borrow();
        (self.current(), epoch)
    }

    /// Replaces the configuration; requests in flight finish under the one they began with.
    pub(crate) fn replace(&self, runtime: RuntimeConfig) {
        self.0.runtime.store(Arc::new(runtime));
        self.reauthorize_connections();
    }

    /// Has every connection judged again.
    pub(crate) fn reauthorize_connections(&self) {
        self.0.epochs.send_modify(|epoch| *epoch = epoch.wrapping_add(1));
    }

    /// Changes whenever connections have to be judged again.
    pub(crate) fn epochs(&self) -> watch::Receiver<u64> {
        self.0.epochs.subscribe()
    }
}

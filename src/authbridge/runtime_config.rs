//! Runtime form of one configuration: everything that a request passes through, replaced as a whole and never in parts,
//! so that no request sees the gate of one file and the routes of another.

use super::auth::TokenGate;
use super::body::ProxyBody;
use super::config::{Addresses, Checked, Config, MtlsMode, OnError, PluginSettings};
use super::denial::{Code, Denial};
use super::events::{Parser, SessionStore};
use super::identity::WorkloadIdentity;
use super::limits::{CLOCK_SKEW, FETCH_BEFORE_SWAP};
use super::outbound::OutboundRules;
use super::peers::PeerPolicy;
use super::process_state::{Epochs, ProcessState};
use super::serve::{Times, TunnelTimes};
use super::tls::Terminator;
use arc_swap::ArcSwap;
use countersign_core::time::Seconds;
use hyper::http::uri::Authority;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longest time for a TCP connection to the agent, which is on the same machine.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for which an idle connection to the agent is kept for the next request.
const KEEP: Duration = Duration::from_mins(1);

/// Handle to the configuration in force, which a reload replaces. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ActiveConfig(Arc<ConfigAndEpoch>);

struct ConfigAndEpoch {
    runtime: ArcSwap<RuntimeConfig>,
    epochs: Epochs,
}

/// Configuration with everything that was built from it: gate, routes, clients and TLS.
pub(crate) struct RuntimeConfig {
    /// The file's contents with all defaults.
    pub(crate) config: Config,
    /// Addresses of all listeners; a reload cannot change them.
    pub(crate) addresses: Addresses,
    /// SVID and trust bundles of this workload.
    pub(crate) identity: WorkloadIdentity,
    /// mTLS for connections to the agent; `None` without the block `mtls`.
    pub(crate) terminator: Option<(Terminator, MtlsMode)>,
    /// Recent events by session; `None` if `session.enabled` is false.
    pub(crate) sessions: Option<SessionStore>,
    /// Rules for requests to the agent.
    pub(crate) inbound: InboundRules,
    /// Rules for requests of the agent.
    pub(crate) outbound: OutboundRules,
    /// HTTP clients with their connections to the agent.
    pub(crate) agent: AgentClients,
    backend: Option<Authority>,
    /// The task that reads its file of routes, until another configuration counts.
    tasks: Mutex<JoinSet<()>>,
}

/// Rules for requests to the agent.
pub(crate) struct InboundRules {
    /// The plugin `jwt-validation`; `None` only with `dangerously_allow_unauthenticated`.
    pub(crate) gate: Option<TokenGate>,
    /// True with `on_error: observe`: refusals of the gate are logged, and the request passes.
    pub(crate) observes: bool,
    /// Plugins that read calls for the session store.
    pub(crate) parsers: Vec<Parser>,
}

/// HTTP clients for the agent, with pools of idle connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AgentClients {
    /// Client for HTTP/1.1.
    pub(crate) http1: Client<HttpConnector, ProxyBody>,
    /// Client for HTTP/2 with prior knowledge, which gRPC needs.
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
    /// Builds the runtime form and starts its tasks; what `previous` knows and does not depend on what changed is carried
    /// over. The error is a sentence.
    pub(crate) fn new(
        checked: &Checked,
        state: &ProcessState,
        previous: Option<&Self>,
    ) -> Result<Self, String> {
        let Checked { config, addresses, .. } = checked;
        let mut tasks = JoinSet::new();
        let mut inbound = InboundRules { gate: None, observes: false, parsers: Vec::new() };
        for plugin in config.pipeline.inbound.plugins.iter().filter(|plugin| plugin.on_error != OnError::Off)
        {
            match &plugin.settings {
                PluginSettings::JwtValidation(jwt) => {
                    let known = previous.and_then(|previous| previous.inbound.gate.as_ref());
                    inbound.gate = Some(TokenGate::new(jwt, known)?);
                    inbound.observes = plugin.on_error == OnError::Observe;
                }
                PluginSettings::A2aParser(_) => inbound.parsers.push(Parser::A2a),
                _ => {}
            }
        }
        let outbound = OutboundRules::new(
            (config, checked.reading),
            state,
            previous.map(|previous| &previous.outbound),
            &mut tasks,
        )?;
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
            // The address of the agent is the same after every reload.
            agent: previous.map_or_else(AgentClients::new, |previous| previous.agent.clone()),
            backend,
            tasks: Mutex::new(tasks),
        })
    }

    /// Waits until the keys and credentials of this configuration were fetched, for at most [`FETCH_BEFORE_SWAP`]; at once
    /// if they were carried over.
    pub(crate) async fn fetched(&self) {
        let keys = async {
            if let Some(gate) = &self.inbound.gate {
                gate.fetched().await;
            }
        };
        let all = async { tokio::join!(keys, self.outbound.fetched()) };
        if timeout(FETCH_BEFORE_SWAP, all).await.is_err() {
            tracing::warn!(
                "keys or credentials of the new configuration were not fetched in {FETCH_BEFORE_SWAP:?}"
            );
        }
    }

    /// Seconds by which the clock of whoever issues tokens may differ: those of `jwt-validation`, or its default.
    pub(crate) fn clock_skew(&self) -> Seconds {
        self.inbound.gate.as_ref().map_or(Seconds::new(CLOCK_SKEW), TokenGate::clock_skew)
    }

    /// Timeouts of client connections.
    pub(crate) fn times(&self) -> Times {
        let limits = &self.config.limits;
        let tunnel = TunnelTimes::new(limits);
        Times { header: limits.header_timeout.0, idle: limits.idle_timeout.0, tunnel }
    }

    /// Longest time until the head of an answer.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.config.limits.response_timeout.0
    }

    /// Authority of the agent; there is none in envoy-sidecar.
    pub(crate) fn backend(&self) -> Result<Authority, Denial> {
        self.backend.clone().ok_or_else(|| Denial::new(Code::Unreachable, "no agent is configured"))
    }

    /// Reasons why requests cannot be authorized now, by component; readiness fails while there is one.
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

    /// Files on disk that are not in force, by component; requests are authorized all the same.
    pub(crate) fn notices(&self) -> Option<(&'static str, String)> {
        self.outbound.notice().map(|notice| ("routes", notice))
    }
}

impl ActiveConfig {
    /// Starts with `runtime`.
    pub(crate) fn new(runtime: RuntimeConfig, epochs: Epochs) -> Self {
        Self(Arc::new(ConfigAndEpoch { runtime: ArcSwap::from_pointee(runtime), epochs }))
    }

    /// The configuration in force.
    pub(crate) fn current(&self) -> Arc<RuntimeConfig> {
        self.0.runtime.load_full()
    }

    /// The configuration in force and its epoch. A connection that was authorized at this epoch need not be again.
    pub(crate) fn current_with_epoch(&self) -> (Arc<RuntimeConfig>, u64) {
        // The epoch first: a configuration that is newer than its epoch costs one more check. The other order could
        // pair an old configuration with the new epoch, and a connection would keep what the new one forbids.
        let epoch = self.0.epochs.current();
        (self.current(), epoch)
    }

    /// Replaces the configuration; requests in flight finish under the one they began with.
    pub(crate) fn replace(&self, runtime: RuntimeConfig) {
        let old = self.0.runtime.swap(Arc::new(runtime));
        // A request may keep it for long, and its file must not tell of routes that nobody else has any more.
        old.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.reauthorize_connections();
    }

    /// Starts a new epoch, in which every open connection is authorized again.
    pub(crate) fn reauthorize_connections(&self) {
        self.0.epochs.begin();
    }

    /// Receiver that is notified of each new epoch.
    pub(crate) fn epochs(&self) -> watch::Receiver<u64> {
        self.0.epochs.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Reading, parse_config};
    use crate::process_state::session_bounds;
    use crate::stats::Stats;

    #[tokio::test]
    async fn the_file_of_routes_is_followed_only_while_its_configuration_counts() {
        let text = "mode: proxy-sidecar
listener: {reverse_proxy_backend: 'http://127.0.0.1:8001'}
pipeline:
  dangerously_allow_unauthenticated: true
  outbound:
    plugins:
      - name: token-exchange
        config: {token_url: 'http://127.0.0.1:1', identity: {type: client-secret, client_id: a, client_secret: b}}
";
        let checked = parse_config(text, &|_| None, Reading::Strict).unwrap();
        let state = ProcessState {
            identity: WorkloadIdentity::new(),
            store: SessionStore::new(session_bounds(&checked.config)),
            stats: Stats::new(),
            epochs: Epochs::default(),
        };
        let first = RuntimeConfig::new(&checked, &state, None).unwrap();
        let active = ActiveConfig::new(first, state.epochs.clone());
        // A request under way has it.
        let old = active.current();
        active.replace(RuntimeConfig::new(&checked, &state, Some(&old)).unwrap());
        let mut tasks = std::mem::take(&mut *old.tasks.lock().unwrap());
        let ended = timeout(Duration::from_secs(1), tasks.join_next()).await.expect("it goes on");
        assert!(ended.unwrap().unwrap_err().is_cancelled());
    }
}

//! The configuration file as types: every key of the existing AuthBridge under its name, and ours beside them.
//! Keys that only we have say so in their description.

use super::duration::GoDuration;
use super::plugins::Plugin;
use crate::limits::{
    CONNECTIONS, HALF_CLOSED, HALF_READ_BYTES, KEEPALIVE, SESSION_BYTES, SESSION_ITEMS, TUNNEL_IDLE,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Config {
    /// Mode of the sidecar: proxies of its own beside the agent, or an external processor of an Envoy.
    #[schemars(description = "How traffic comes here.")]
    pub mode: SidecarMode,
    /// Addresses.
    #[serde(default)]
    pub listener: Listener,
    /// What is done with requests.
    #[serde(default)]
    pub pipeline: Pipelines,
    /// The store of recent events.
    #[serde(default)]
    pub session: SessionSettings,
    /// The server of statistics.
    #[serde(default)]
    pub stats: StatsServer,
    /// The server of health checks (ours).
    #[serde(default)]
    pub health: HealthServer,
    /// Who may ask the statistics and session servers (ours).
    #[serde(default)]
    pub admin: Admin,
    /// Mutual TLS with SPIFFE identities; present means on.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Mtls>,
    /// Where identities come from; present means on.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<Spiffe>,
    /// Caps on what one peer may use (ours).
    #[serde(default)]
    pub limits: Limits,
}

/// Reads a block that is present but empty as one with all defaults, where serde would read null as absent: `mtls:` must
/// not mean that mTLS is off.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// How traffic comes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Mode")]
pub enum SidecarMode {
    /// A reverse proxy in front of the agent and a forward proxy behind it.
    ProxySidecar,
    /// An external processor of an Envoy.
    EnvoySidecar,
    /// Known, and refused: there has never been a program for it.
    Waypoint,
}

/// Addresses; `:8080` is port 8080.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Listener {
    /// The external processor, `127.0.0.1:9090` in envoy-sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_proc_addr: Option<String>,
    /// Known, and refused with the mode waypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_authz_addr: Option<String>,
    /// The forward proxy, `127.0.0.1:8081`; only loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_proxy_addr: Option<String>,
    /// The reverse proxy, `:8080` on every interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_proxy_addr: Option<String>,
    /// The agent, such as `http://127.0.0.1:8001`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_proxy_backend: Option<String>,
    /// The session server, `:9094`. A port alone means 127.0.0.1, and every interface with `admin.token_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_api_addr: Option<String>,
    /// The listener to which the kernel redirects connections of the agent; absent by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transparent_proxy_addr: Option<String>,
    /// Which sides there are in proxy-sidecar, `reverse` for requests to the agent and `forward` for its own; both if none is
    /// named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// How connections to the agent come here; reverse-proxy by default, transparent if `transparent_inbound_addr` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_interception: Option<InboundInterception>,
    /// The listener to which the kernel redirects connections to the agent, `:8083` with transparent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transparent_inbound_addr: Option<String>,
    /// Hosts that the forward proxy passes through without the pipeline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip_hosts: Vec<String>,
}

/// Side of proxy-sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Requests to the agent.
    Reverse,
    /// Requests of the agent.
    Forward,
}

impl Listener {
    /// True for a side that there is, if the mode is proxy-sidecar.
    pub fn has(&self, role: Role) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }
}

/// How connections to the agent come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InboundInterception {
    /// Callers connect to the reverse proxy, and the agent listens elsewhere.
    ReverseProxy,
    /// Callers connect to the agent's own ports, and the kernel redirects them. The reverse proxy listens beside only if
    /// `reverse_proxy_addr` or `reverse_proxy_backend` is set.
    Transparent,
}

/// What is done with requests, in each direction.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Pipelines {
    /// Requests to the agent.
    pub inbound: Pipeline,
    /// Requests of the agent.
    pub outbound: Pipeline,
    /// Lets a pipeline stand without its core gate, or with one that only observes: requests then pass without
    /// authentication (ours).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dangerously_allow_unauthenticated: bool,
}

/// The plugins of one direction, in order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Pipeline {
    /// In the order of requests.
    pub plugins: Vec<Plugin>,
}

/// The store of recent events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Session")]
pub struct SessionSettings {
    /// Whether events are kept.
    pub enabled: bool,
    /// How long a session without events is kept, 1s to 720h.
    pub ttl: GoDuration,
    /// Most events of one session.
    #[schemars(range(min = *SESSION_ITEMS.start(), max = *SESSION_ITEMS.end()))]
    pub max_events: usize,
    /// Most sessions.
    #[schemars(range(min = *SESSION_ITEMS.start(), max = *SESSION_ITEMS.end()))]
    pub max_sessions: usize,
    /// Most bytes of all events together (ours).
    #[schemars(range(min = *SESSION_BYTES.start(), max = *SESSION_BYTES.end()))]
    pub max_bytes: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: GoDuration::from_secs(30 * 60),
            max_events: 100,
            max_sessions: 100,
            max_bytes: 4 * 1024 * 1024,
        }
    }
}

/// The server of statistics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Stats")]
pub struct StatsServer {
    /// Its address. A port alone means 127.0.0.1, and every interface with `admin.token_file`.
    pub address: String,
}

impl Default for StatsServer {
    fn default() -> Self {
        Self { address: ":9093".to_owned() }
    }
}

/// The server of health checks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Health")]
pub struct HealthServer {
    /// Its address, on every interface, because the kubelet asks.
    pub address: String,
}

impl Default for HealthServer {
    fn default() -> Self {
        Self { address: ":9091".to_owned() }
    }
}

/// Who may ask the statistics and session servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Admin {
    /// A file with the bearer token that both servers ask for; needed where they listen beyond loopback. With it, a port
    /// alone in `stats.address` and `listener.session_api_addr`, as by default, means every interface and not 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
}

/// Mutual TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Mtls {
    /// Whether plain connections are served too.
    pub mode: MtlsMode,
    /// Whose connections are accepted (ours): SPIFFE IDs, prefixes such as `spiffe://example.org/ns/a/*`, or
    /// trust domains such as `spiffe://example.org`. Absent: every workload of the own trust domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_peers: Option<Vec<String>>,
}

/// Whether plain connections are served too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MtlsMode {
    /// Both are served; calls go out plain unless a route says otherwise.
    #[default]
    Permissive,
    /// Only mTLS is served, and calls go out with it unless a route says otherwise.
    Strict,
}

/// Where identities come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Spiffe {
    /// The Workload API.
    pub socket: String,
    /// Whether files mirror the identity for programs that read them; the existing AuthBridge has true here.
    pub mirror_files: bool,
    /// Where to.
    pub mirror_dir: String,
    /// Reads `svid.pem`, `svid_key.pem` and `svid_bundle.pem` from this folder instead of asking the Workload API
    /// (ours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_dir: Option<String>,
}

impl Default for Spiffe {
    fn default() -> Self {
        Self {
            socket: "unix:///spiffe-workload-api/spire-agent.sock".to_owned(),
            mirror_files: false,
            mirror_dir: "/opt".to_owned(),
            files_dir: None,
        }
    }
}

/// Caps on what one peer may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Most connections of each listener at a time; for one more, the idlest of the peer with the most of them ends.
    #[schemars(range(min = *CONNECTIONS.start(), max = *CONNECTIONS.end()))]
    pub connections: usize,
    /// Most connections of one peer to the agent, an IPv4 address or an IPv6 prefix of 64 bits; not more than `connections`.
    #[schemars(range(min = *CONNECTIONS.start(), max = *CONNECTIONS.end()))]
    pub connections_per_peer: usize,
    /// Most bytes for requests to the agent that are being read, 64 KiB for each connection and 512 KiB for one of
    /// HTTP/2; for one more, the idlest that is half read ends.
    #[schemars(range(min = *HALF_READ_BYTES.start(), max = *HALF_READ_BYTES.end()))]
    pub memory: usize,
    /// How long a request's header, or a TLS handshake, may take to arrive, 100ms to 1h.
    pub header_timeout: GoDuration,
    /// How long the agent or a server may take to begin its answer, 100ms to 168h.
    pub response_timeout: GoDuration,
    /// How long a connection may wait for its next request, 1s to 168h.
    pub idle_timeout: GoDuration,
    /// How long a tunnel (CONNECT, WebSocket, redirected TLS and other protocols) may pass no byte, 1s to 168h.
    pub tunnel_idle_timeout: GoDuration,
    /// The same once one of its sides has ended, 1s to 168h.
    pub half_close_timeout: GoDuration,
    /// How long a connection may be idle before the kernel probes whether the other end is still there, 1s to 9h.
    pub keepalive: GoDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_peer: 8192,
            memory: 256 * 1024 * 1024,
            header_timeout: GoDuration::from_secs(10),
            response_timeout: GoDuration::from_secs(300),
            idle_timeout: GoDuration::from_secs(300),
            tunnel_idle_timeout: GoDuration(TUNNEL_IDLE),
            half_close_timeout: GoDuration(HALF_CLOSED),
            keepalive: GoDuration(KEEPALIVE),
        }
    }
}

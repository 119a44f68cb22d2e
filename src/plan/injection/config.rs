//! Configuration of a workload's sidecar, from what the namespace says. Ports are variables of the container, so that Pods of
//! an old and of a new template read one configuration.

use countersign_api::agent_runtime::MtlsMode;
use countersign_api::yaml::syntax_problem;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Names in Keycloak's settings of a namespace, and of the members of the plugins that they become.
const KEYCLOAK: [(&str, &str); 2] = [("KEYCLOAK_URL", "keycloak_url"), ("KEYCLOAK_REALM", "keycloak_realm")];

/// Addresses of the sidecar, by block and member: variables that injection sets for each Pod.
const ADDRESSES: [(&str, &str, &str); 6] = [
    ("listener", "reverse_proxy_addr", ":${AUTHBRIDGE_INBOUND_PORT}"),
    ("listener", "reverse_proxy_backend", "http://127.0.0.1:${AUTHBRIDGE_AGENT_PORT}"),
    ("listener", "forward_proxy_addr", "127.0.0.1:${AUTHBRIDGE_OUTBOUND_PORT}"),
    ("listener", "session_api_addr", "127.0.0.1:${AUTHBRIDGE_SESSIONS_PORT}"),
    ("stats", "address", "127.0.0.1:${AUTHBRIDGE_STATS_PORT}"),
    ("health", "address", ":${AUTHBRIDGE_HEALTH_PORT}"),
];

/// What the configuration of a sidecar is made from.
#[derive(Clone, Copy, Debug)]
pub struct SidecarSources<'a> {
    /// AuthBridge's configuration in the namespace; empty if there is none.
    pub base: &'a str,
    /// Keycloak's settings in the namespace.
    pub keycloak: &'a BTreeMap<String, String>,
    /// Mode of mTLS that the `AgentRuntime` asks for.
    pub mtls_mode: MtlsMode,
    /// Audiences of tokens that the workload accepts besides its own.
    pub allowed_audiences: &'a [String],
    /// True if Pods can have SPIRE's socket.
    pub has_spire: bool,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigProblem {
    /// The configuration of the namespace cannot be read.
    Malformed(String),
    /// Neither a pipeline nor an issuer is named.
    IssuerMissing,
    /// mTLS alone is asked for, and there are no identities.
    SpireMissing,
    /// The mode of the namespace's configuration is not injected.
    UnknownMode(String),
}

impl fmt::Display for ConfigProblem {
    /// What was checked, found and is to be done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(problem) => {
                write!(f, "config.yaml of the ConfigMap authbridge-runtime-config cannot be read: {problem}")
            }
            Self::IssuerMissing => f.write_str(
                "nobody issues tokens for this namespace: write ISSUER or KEYCLOAK_URL and KEYCLOAK_REALM into its \
                 ConfigMap authbridge-config, or a pipeline into authbridge-runtime-config",
            ),
            Self::SpireMissing => f.write_str(
                "mtlsMode is strict, and the cluster has no CSI driver csi.spiffe.io: install SPIRE with it, or start the \
                 operator with --sidecar-spire-host-path, or set spec.mtlsMode: permissive",
            ),
            Self::UnknownMode(mode) => write!(
                f,
                "the mode {} of authbridge-runtime-config is not injected: write proxy-sidecar",
                countersign_core::text::Quoted(mode)
            ),
        }
    }
}

/// Plans the configuration as YAML.
///
/// # Errors
/// A sidecar with it would let nobody through, or everybody, or would never be ready.
pub fn plan_sidecar_config(sources: &SidecarSources<'_>) -> Result<String, ConfigProblem> {
    let mut config = base(sources.base)?;
    match config.get("mode").map(|mode| mode.as_str().unwrap_or_default()) {
        None | Some("" | "proxy-sidecar" | "lite") => {}
        Some(mode) => return Err(ConfigProblem::UnknownMode(mode.to_owned())),
    }
    config.insert("mode".to_owned(), json!("proxy-sidecar"));
    for (block, member, value) in ADDRESSES {
        write(&mut config, block, member, json!(value));
    }
    if !config.contains_key("pipeline") {
        config.insert("pipeline".to_owned(), pipeline(sources.keycloak).ok_or(ConfigProblem::IssuerMissing)?);
    }
    allow_audiences(&mut config, sources.allowed_audiences);
    match (sources.mtls_mode, sources.has_spire) {
        (MtlsMode::Strict, false) => return Err(ConfigProblem::SpireMissing),
        (MtlsMode::Disabled, _) | (MtlsMode::Permissive, false) => {
            config.remove("mtls");
        }
        (mode, true) => {
            write(&mut config, "mtls", "mode", json!(mode.as_str()));
        }
    }
    if sources.has_spire {
        write(&mut config, "spiffe", "socket", json!("unix:///spiffe-workload-api/spire-agent.sock"));
    } else {
        config.remove("spiffe");
    }
    serde_saphyr::to_string(&Value::Object(config))
        .map_err(|error| ConfigProblem::Malformed(error.to_string()))
}

fn base(text: &str) -> Result<Map<String, Value>, ConfigProblem> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(ConfigProblem::Malformed("it is no map of keys".to_owned())),
        Err(error) => Err(ConfigProblem::Malformed(syntax_problem(&error).to_string())),
    }
}

/// Writes a member of a block, which is made if there is none.
fn write(config: &mut Map<String, Value>, block: &str, member: &str, value: Value) {
    let mut members = match config.remove(block) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.insert(member.to_owned(), value);
    config.insert(block.to_owned(), Value::Object(members));
}

/// Pipelines from Keycloak's settings; `None` if they name nobody whose tokens could be checked.
fn pipeline(settings: &BTreeMap<String, String>) -> Option<Value> {
    let setting = |name: &str| settings.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let keycloak: Map<String, Value> = KEYCLOAK
        .into_iter()
        .filter_map(|(name, member)| Some((member.to_owned(), json!(setting(name)?))))
        .collect();
    let issuer = setting("ISSUER");
    if issuer.is_none() && keycloak.len() < KEYCLOAK.len() {
        return None;
    }
    let mut validation = keycloak.clone();
    if let Some(issuer) = issuer {
        validation.insert("issuer".to_owned(), json!(issuer));
    }
    let mut exchange = keycloak;
    if let Some(policy) = setting("DEFAULT_OUTBOUND_POLICY") {
        exchange.insert("default_policy".to_owned(), json!(policy));
    }
    if let Some(kind) = setting("CLIENT_AUTH_TYPE") {
        exchange.insert(
            "identity".to_owned(),
            match (kind, setting("JWT_AUDIENCE")) {
                ("federated-jwt", Some(audience)) => json!({ "type": "spiffe", "jwt_audience": audience }),
                ("federated-jwt", None) => json!({ "type": "spiffe" }),
                (other, _) => json!({ "type": other }),
            },
        );
    }
    Some(json!({
        "inbound": { "plugins": [{ "name": "jwt-validation", "config": validation }] },
        "outbound": { "plugins": [{ "name": "token-exchange", "config": exchange }] },
    }))
}

/// Writes audiences into every `jwt-validation` of the pipeline.
fn allow_audiences(config: &mut Map<String, Value>, audiences: &[String]) {
    if audiences.is_empty() {
        return;
    }
    let plugins = config
        .get_mut("pipeline")
        .and_then(|pipeline| pipeline.get_mut("inbound")?.get_mut("plugins")?.as_array_mut());
    for plugin in plugins.into_iter().flatten() {
        if plugin.get("name").and_then(Value::as_str) == Some("jwt-validation")
            && let Value::Object(members) = plugin
        {
            write(members, "config", "allowed_audiences", json!(audiences));
        }
    }
}

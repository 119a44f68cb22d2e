//! Configuration of a workload's sidecar, from what the namespace says. Ports are variables of the container, so that Pods of
//! an old and of a new template read one configuration.

use countersign_api::agent_runtime::MtlsMode;
use countersign_api::keys::CREDENTIALS_ANNOTATION;
use countersign_api::yaml::syntax_problem;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Names in Keycloak's settings of a namespace, and of the members of the plugins that they become.
const KEYCLOAK: [(&str, &str); 2] = [("KEYCLOAK_URL", "keycloak_url"), ("KEYCLOAK_REALM", "keycloak_realm")];

/// The plugin that checks tokens of requests to the workload.
const GATE: &str = "jwt-validation";
/// File with the workload's client ID in the sidecar.
const CLIENT_ID_FILE: &str = "/shared/client-id.txt";

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
    /// True if the Pod template names a Secret with the workload's client ID and secret at Keycloak.
    pub has_credentials: bool,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigProblem {
    /// The configuration of the namespace cannot be read.
    Malformed(String),
    /// Neither a pipeline nor an issuer is named.
    IssuerMissing,
    /// Nothing says for whom tokens must be.
    AudienceMissing,
    /// The pipeline of the namespace lets every request through, and does not say that it is meant to.
    Unguarded,
    /// The named setting needs identities, and there are none.
    SpireMissing(&'static str),
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
                "nobody issues tokens for this namespace: write ISSUER, which is `iss` of the tokens, into its ConfigMap \
                 authbridge-config, or a pipeline into authbridge-runtime-config",
            ),
            Self::AudienceMissing => write!(
                f,
                "nothing says for whom tokens must be: write audiences into spec.identity.allowedAudiences or `audience` \
                 into jwt-validation of authbridge-runtime-config, or name the Secret with the workload's client ID in \
                 the annotation {CREDENTIALS_ANNOTATION} of the Pod template"
            ),
            Self::Unguarded => f.write_str(
                "pipeline.inbound of authbridge-runtime-config has no jwt-validation, so that every request would reach \
                 the workload: add it, or set pipeline.dangerously_allow_unauthenticated",
            ),
            Self::SpireMissing(asked) => write!(
                f,
                "{asked}, and the cluster has no CSI driver csi.spiffe.io: install SPIRE with it, or start the operator \
                 with --sidecar-spire-host-path, or ask for what needs no identity"
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
        config.insert("pipeline".to_owned(), pipeline(sources)?);
    }
    accept_audiences(&mut config, sources)?;
    match (sources.mtls_mode, sources.has_spire) {
        (MtlsMode::Strict, false) => return Err(ConfigProblem::SpireMissing("spec.mtlsMode is strict")),
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

/// Pipelines from Keycloak's settings. Tokens are exchanged where the workload is a client.
fn pipeline(sources: &SidecarSources<'_>) -> Result<Value, ConfigProblem> {
    let setting =
        |name: &str| sources.keycloak.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let issuer = setting("ISSUER").ok_or(ConfigProblem::IssuerMissing)?;
    let keycloak: Map<String, Value> = KEYCLOAK
        .into_iter()
        .filter_map(|(name, member)| Some((member.to_owned(), json!(setting(name)?))))
        .collect();
    let is_whole = keycloak.len() == KEYCLOAK.len();
    let mut validation = if is_whole { keycloak.clone() } else { Map::new() };
    validation.insert("issuer".to_owned(), json!(issuer));
    let inbound = json!({ "plugins": [{ "name": GATE, "config": validation }] });
    if !is_whole || !sources.has_credentials {
        return Ok(json!({ "inbound": inbound }));
    }
    let mut exchange = keycloak;
    if let Some(policy) = setting("DEFAULT_OUTBOUND_POLICY") {
        exchange.insert("default_policy".to_owned(), json!(policy));
    }
    let identity = match setting("CLIENT_AUTH_TYPE").unwrap_or("client-secret") {
        "federated-jwt" if !sources.has_spire => {
            return Err(ConfigProblem::SpireMissing("CLIENT_AUTH_TYPE is federated-jwt"));
        }
        // Keycloak takes assertions that are made for its realm.
        "federated-jwt" => {
            json!({ "type": "spiffe", "jwt_audience": setting("JWT_AUDIENCE").unwrap_or(issuer) })
        }
        other => json!({ "type": other }),
    };
    exchange.insert("identity".to_owned(), identity);
    let outbound = json!({ "plugins": [{ "name": "token-exchange", "config": exchange }] });
    Ok(json!({ "inbound": inbound, "outbound": outbound }))
}

/// Writes for whom tokens must be into every gate of the pipeline: for those whom the configuration names, for those whom the
/// `AgentRuntime` names, and for the workload itself if it is a client.
fn accept_audiences(
    config: &mut Map<String, Value>,
    sources: &SidecarSources<'_>,
) -> Result<(), ConfigProblem> {
    let pipeline = config.get_mut("pipeline");
    let is_open = pipeline
        .as_ref()
        .and_then(|pipeline| pipeline.get("dangerously_allow_unauthenticated"))
        .is_some_and(|open| *open == json!(true));
    let plugins = pipeline
        .and_then(|pipeline| pipeline.get_mut("inbound")?.get_mut("plugins")?.as_array_mut())
        .map(Vec::as_mut_slice)
        .unwrap_or_default();
    let gates = plugins.iter_mut().filter(|plugin| {
        // A plugin without settings may be its name alone.
        plugin.as_str().or_else(|| plugin.get("name")?.as_str()) == Some(GATE)
    });
    let mut is_guarded = is_open;
    for gate in gates {
        is_guarded = true;
        let mut plugin = match gate.take() {
            Value::Object(members) => members,
            name => [("name".to_owned(), name)].into_iter().collect(),
        };
        let mut settings = match plugin.remove("config") {
            Some(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        accept(&mut settings, sources)?;
        plugin.insert("config".to_owned(), Value::Object(settings));
        *gate = Value::Object(plugin);
    }
    if is_guarded { Ok(()) } else { Err(ConfigProblem::Unguarded) }
}

fn accept(gate: &mut Map<String, Value>, sources: &SidecarSources<'_>) -> Result<(), ConfigProblem> {
    let is_named =
        |gate: &Map<String, Value>| gate.contains_key("audience") || gate.contains_key("audience_file");
    if !is_named(gate) && sources.has_credentials {
        gate.insert("audience_file".to_owned(), json!(CLIENT_ID_FILE));
    }
    let mut all = match gate.remove("allowed_audiences") {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    for audience in sources.allowed_audiences {
        if !all.iter().any(|known| known == audience) {
            all.push(json!(audience));
        }
    }
    if all.is_empty() && !is_named(gate) {
        return Err(ConfigProblem::AudienceMissing);
    }
    if !all.is_empty() {
        gate.insert("allowed_audiences".to_owned(), Value::Array(all));
    }
    Ok(())
}

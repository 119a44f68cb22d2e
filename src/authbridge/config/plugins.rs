//! Entries of a pipeline: a plain name, or a name with `on_error` and the plugin's configuration.
//! The name selects the type of the configuration.

use super::jwt_validation::JwtValidation;
use super::parsers::{A2aParser, InferenceParser, McpParser};
use super::plugin_names::{ABSENT, NAMES, WATCHERS, is_known};
use super::token_exchange::TokenExchange;
use countersign_core::text::Quoted;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Plugin of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plugin {
    /// Identifier that the session API shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Effect of a denial by the plugin.
    pub on_error: OnError,
    /// Name and configuration.
    #[serde(flatten)]
    pub settings: PluginSettings,
}

/// What a refusal of a plugin does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The denial is the answer to the request, which goes no further.
    #[schemars(description = "It is the answer.")]
    #[default]
    Enforce,
    /// The denial is recorded, and the request goes on as if the plugin had allowed it.
    #[schemars(description = "It is recorded and the request goes on.")]
    Observe,
    /// The plugin does not run, as if the pipeline did not name it.
    #[schemars(description = "The plugin is not there.")]
    Off,
}

/// Configuration of a plugin, by its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", content = "config", rename_all = "kebab-case")]
pub enum PluginSettings {
    /// `jwt-validation`: verifies the tokens of requests to the agent.
    JwtValidation(Box<JwtValidation>),
    /// `token-exchange`: exchanges the tokens of requests of the agent.
    TokenExchange(Box<TokenExchange>),
    /// `a2a-parser`: reads A2A calls for the session store.
    A2aParser(A2aParser),
    /// `mcp-parser`: reads MCP calls for the session store.
    McpParser(McpParser),
    /// `inference-parser`: reads calls of language models for the session store.
    InferenceParser(InferenceParser),
}

const FIELDS: &[&str] = &["name", "id", "on_error", "config"];

impl PluginSettings {
    /// Name of the plugin.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::JwtValidation(_) => "jwt-validation",
            Self::TokenExchange(_) => "token-exchange",
            Self::A2aParser(_) => "a2a-parser",
            Self::McpParser(_) => "mcp-parser",
            Self::InferenceParser(_) => "inference-parser",
        }
    }
}

/// Catalogue of the plugins, for the session API.
pub(crate) fn catalogue() -> serde_json::Value {
    let entry = |name: &str, direction: &str, reads_body: bool, description: &str| {
        serde_json::json!({
            "name": name, "direction": direction, "description": description,
            "capabilities": { "readsBody": reads_body, "writesBody": false },
        })
    };
    let [jwt, exchange, a2a, mcp, inference] = NAMES;
    serde_json::Value::Array(vec![
        entry(jwt, "inbound", false, "judges the tokens of requests to the agent"),
        entry(exchange, "outbound", false, "gives requests of the agent a token for whom they call"),
        entry(a2a, "inbound", true, "reads A2A calls and answers for the session store"),
        entry(mcp, "outbound", true, "reads MCP calls and answers for the session store"),
        entry(
            inference,
            "outbound",
            true,
            "reads calls and answers of language models for the session store",
        ),
    ])
}

/// Deserializer of the configuration of the plugin with this name.
struct Named<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = PluginSettings;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PluginSettings, D::Error> {
        Ok(match self.0 {
            "jwt-validation" => PluginSettings::JwtValidation(Box::deserialize(deserializer)?),
            "token-exchange" => PluginSettings::TokenExchange(Box::deserialize(deserializer)?),
            "a2a-parser" => PluginSettings::A2aParser(A2aParser::deserialize(deserializer)?),
            "mcp-parser" => PluginSettings::McpParser(McpParser::deserialize(deserializer)?),
            "inference-parser" => {
                PluginSettings::InferenceParser(InferenceParser::deserialize(deserializer)?)
            }
            _ => return Err(unknown(self.0)),
        })
    }
}

fn unknown<E: Error>(name: &str) -> E {
    if let Some((_, instead)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
        return E::custom(format!(
            "the plugin {name} is not part of this AuthBridge, and requests would pass without it; take it out of the \
             pipeline and {instead}"
        ));
    }
    if let Some((_, loss)) = WATCHERS.iter().find(|(watcher, _)| *watcher == name) {
        return E::custom(format!(
            "the plugin {name} is not part of this AuthBridge; take it out, or pass over it with --compat: {loss}"
        ));
    }
    let nearest = NAMES.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let hint =
        nearest.filter(|(distance, _)| *distance < 6).map(|(_, known)| format!("; did you mean {known}?"));
    E::custom(format!(
        "there is no such plugin{}",
        hint.unwrap_or_else(|| format!("; known are {}", NAMES.join(", ")))
    ))
}

/// Error for a plugin that is not part of this program, by what its entry says.
fn refusal<'de, A: MapAccess<'de>>(name: &str, mut map: A) -> A::Error {
    let mut is_off = false;
    while let Ok(Some(key)) = map.next_key::<String>() {
        if key == "on_error" {
            is_off = map.next_value::<OnError>().is_ok_and(|on_error| on_error == OnError::Off);
        } else if map.next_value::<IgnoredAny>().is_err() {
            break;
        }
    }
    if is_off {
        let name = Quoted(name);
        return A::Error::custom(format!(
            "the plugin {name} is not part of this AuthBridge, and it is switched off; take it out of the pipeline"
        ));
    }
    unknown(name)
}

/// Configuration of a plugin with all defaults.
fn empty<E: Error>(name: &str) -> Result<PluginSettings, E> {
    Named(name).deserialize(serde::de::value::MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
}

impl<'de> Deserialize<'de> for Plugin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("plugin", FIELDS, PluginVisitor)
    }
}

struct PluginVisitor;

impl<'de> Visitor<'de> for PluginVisitor {
    type Value = Plugin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a plugin, or a map with its name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Plugin, E> {
        Ok(Plugin { id: None, on_error: OnError::default(), settings: empty(name)? })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plugin, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() != Some("name") {
            return Err(A::Error::custom("the plugin has no name"));
        }
        let name: String = map.next_value()?;
        if !is_known(&name) {
            return Err(refusal(&name, map));
        }
        let (mut id, mut on_error, mut settings) = (None, OnError::default(), None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => id = Some(map.next_value()?),
                "on_error" => on_error = map.next_value()?,
                _ => settings = Some(map.next_value_seed(Named(&name))?),
            }
        }
        let settings = settings.map_or_else(|| empty(&name), Ok)?;
        Ok(Plugin { id, on_error, settings })
    }
}

impl JsonSchema for Plugin {
    fn schema_name() -> Cow<'static, str> {
        "Plugin".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let configs = [
            generator.subschema_for::<JwtValidation>(),
            generator.subschema_for::<TokenExchange>(),
            generator.subschema_for::<A2aParser>(),
            generator.subschema_for::<McpParser>(),
            generator.subschema_for::<InferenceParser>(),
        ];
        let on_error = generator.subschema_for::<OnError>();
        let mut forms = vec![json_schema!({ "type": "string", "enum": NAMES })];
        for (name, config) in NAMES.into_iter().zip(configs) {
            forms.push(json_schema!({
                "type": "object",
                "properties": { "name": { "const": name }, "id": { "type": "string" }, "on_error": on_error, "config": config },
                "required": ["name"],
                "additionalProperties": false,
            }));
        }
        json_schema!({ "description": "A plugin: its name, or its name with more.", "oneOf": forms })
    }
}

//! The flat form that files of the existing AuthBridge had before there were plugins: `inbound`, `outbound`, `identity`,
//! `bypass` and `routes` at the top. Each key has one place now.

use super::tree::member;
use countersign_api::yaml::{Diagnostic, MemberKey, Place, YamlNode, YamlValue};

/// Blocks of the flat form.
const BLOCKS: [&str; 5] = ["inbound", "outbound", "identity", "bypass", "routes"];
/// Keys of the flat form, each with its plugin and its key in the configuration of that.
const PLACES: [(&str, &str, &str, &str); 17] = [
    ("inbound", "issuer", JWT, "issuer"),
    ("inbound", "jwks_url", JWT, "jwks_url"),
    ("inbound", "expected_audience", JWT, "audience"),
    ("bypass", "inbound_paths", JWT, "bypass_paths"),
    ("outbound", "token_url", EXCHANGE, "token_url"),
    ("outbound", "keycloak_url", EXCHANGE, "keycloak_url"),
    ("outbound", "keycloak_realm", EXCHANGE, "keycloak_realm"),
    ("outbound", "default_policy", EXCHANGE, "default_policy"),
    ("outbound", "no_token_policy", EXCHANGE, "no_token_policy"),
    ("identity", "type", EXCHANGE, "identity.type"),
    ("identity", "client_id", EXCHANGE, "identity.client_id"),
    ("identity", "client_id_file", EXCHANGE, "identity.client_id_file"),
    ("identity", "client_secret", EXCHANGE, "identity.client_secret"),
    ("identity", "client_secret_file", EXCHANGE, "identity.client_secret_file"),
    ("identity", "jwt_audience", EXCHANGE, "identity.jwt_audience"),
    ("routes", "file", EXCHANGE, "routes.file"),
    ("routes", "rules", EXCHANGE, "routes.rules"),
];
const JWT: &str = "jwt-validation";
const EXCHANGE: &str = "token-exchange";

/// Where a key of a block is now, as its plugin and the key in the configuration of that; `None` for one that has no place.
fn place_of(block: &str, key: &str) -> Option<(&'static str, &'static str)> {
    let found = PLACES.iter().find(|(of, name, ..)| (*of, *name) == (block, key));
    found.map(|(_, _, plugin, path)| (*plugin, *path))
}

/// A place as people read it.
fn shown((plugin, path): (&str, &str)) -> String {
    let direction = if plugin == JWT { "inbound" } else { "outbound" };
    format!("pipeline.{direction}.plugins[{plugin}].config.{path}")
}

/// A problem for each key of the flat form.
pub(super) fn problems(root: &YamlNode) -> Vec<Diagnostic> {
    let YamlValue::Map(members) = &root.value else { return Vec::new() };
    let blocks = members.iter().filter(|(block, _)| BLOCKS.contains(&block.name.as_str()));
    let keys = blocks.flat_map(|(block, node)| match &node.value {
        YamlValue::Map(keys) => keys.iter().map(|(key, _)| (block, key)).collect(),
        _ => Vec::new(),
    });
    keys.map(|(block, key)| {
        let now = match place_of(&block.name, &key.name) {
            Some(place) => format!("write it as {}", shown(place)),
            None => "it has no place here; take it out".to_owned(),
        };
        let problem = format!("this is the form of files before there were plugins; {now}");
        Diagnostic { place: key.place, key: format!("{}.{}", block.name, key.name), problem }
    })
    .collect()
}

/// Moves the keys of a file in the flat form to where they are now, with a notice for each. A file that has a pipeline is
/// left alone: the existing AuthBridge passes over the flat keys of such a file, too.
pub(super) fn translate(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    if problems(root).is_empty() || member(root, "pipeline").is_some() {
        return;
    }
    let YamlValue::Map(members) = &mut root.value else { return };
    let (flat, rest) = std::mem::take(members).into_iter().partition(|(block, node)| {
        BLOCKS.contains(&block.name.as_str()) && matches!(node.value, YamlValue::Map(_))
    });
    *members = rest;
    let (mut jwt, mut exchange) = (Vec::new(), Vec::new());
    let mut first = Place::default();
    for (block, node) in flat {
        if first == Place::default() {
            first = block.place;
        }
        let YamlValue::Map(keys) = node.value else { continue };
        for (key, value) in keys {
            let (place, name) = (key.place, format!("{}.{}", block.name, key.name));
            let problem = match place_of(&block.name, &key.name) {
                Some((plugin, path)) => {
                    let of = if plugin == JWT { &mut jwt } else { &mut exchange };
                    put(of, path, place, value);
                    {
                        let now = shown((plugin, path));
                        format!(
                            "this is the form of files before there were plugins; it is read as {now}: write it there"
                        )
                    }
                }
                None => "it has no place here, and is passed over: take it out".to_owned(),
            };
            notices.push(Diagnostic { place, key: name, problem });
        }
    }
    // The gate stands there in any case: without an issuer it is refused.
    let mut directions = vec![("inbound", plugins(JWT, jwt, first))];
    if !exchange.is_empty() {
        directions.push(("outbound", plugins(EXCHANGE, exchange, first)));
    }
    let map = |entries: Vec<(&str, YamlNode)>| {
        let entries = entries.into_iter().map(|(name, node)| (key(name, first), node)).collect();
        YamlNode { value: YamlValue::Map(entries), place: first }
    };
    let directions =
        directions.into_iter().map(|(name, list)| (name, map(vec![("plugins", list)]))).collect();
    if let YamlValue::Map(members) = &mut root.value {
        members.push((key("pipeline", first), map(directions)));
    }
}

fn key(name: &str, place: Place) -> MemberKey {
    MemberKey { name: name.to_owned(), place }
}

/// Puts a value below a path of one or two keys.
fn put(members: &mut Vec<(MemberKey, YamlNode)>, path: &str, place: Place, value: YamlNode) {
    let Some((block, name)) = path.split_once('.') else {
        return members.push((key(path, place), value));
    };
    let index = members.iter().position(|(key, _)| key.name == block).unwrap_or_else(|| {
        members.push((key(block, place), YamlNode { value: YamlValue::Map(Vec::new()), place }));
        members.len().saturating_sub(1)
    });
    if let Some((_, YamlNode { value: YamlValue::Map(below), .. })) = members.get_mut(index) {
        below.push((key(name, place), value));
    }
}

/// A list with one plugin.
fn plugins(name: &str, config: Vec<(MemberKey, YamlNode)>, place: Place) -> YamlNode {
    let name = YamlNode { value: YamlValue::Text(name.to_owned()), place };
    let config = YamlNode { value: YamlValue::Map(config), place };
    let entry = YamlValue::Map(vec![(key("name", place), name), (key("config", place), config)]);
    YamlNode { value: YamlValue::List(vec![YamlNode { value: entry, place }]), place }
}

//! Walks in the tree of a configuration file before it is read to types.

use countersign_api::yaml::{MemberKey, YamlNode, YamlValue};

/// Member of a map.
pub(super) fn member<'n>(node: &'n YamlNode, name: &str) -> Option<&'n YamlNode> {
    let YamlValue::Map(members) = &node.value else { return None };
    members.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
}

/// Member of a map, to be changed.
pub(super) fn member_mut<'n>(node: &'n mut YamlNode, name: &str) -> Option<&'n mut YamlNode> {
    let YamlValue::Map(members) = &mut node.value else { return None };
    members.iter_mut().find(|(key, _)| key.name == name).map(|(_, node)| node)
}

/// Takes a member out of a map.
pub(super) fn take(node: &mut YamlNode, name: &str) -> Option<(MemberKey, YamlNode)> {
    let YamlValue::Map(members) = &mut node.value else { return None };
    let index = members.iter().position(|(key, _)| key.name == name)?;
    Some(members.remove(index))
}

/// Text of a node.
pub(super) fn text(node: &YamlNode) -> Option<&str> {
    if let YamlValue::Text(text) = &node.value { Some(text) } else { None }
}

/// Text of a map's member.
pub(super) fn text_of<'n>(node: &'n YamlNode, name: &str) -> Option<&'n str> {
    member(node, name).and_then(text)
}

/// Plugins of a direction, to be changed.
pub(super) fn plugins_mut<'n>(root: &'n mut YamlNode, direction: &str) -> Option<&'n mut Vec<YamlNode>> {
    let plugins = member_mut(member_mut(member_mut(root, "pipeline")?, direction)?, "plugins")?;
    if let YamlValue::List(plugins) = &mut plugins.value { Some(plugins) } else { None }
}

//! Keys of `listener` that a lenient reading takes over in another form, or passes over.

use crate::config::tree::{member, member_mut, take, text_of};
use countersign_api::yaml::{Diagnostic, MemberKey, YamlNode, YamlValue};

/// Keys of the side of `listener.roles` that is not named, by the role.
const OF_ROLE: [(&str, &[&str], &str); 2] = [
    (
        "reverse",
        &["reverse_proxy_addr", "reverse_proxy_backend", "inbound_interception", "transparent_inbound_addr"],
        "nothing comes in",
    ),
    ("forward", &["forward_proxy_addr", "transparent_proxy_addr"], "nothing goes out"),
];

/// Brings the keys of `listener` into the form of this program; a notice for each that changes.
pub(super) fn ease(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    take_roles(root, notices);
    take_health(root, notices);
}

/// Takes out `roles` where they do not count, and the keys of a side that they leave out.
fn take_roles(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let is_envoy = text_of(root, "mode") == Some("envoy-sidecar");
    let Some(listener) = member_mut(root, "listener") else { return };
    let Some(YamlValue::List(roles)) = member(listener, "roles").map(|roles| &roles.value) else { return };
    if is_envoy {
        let problem = "Envoy does this in envoy-sidecar, and it is passed over: take it out".to_owned();
        notices.extend(take(listener, "roles").map(|(key, _)| told(&key, problem)));
        return;
    }
    let is_named = |role: &str| {
        roles.is_empty() || roles.iter().any(|one| one.value == YamlValue::Text(role.to_owned()))
    };
    let absent: Vec<_> = OF_ROLE.into_iter().filter(|(role, ..)| !is_named(role)).collect();
    for (role, keys, what) in absent {
        for name in keys {
            let problem =
                format!("`roles` does not name {role}, so {what}, and it is passed over: take it out");
            notices.extend(take(listener, name).map(|(key, _)| told(&key, problem)));
        }
    }
}

/// Moves `listener.health_addr` to `health.address`, if that is not there.
fn take_health(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let has_address = member(root, "health").is_some_and(|health| member(health, "address").is_some());
    let taken = member_mut(root, "listener").and_then(|listener| take(listener, "health_addr"));
    let Some((key, address)) = taken else { return };
    let problem = if has_address {
        "it is passed over, because health.address is there: take it out"
    } else {
        "it is taken as health.address: write it there"
    };
    notices.push(told(&key, problem.to_owned()));
    let YamlValue::Map(blocks) = &mut root.value else { return };
    if has_address {
        return;
    }
    let place = key.place;
    let named = |name: &str| MemberKey { name: name.to_owned(), place };
    match blocks.iter_mut().find(|(block, _)| block.name == "health") {
        Some((_, YamlNode { value: YamlValue::Map(health), .. })) => health.push((named("address"), address)),
        Some((_, health @ YamlNode { value: YamlValue::Null, .. })) => {
            health.value = YamlValue::Map(vec![(named("address"), address)]);
        }
        // It is no block, which the reading of the file tells.
        Some(_) => {}
        None => {
            let health = YamlValue::Map(vec![(named("address"), address)]);
            blocks.push((named("health"), YamlNode { value: health, place }));
        }
    }
}

/// A notice about a key of `listener`.
fn told(key: &MemberKey, problem: String) -> Diagnostic {
    Diagnostic { place: key.place, key: format!("listener.{}", key.name), problem }
}

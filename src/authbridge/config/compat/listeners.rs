//! Keys of `listener` that a lenient reading takes over in another form, or passes over.

use crate::config::address::ListenAddress;
use crate::config::tree::{member, member_mut, take, text, text_of};
use countersign_api::yaml::{Diagnostic, MemberKey, YamlNode, YamlValue};
use std::net::{Ipv4Addr, SocketAddr};

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
    take_loopback_only(root, notices);
    let has_token = member(root, "admin").is_some_and(|admin| member(admin, "token_file").is_some());
    for (block, name, is_guarded) in INSIDE {
        if !(is_guarded && has_token) {
            keep_inside((root, block, name), notices);
        }
    }
}

/// Addresses that others reach as well, with their defaults.
const OUTSIDE: [(&str, &str, &str); 2] =
    [("listener", "reverse_proxy_addr", ":8080"), ("health", "address", ":9091")];

/// Takes out `bind_loopback_only`, and keeps the addresses that others would reach on loopback if it is true.
fn take_loopback_only(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let taken = member_mut(root, "listener").and_then(|listener| take(listener, "bind_loopback_only"));
    let Some((key, YamlNode { value: YamlValue::Bool(is_on), .. })) = taken else {
        // No boolean: the reading of the file tells of a key that is not known.
        if let (Some(taken), Some(YamlNode { value: YamlValue::Map(members), .. })) =
            (taken, member_mut(root, "listener"))
        {
            members.push(taken);
        }
        return;
    };
    let has_agent =
        member(root, "listener").is_some_and(|one| member(one, "reverse_proxy_backend").is_some());
    let mut kept = Vec::new();
    for (block, name, default) in OUTSIDE.into_iter().filter(|_| is_on) {
        let written =
            member(root, block).and_then(|block| text_of(block, name)).filter(|text| !text.is_empty());
        let default = (block == "health" || has_agent).then_some(default);
        let Some(address) = written.or(default).and_then(|text| ListenAddress::parse(text).ok()) else {
            continue;
        };
        if address.address.ip().is_unspecified() {
            let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, address.address.port())).to_string();
            kept.push(format!("{block}.{name} as {inside}"));
            put(root, (block, name), &key, YamlValue::Text(inside));
        }
    }
    let problem = if kept.is_empty() {
        "it is passed over, and changes nothing: take it out".to_owned()
    } else {
        format!("it is read as {}: write that there", kept.join(" and "))
    };
    notices.push(told(&key, problem));
}

/// Sets a member of a block, which is made if it is not there. A block that is none is left to the reading of the file.
fn put(root: &mut YamlNode, (block, name): (&str, &str), because: &MemberKey, value: YamlValue) {
    let place = because.place;
    let entry = |name: &str, value| (MemberKey { name: name.to_owned(), place }, YamlNode { value, place });
    if let Some(node) = member_mut(root, block) {
        if node.value == YamlValue::Null {
            node.value = YamlValue::Map(Vec::new());
        }
        take(node, name);
        if let YamlValue::Map(members) = &mut node.value {
            members.push(entry(name, value));
        }
    } else if let YamlValue::Map(blocks) = &mut root.value {
        blocks.push(entry(block, YamlValue::Map(vec![entry(name, value)])));
    }
}

/// Addresses that only the Pod may reach, and whether a token opens them to others.
const INSIDE: [(&str, &str, bool); 5] = [
    ("listener", "forward_proxy_addr", false),
    ("listener", "transparent_proxy_addr", false),
    ("listener", "ext_proc_addr", false),
    ("listener", "session_api_addr", true),
    ("stats", "address", true),
];

/// Replaces an address of every interface by loopback. One of a single interface is meant, and refused.
fn keep_inside((root, block, name): (&mut YamlNode, &str, &str), notices: &mut Vec<Diagnostic>) {
    let Some(YamlNode { value: YamlValue::Map(members), .. }) = member_mut(root, block) else { return };
    let Some((key, node)) = members.iter_mut().find(|(key, _)| key.name == name) else { return };
    let Some((written, address)) =
        text(node).and_then(|text| Some((text.to_owned(), ListenAddress::parse(text).ok()?)))
    else {
        return;
    };
    if address.only_port || !address.address.ip().is_unspecified() {
        return;
    }
    let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, address.address.port()));
    let problem = format!(
        "{written} is every interface, and it listens on {inside}: only the Pod may use it; write {inside}"
    );
    notices.push(Diagnostic { place: key.place, key: format!("{block}.{name}"), problem });
    node.value = YamlValue::Text(inside.to_string());
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
    if !has_address {
        put(root, ("health", "address"), &key, address.value);
    }
}

/// A notice about a key of `listener`.
fn told(key: &MemberKey, problem: String) -> Diagnostic {
    Diagnostic { place: key.place, key: format!("listener.{}", key.name), problem }
}

//! Environment of the containers beside the sidecar: variables that lead their requests through it.
//! Programs read the variables in lower case, in upper case or both, so that both are written (there is no standard; curl
//! ignores `HTTP_PROXY`).

use super::json::{items, set, take_items, text};
use serde_json::{Value, json};

const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Hosts that are in the Pod itself.
const OWN_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// Leads requests through the forward proxy at this port, and says what stays otherwise: a proxy that the Pod names itself
/// may be the only way out.
pub(super) fn lead_through_proxy(container: &mut Value, port: u16) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}");
    let has_own = PROXIES.iter().any(|name| {
        find(container, name).is_some_and(|variable| text(Some(variable), "value") != Some(url.as_str()))
    });
    if has_own {
        let name = text(Some(container), "name").unwrap_or_default();
        return Some(format!(
            "the container {name} names a proxy of its own, which stays: its requests do not pass the sidecar"
        ));
    }
    for name in PROXIES {
        write(container, name, &url);
    }
    write_no_proxy(container);
    None
}

/// Writes the hosts that need no proxy, in both cases: those that the Pod lists, and the Pod's own.
fn write_no_proxy(container: &mut Value) {
    let known = NO_PROXY.map(|name| find(container, name).cloned());
    if let Some(from) = known.iter().flatten().find(|variable| variable.get("valueFrom").is_some()) {
        // Its value is not known here. The other case of the name says the same by reference, which is resolved in order.
        let from = text(Some(from), "name").unwrap_or_default().to_owned();
        if let Some(other) =
            NO_PROXY.into_iter().find(|name| *name != from && find(container, name).is_none())
        {
            write(container, other, &format!("$({from})"));
        }
        return;
    }
    let listed = known.iter().flatten().filter_map(|variable| text(Some(variable), "value"));
    let mut hosts: Vec<String> = Vec::new();
    let own = OWN_HOSTS.into_iter();
    for host in listed.flat_map(|list| list.split([',', ' '])).map(str::trim).chain(own) {
        if !host.is_empty() && !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    for name in NO_PROXY {
        write(container, name, &hosts.join(","));
    }
}

/// Writes a variable, in its place if it is there.
pub(super) fn write(container: &mut Value, name: &str, value: &str) {
    let mut variables = take_items(container, "env");
    super::json::upsert(&mut variables, json!({ "name": name, "value": value }));
    set(container, "env", Value::Array(variables));
}

fn find<'v>(container: &'v Value, name: &str) -> Option<&'v Value> {
    // Of two variables with one name the last counts.
    items(container, &["env"]).iter().rfind(|variable| text(Some(variable), "name") == Some(name))
}

//! Ports below 1024, which the kernel keeps for processes with rights that the sidecar does not have.

use super::changes::Changes;
use super::json::{at, items, text};
use json_patch::jsonptr::PointerBuf;
use serde_json::{Value, json};

/// First port that needs no rights, unless the Pod says otherwise (ip(7)).
const FIRST_FREE: u16 = 1024;
/// Setting of the Pod's network that gives such ports to everybody. Kubernetes counts it as safe.
const SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";

/// Plans that the sidecar, which runs without rights, may listen on a low port. Some container runtimes set this themselves; a
/// value that the Pod has stays.
pub(super) fn plan_low_port(inbound: u16, spec: &Value, changes: &mut Changes) {
    let context = spec.get("securityContext").filter(|context| context.is_object());
    let known = context.map_or(&[][..], |context| items(context, "sysctls"));
    if inbound >= FIRST_FREE || known.iter().any(|sysctl| text(Some(sysctl), "name") == Some(SYSCTL)) {
        return;
    }
    let sysctl = json!({ "name": SYSCTL, "value": "0" });
    if context.is_none() {
        return changes
            .add(PointerBuf::from_tokens(["spec", "securityContext"]), json!({ "sysctls": [sysctl] }));
    }
    let is_there = at(spec, &["securityContext", "sysctls"]).is_some_and(Value::is_array);
    let path = PointerBuf::from_tokens(["spec", "securityContext", "sysctls"]);
    changes.append(&path, is_there, vec![sysctl]);
}

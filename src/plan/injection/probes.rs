//! Probes and hooks of containers: those that would ask the sidecar, which wants a token, ask the agent where it listens now.

use super::changes::Changes;
use super::json::{at, items, text};
use super::ports::Ports;
use json_patch::jsonptr::{Pointer, PointerBuf, Token};
use serde_json::{Value, json};

/// Members of a container with a probe or hook, and of a probe with a port.
const PROBES: [&[&str]; 5] = [
    &["livenessProbe"],
    &["readinessProbe"],
    &["startupProbe"],
    &["lifecycle", "postStart"],
    &["lifecycle", "preStop"],
];
const ASKS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];

/// Leads the probes of the port that the sidecar took over to the agent, in the container at `path`.
pub(super) fn redirect(container: &Value, ports: &Ports, changes: &mut Changes, path: &Pointer) {
    for probe in PROBES {
        let Some(asked) = at(container, probe) else { continue };
        for asks in ASKS {
            let Some(port) = at(asked, &[asks, "port"]) else { continue };
            if is_taken(port, container, ports.inbound) {
                let tokens =
                    path.tokens().chain(probe.iter().copied().chain([asks, "port"]).map(Token::from));
                changes.replace(PointerBuf::from_tokens(tokens), json!(ports.agent));
            }
        }
    }
}

/// True if a probe's port, a number or the name of a port of its container, is the one that was taken over.
fn is_taken(port: &Value, container: &Value, inbound: u16) -> bool {
    match port {
        Value::String(name) => {
            let is_named = |declared: &Value| {
                text(Some(declared), "name") == Some(name)
                    && declared.get("containerPort") == Some(&json!(inbound))
            };
            items(container, "ports").iter().any(is_named)
                || name.parse::<u16>().is_ok_and(|number| number == inbound)
        }
        number => *number == json!(inbound),
    }
}

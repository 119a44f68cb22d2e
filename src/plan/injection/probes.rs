//! Probes and hooks of containers: those that would ask the sidecar, which wants a token, ask the agent where it listens now.

use super::json::{items, text};
use super::ports::Ports;
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

/// Leads the probes of the port that the sidecar took over to the agent.
pub(super) fn redirect(container: &mut Value, ports: &Ports) {
    let named: Vec<String> = items(container, &["ports"])
        .iter()
        .filter(|port| port.get("containerPort") == Some(&json!(ports.inbound)))
        .filter_map(|port| text(Some(port), "name").map(str::to_owned))
        .collect();
    for path in PROBES {
        for asks in ASKS {
            let probe = path.iter().try_fold(&mut *container, |value, name| value.get_mut(*name));
            let Some(port) =
                probe.and_then(|probe| probe.get_mut(asks)).and_then(|asked| asked.get_mut("port"))
            else {
                continue;
            };
            let is_taken = match &*port {
                Value::String(name) => {
                    named.contains(name) || name.parse::<u16>().is_ok_and(|number| number == ports.inbound)
                }
                number => *number == json!(ports.inbound),
            };
            if is_taken {
                *port = json!(ports.agent);
            }
        }
    }
}

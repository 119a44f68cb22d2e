//! Ports of a Pod with a sidecar: the sidecar listens where the agent did, and the agent where nothing else does.

use super::json::{items, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// Port of an agent that declares none.
const USUAL_PORT: u16 = 8000;
/// First ports that are tried for the listeners of the sidecar.
const OUTBOUND: u16 = 8081;
const HEALTH: u16 = 9091;
const STATS: u16 = 9093;
const SESSIONS: u16 = 9094;

/// Ports of a Pod. They are computed from what its containers declare alone, so that they are the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// Index of the container whose port the sidecar takes over.
    pub(super) agent_container: usize,
    /// Port that callers know, on which the sidecar listens.
    pub(super) inbound: u16,
    /// Port on which the agent listens instead.
    pub(super) agent: u16,
    /// Port of the forward proxy.
    pub(super) outbound: u16,
    /// Port of the health server.
    pub(super) health: u16,
    /// Port of the statistics.
    pub(super) stats: u16,
    /// Port of the sessions.
    pub(super) sessions: u16,
    /// Other TCP ports that the Pod declares, which nothing guards.
    others: BTreeSet<u16>,
}

impl Ports {
    /// Ports of a Pod without the sidecar.
    pub(super) fn of(pod: &Value) -> Result<Self, String> {
        let containers = items(pod, &["spec", "containers"]);
        let declared: Vec<Vec<u16>> = containers.iter().map(tcp_ports).collect::<Result<_, _>>()?;
        let agent_container = declared.iter().position(|ports| !ports.is_empty()).unwrap_or_default();
        let inbound = declared.iter().flatten().next().copied().unwrap_or(USUAL_PORT);
        let mut others: BTreeSet<u16> = declared.iter().flatten().copied().collect();
        others.remove(&inbound);
        let mut taken = others.clone();
        for container in items(pod, &["spec", "initContainers"]) {
            taken.extend(tcp_ports(container)?);
        }
        taken.insert(inbound);
        let mut free = |from: u16| {
            let port = (from..=u16::MAX).find(|port| !taken.contains(port));
            let port = port.ok_or_else(|| {
                format!("the Pod declares every port from {from}: none is left for the sidecar")
            })?;
            taken.insert(port);
            Ok::<u16, String>(port)
        };
        let agent = free(inbound.saturating_add(1))?;
        Ok(Self {
            agent_container,
            inbound,
            agent,
            outbound: free(OUTBOUND)?,
            health: free(HEALTH)?,
            stats: free(STATS)?,
            sessions: free(SESSIONS)?,
            others,
        })
    }

    /// What nothing guards.
    pub(super) fn warnings(&self) -> Vec<String> {
        if self.others.is_empty() {
            return Vec::new();
        }
        let others: Vec<String> = self.others.iter().map(u16::to_string).collect();
        vec![format!(
            "the sidecar guards port {}, and not {}: serve one port, or close the others with a NetworkPolicy",
            self.inbound,
            others.join(", ")
        )]
    }
}

impl fmt::Display for Ports {
    /// What injection did, in one sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inbound, agent, outbound, .. } = self;
        write!(
            f,
            "injected: the sidecar listens on {inbound}, the agent on {agent} (PORT), and calls go through \
             127.0.0.1:{outbound} (HTTP_PROXY)"
        )
    }
}

/// TCP ports that a container declares.
fn tcp_ports(container: &Value) -> Result<Vec<u16>, String> {
    items(container, &["ports"])
        .iter()
        .filter(|port| matches!(text(Some(port), "protocol"), None | Some("TCP")))
        .map(|port| {
            let number = port.get("containerPort").and_then(Value::as_u64);
            let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
            number.ok_or_else(|| "a containerPort is no number from 1 to 65535".to_owned())
        })
        .collect()
}

//! Ports of a Pod with a sidecar: the sidecar listens where the agent did, and the agent where nothing else does.

use super::containers::Containers;
use super::json::{items, text};
use crate::input::ports::{OpenPorts, Port, RUNNING};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// First ports that are tried for the listeners of the sidecar.
const OUTBOUND: u16 = 8081;
const HEALTH: u16 = 9091;
const STATS: u16 = 9093;
const SESSIONS: u16 = 9094;

/// Ports of a Pod. They are computed from what its containers declare alone, so that they are the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// Index of the container, among those that are no sidecar, whose port the sidecar takes over.
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
    /// Ports that callers may reach, of which the sidecar guards one.
    open: OpenPorts,
}

impl Ports {
    /// Ports of a Pod without the sidecar, with these containers and those that start before them.
    pub(super) fn of(containers: Containers<'_>, before: Containers<'_>) -> Result<Self, String> {
        let of_list = |list: Containers<'_>| -> Result<Vec<(_, Vec<Port>)>, String> {
            let runs_on = |one: &Value| text(Some(one), "restartPolicy") == Some(RUNNING);
            list.others().map(|one| Ok((runs_on(one), declared(one)?))).collect()
        };
        let (containers, before) = (of_list(containers)?, of_list(before)?);
        let ports_of = |(_, ports): &(_, Vec<Port>)| ports.clone();
        let running = before.iter().filter(|(runs_on, _)| *runs_on);
        let open = OpenPorts::new(containers.iter().map(ports_of), running.map(ports_of));
        let guarded = open.guarded();
        let agent_container = containers.iter().position(|(_, ports)| ports.contains(&guarded));
        let inbound = guarded.number().get();
        let all = containers.iter().chain(&before).flat_map(|(_, ports)| ports);
        let mut taken: BTreeSet<u16> =
            all.filter(|port| port.is_tcp()).map(|port| port.number().get()).collect();
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
            agent_container: agent_container.unwrap_or_default(),
            inbound,
            agent,
            outbound: free(OUTBOUND)?,
            health: free(HEALTH)?,
            stats: free(STATS)?,
            sessions: free(SESSIONS)?,
            open,
        })
    }

    /// What callers reach that nothing guards.
    pub(super) fn warnings(&self) -> Vec<String> {
        let guarded = self.open.guarded();
        let others: Vec<String> =
            self.open.iter().filter(|port| *port != guarded).map(|port| port.to_string()).collect();
        if others.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "the sidecar guards port {guarded}, and not {}: verified agents reach every port that a container declares, so \
             take those out of its ports that they do not need",
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

/// Ports that a container declares.
fn declared(container: &Value) -> Result<Vec<Port>, String> {
    let parse = |port: &Value| {
        let number = port.get("containerPort").and_then(Value::as_i64);
        number.and_then(|number| Port::parse(number, text(Some(port), "protocol")))
    };
    let refused = || {
        "a containerPort is no number from 1 to 65535, or its protocol is none of TCP, UDP and SCTP"
            .to_owned()
    };
    items(container, "ports").iter().map(|port| parse(port).ok_or_else(refused)).collect()
}

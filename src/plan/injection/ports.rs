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

    /// Variables that tell the sidecar its ports.
    pub(super) const fn variables(&self) -> [(&'static str, u16); 6] {
        [
            ("AUTHBRIDGE_INBOUND_PORT", self.inbound),
            ("AUTHBRIDGE_AGENT_PORT", self.agent),
            ("AUTHBRIDGE_OUTBOUND_PORT", self.outbound),
            ("AUTHBRIDGE_HEALTH_PORT", self.health),
            ("AUTHBRIDGE_STATS_PORT", self.stats),
            ("AUTHBRIDGE_SESSIONS_PORT", self.sessions),
        ]
    }

    /// Port of a sidecar that is in the Pod already and would be another one now, as a sentence. What was led to the old port
    /// (`PORT`, proxies, probes) cannot be told from what the Pod had of its own, and so would lead past the sidecar.
    pub(super) fn moved(&self, containers: Containers<'_>, before: Containers<'_>) -> Option<String> {
        let sidecar = before.sidecar().or_else(|| containers.sidecar())?;
        let told = |name: &str| {
            let variable = items(sidecar, "env").iter().rfind(|one| text(Some(one), "name") == Some(name));
            text(variable, "value")?.parse::<u16>().ok()
        };
        let (name, old, new) = self
            .variables()
            .into_iter()
            .find_map(|(name, new)| told(name).filter(|old| *old != new).map(|old| (name, old, new)))?;
        let cause = if name == "AUTHBRIDGE_INBOUND_PORT" {
            format!("the first port that its containers declare is {new}")
        } else if let Some(container) = declares(containers.others().chain(before.others()), old) {
            format!("the container {container} declares that port")
        } else {
            format!("its containers declare other ports than before, so that it would be {new}")
        };
        Some(format!(
            "its sidecar was injected with port {old} ({name}), and now {cause}: what adds a container or a port to a Pod after \
             the sidecar has to leave the ports of the sidecar alone, so give it another port or put it into the Pod template"
        ))
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

/// Name of the container that declares a port for TCP.
fn declares<'p>(mut containers: impl Iterator<Item = &'p Value>, port: u16) -> Option<&'p str> {
    let is_declared = |one: &&Value| {
        declared(one).is_ok_and(|all| all.iter().any(|found| found.is_tcp() && found.number().get() == port))
    };
    containers.find(is_declared).and_then(|one| text(Some(one), "name"))
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

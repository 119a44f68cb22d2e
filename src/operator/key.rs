//! What can be reconciled: one key per thing that has to be brought in step.
//! Everything that touches one workload's objects runs under its one key, so two writers never race.

use super::world::{Kind, Place};
use countersign_controller::queue::Tenant;
use countersign_plan::workload_label;
use std::fmt;

/// A workload by kind and place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkloadKey {
    /// The kind.
    pub(crate) kind: Kind,
    /// Namespace and name.
    pub(crate) place: Place,
}

impl WorkloadKey {
    /// The label value that names it on its policies.
    pub(crate) fn label(&self) -> String {
        workload_label(&self.place.0, self.kind.as_str(), &self.place.1)
    }
}

/// Something to reconcile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// The isolation that all agents of a namespace share.
    Namespace(String),
    /// The objects of one workload: its card, policies and marks.
    Workload(WorkloadKey),
    /// The verdict about one AgentCard. Its turn may wait for the agent, once or for each of its endpoints; it writes
    /// nothing, and what it finds is said under the key of the status.
    Card(Place),
    /// The status of one AgentCard.
    Status(Place),
    /// A Pod with a mark that no workload vouches for.
    Pod(Place),
    /// A policy of ours whose workload is not known.
    Orphan(Place),
}

impl Key {
    /// The controller under whose name the key is counted.
    pub(crate) const fn controller(&self) -> &'static str {
        match self {
            Self::Namespace(_) | Self::Orphan(_) => "networkpolicy",
            Self::Workload(_) => "agentcardsync",
            Self::Card(_) | Self::Status(_) => "agentcard",
            Self::Pod(_) => "peermark",
        }
    }
}

impl Tenant for Key {
    fn namespace(&self) -> &str {
        match self {
            Self::Namespace(name) => name,
            Self::Workload(key) => &key.place.0,
            Self::Card(place) | Self::Status(place) | Self::Pod(place) | Self::Orphan(place) => &place.0,
        }
    }
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.place.0, self.place.1)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, place) = match self {
            Self::Namespace(name) => return write!(f, "namespace {name}"),
            Self::Workload(key) => return key.fmt(f),
            Self::Card(place) => ("agentcard", place),
            Self::Status(place) => ("status of agentcard", place),
            Self::Pod(place) => ("pod", place),
            Self::Orphan(place) => ("networkpolicy", place),
        };
        write!(f, "{kind} {}/{}", place.0, place.1)
    }
}

//! Replicas of a workload behind its Service.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Pod of the workload that receives traffic of the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Name of the Pod.
    pub name: String,
    /// UID of the Pod.
    pub uid: String,
    /// IP address from which the card is fetched.
    pub address: IpAddr,
    /// TCP port from which the card is fetched.
    pub port: u16,
    /// Requests whose answer is meant, in words, where the replica answers other requests with another card; `None` for
    /// the first answer.
    pub answer: Option<&'static str>,
}

/// Replicas behind a Service, all of them Pods of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// Replicas that receive traffic now, ordered by name.
    pub ready: Vec<Replica>,
    /// UIDs of all Pods of the workload that serve or may still serve.
    pub all: BTreeSet<String>,
}

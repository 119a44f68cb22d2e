//! The built binary from outside: exit codes, both outputs, every edge that a script or a person can meet.
#![cfg(test)]
#![cfg(feature = "cli")]

mod authority;
mod run;

#[cfg(feature = "check")]
mod check;
mod demo;
#[cfg(all(feature = "sidecar", target_os = "linux"))]
mod documents;
mod edges;
mod explain;
mod generated;
mod memory;
mod plan;
mod plan_pods;
mod policy;
mod sign;
mod verify;
mod verify_svid;

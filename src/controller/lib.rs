//! Controller runtime without knowledge of kinds: watches, work queue, leader election and writes.
//! Callers define the keys; no code of the crate decides about an agent.

pub mod admin;
pub mod apply;
pub mod failure;
pub mod health;
pub mod key;
pub mod lease;
pub mod next;
pub mod queue;
pub mod relist;
pub mod store;
pub mod turns;
pub mod watch;
pub mod watches;
pub mod workers;

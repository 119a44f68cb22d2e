//! Controller runtime without knowledge of kinds: watches, work queue, leader election and writes.
//! Callers register kinds in a [`registry::Registry`]; no code of the crate decides about an agent.

pub mod admin;
pub mod api_error;
pub mod apply;
pub mod failure;
pub mod health;
mod held_back;
mod keeper;
pub mod key;
pub mod lease;
pub mod list_limit;
pub mod next;
pub mod queue;
mod reconcilers;
pub mod registry;
mod relist;
pub mod store;
pub mod turns;
pub mod watch;
pub mod workers;

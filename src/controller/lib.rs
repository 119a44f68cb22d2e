//! Machinery of controllers that knows no kind: what waits for its turn, who may act, and how objects are written.
//! Whoever uses it says what a key is; nothing here decides anything about an agent.

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

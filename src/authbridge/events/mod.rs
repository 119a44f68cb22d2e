//! Recent requests for whoever watches the agent: what was asked, by whom, and what became of it.
//! Users are kept apart, memory is bounded in bytes, and losing an event never delays a request.

mod call;
mod event;
mod store;
mod watch;

pub(crate) use call::{Parser, parse_paths};
pub(crate) use event::{Direction, Event};
pub(crate) use store::{Bounds, SessionStore};
pub(crate) use watch::Watch;

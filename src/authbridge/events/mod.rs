//! Recent requests for the session API: what was called, by whom, and with which outcome. Users have separate sessions,
//! memory is bounded in bytes, and events are dropped rather than delay a request.

mod call;
mod event;
mod store;
mod text;
mod watch;

pub(crate) use call::{Parser, parse_paths};
pub(crate) use event::{Direction, Event};
pub(crate) use store::{Bounds, SessionStore};
pub(crate) use watch::Watch;

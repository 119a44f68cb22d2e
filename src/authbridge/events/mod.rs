//! Recent requests for the session API: what was called, by whom, and with which outcome. Users have separate sessions,
//! memory is bounded in bytes, and events are dropped rather than delay a request.

mod a2a;
mod answer;
mod buffer;
mod call;
mod event;
mod exchange;
mod media_type;
mod member;
mod parser;
mod reader;
mod split;
mod store;
mod text;
mod watch;

pub(crate) use event::Direction;
pub(crate) use parser::{Parser, parse_paths};
pub(crate) use store::{Bounds, SessionStore, Subscription};
pub(crate) use watch::Watch;

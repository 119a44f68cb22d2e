//! Requests to the agent: from a connection to the agent's answer, past the gate.

mod admit;
mod connection;
mod handler;
mod reauthorize;

pub(crate) use admit::{admit, count, watch};
pub(crate) use connection::serve;
pub(crate) use handler::InboundHandler;

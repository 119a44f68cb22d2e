//! Reverse proxy: requests to the agent, from their connection through the gate to the agent's answer.

mod admit;
mod connection;
mod handler;
mod reauthorize;
mod redirected;

pub(crate) use admit::{admit, count, watch};
pub(crate) use connection::serve;
pub(crate) use handler::InboundHandler;
pub(crate) use redirected::serve_redirected;

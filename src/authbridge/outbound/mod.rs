//! Requests of the agent: where they go, which token they carry, and to whom they are delivered.

mod connect;
mod credentials;
mod destination;
mod exchange;
mod form;
mod grant;
mod handler;
mod routes;
mod rules;
mod transparent;

pub(crate) use exchange::NAME as EXCHANGE;
pub(crate) use grant::{Granted, bearer};
pub(crate) use handler::OutboundHandler;
pub(crate) use rules::OutboundRules;
pub(crate) use transparent::{serve_proxy, serve_redirected};

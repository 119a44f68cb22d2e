//! Forward proxy: requests of the agent, their destination, the token they carry, and the server they reach.

mod connect;
mod credentials;
mod destination;
mod exchange;
mod form;
mod grant;
mod handler;
mod happy_eyeballs;
mod lease;
mod opening;
mod parsers;
mod redirected;
mod routes;
mod routes_file;
mod rules;
mod told;
mod transparent;

pub(crate) use exchange::NAME as EXCHANGE;
pub(crate) use grant::{Granted, bearer};
pub(crate) use handler::OutboundHandler;
pub(crate) use routes_file::check_routes_files;
pub(crate) use rules::OutboundRules;
pub(crate) use transparent::{serve_proxy, serve_redirected};

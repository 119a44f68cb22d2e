//! The external processor of an Envoy (`ext_proc`): Envoy carries the requests, and what may pass with which token is
//! decided here, by the same rules as in the proxies.

mod answer;
mod attributes;
mod head;
mod health;
mod judge;
mod messages;
mod server;
mod stream;

pub(crate) use judge::Processor;
pub(crate) use server::serve;

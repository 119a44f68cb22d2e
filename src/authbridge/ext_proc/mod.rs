//! The external processor of an Envoy (`ext_proc`): Envoy carries the requests, and what may pass with which token is
//! decided here, by the same rules as in the proxies.

mod answer;
mod attributes;
mod head;
mod health;
mod messages;
mod processor;
mod server;
mod stream;

pub(crate) use processor::Processor;
pub(crate) use server::serve;

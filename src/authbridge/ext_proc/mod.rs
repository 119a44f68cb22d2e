//! External processor of an Envoy (`ext_proc`): Envoy carries the requests, and this side decides which may pass with
//! which token, by the same rules as the proxies.

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

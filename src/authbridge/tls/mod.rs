//! TLS with SPIFFE identities, in both directions. rustls speaks the protocol; who is accepted is decided by the
//! identity as it is during the handshake, never by a copy from the start.

mod client;
mod server;
mod signatures;

pub(crate) use client::{mtls_client, system_client};
pub(crate) use server::Terminator;

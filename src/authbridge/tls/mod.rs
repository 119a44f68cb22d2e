//! TLS with SPIFFE identities, in both directions. rustls speaks the protocol; peers are verified against the bundles at
//! the time of the handshake, so a rotation needs no new listener.

mod client;
mod server;
mod signatures;

pub(crate) use client::{mtls_client, system_client};
pub(crate) use server::Terminator;

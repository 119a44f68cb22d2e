//! Authentication of requests to the agent: keys of the issuer, verified tokens, and the plugin that uses both.

mod audience;
mod gate;
mod issuer;
mod key_store;

pub(crate) use audience::{LineFile, read_line};
pub(crate) use gate::{Admitted, NAME as GATE, TokenGate};
pub(crate) use issuer::{Fetcher, fetch_client, send};

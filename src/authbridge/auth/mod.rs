//! The gate for requests to the agent: keys of the issuer, tokens already judged, and the plugin that asks them.

mod audience;
mod gate;
mod issuer;
mod key_store;

pub(crate) use audience::follow_line;
pub(crate) use gate::{Admitted, NAME as GATE, TokenGate};
pub(crate) use issuer::{Fetcher, fetch_client, send};

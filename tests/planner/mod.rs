//! The planner against a reader of NetworkPolicies that knows nothing of it.
//! Compiled into the crate, because only the crate may call a card verified without a signature.

mod examples;
mod golden;
mod guard;
#[path = "../support/netpol.rs"]
mod netpol;
mod properties;
mod world;

use crate::api::keys;
use crate::core::refusal::{Reason, Refusal};
use crate::plan;

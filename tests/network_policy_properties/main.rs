//! The planner against a reader of NetworkPolicies that knows nothing of it.
//! Every agent that is called verified here is so by a real signature: there is no other way to be.
#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails the test")]

#[path = "../support/cards.rs"]
#[expect(dead_code, reason = "the cards are shared; a plan needs one of them")]
mod cards;
#[path = "../support/netpol.rs"]
mod netpol;
#[path = "../support/pki.rs"]
#[expect(dead_code, reason = "the test authority is shared; a plan needs one SVID")]
mod pki;

mod examples;
mod golden;
mod guard;
mod properties;
mod world;

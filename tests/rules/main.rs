//! An attack for every numbered rule of `docs/rules.md`, each beside the honest case that it was made from.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "an overflow or a panic in a test is a failed test"
)]

#[path = "../support/cards.rs"]
mod cards;
#[path = "../support/pki.rs"]
mod pki;

mod binding;
mod bundles;
mod chains;
mod coverage;
mod delivered;
mod headers;
mod hostile;
mod intake;
mod issuers;
mod keys;
mod memory;
mod replay;
mod shapes;
mod signer;
mod strength;
mod svids;
mod twins;
mod upgrade;

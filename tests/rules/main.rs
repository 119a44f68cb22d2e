//! An attack for every numbered rule of `docs/rules.md`, each beside the honest case that it was made from.
#![cfg(test)]

#[path = "../support/cards.rs"]
mod cards;
#[path = "../support/pki.rs"]
mod pki;

mod binding;
mod headers;
mod intake;

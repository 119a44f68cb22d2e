//! Countersign verifies who an AI agent is and lets only verified agents speak.
#![forbid(unsafe_code)]

pub mod core;

//! The operator: the process around the controllers, its probes, metrics, lease and log.
//! `run` starts them in an order in which nothing slow can keep the process from answering.

mod bundles;
mod card;
mod context;
pub mod controllers;
mod entry;
mod error;
mod evaluations;
mod events;
pub mod flags;
mod identity;
mod index;
mod key;
mod kinds;
pub mod metrics;
mod metrics_server;
mod namespace;
mod process;
mod telemetry;
mod workload;

pub use entry::main;
pub use error::OperatorError;
pub use process::{Shared, run};

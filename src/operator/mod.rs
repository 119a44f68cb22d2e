//! The operator: the process around the controllers, its probes, metrics, lease and log.
//! `run` starts them in an order in which nothing slow can keep the process from answering.

pub mod admin;
pub mod controllers;
mod entry;
mod error;
pub mod flags;
pub mod lease;
mod logs;
pub mod metrics;
mod metrics_server;
mod process;
pub mod shutdown;
mod telemetry;

pub use entry::main;
pub use error::OperatorError;
pub use process::{Context, run};

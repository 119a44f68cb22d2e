//! Operator process: controllers, probes, metrics, lease and log.
//! `run` starts the probes first, so that no slow part keeps the process from answering them.

mod bundles;
mod card;
mod constraint;
mod context;
pub mod controllers;
mod enforcements;
mod entry;
mod error;
mod evaluations;
mod events;
mod findings;
pub mod flags;
mod identity;
mod index;
mod kinds;
mod limits;
mod mesh;
pub mod metrics;
mod metrics_server;
mod namespace;
mod notices;
mod policies;
mod process;
mod reduced;
mod registration;
mod renamed;
mod renamed_card;
mod renamed_runtime;
mod runtime;
mod scc;
mod shared;
mod sidecars;
mod telemetry;
mod tls;
mod undecided;
mod webhook;
mod workload;
mod written;

pub use entry::main;
pub use error::OperatorError;
pub use process::run;
pub use shared::Shared;

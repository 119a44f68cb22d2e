//! The edges of the command line: clock, files, network, keys. Everything that can fail for reasons outside
//! the input is here, so that the core and the planner stay pure.

#[cfg(feature = "operator")]
pub mod apply;
mod body;
pub mod clock;
pub mod fetch;
pub mod files;
pub mod keys;
#[cfg(feature = "operator")]
pub mod mtls;
mod plain;
#[cfg(feature = "operator")]
pub mod probe;
pub mod workload_api;

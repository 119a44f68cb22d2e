//! The edges of the programs: clock, files, network, keys. Everything that can fail for reasons outside
//! the input is here, so that the core and the planner stay pure.

#[cfg(feature = "operator")]
pub mod apply;
#[cfg(feature = "cli")]
mod body;
pub mod clock;
#[cfg(feature = "cli")]
pub mod fetch;
pub mod files;
#[cfg(feature = "cli")]
pub mod keys;
#[cfg(any(feature = "operator", feature = "sidecar"))]
pub mod logs;
#[cfg(feature = "operator")]
pub mod mtls;
#[cfg(feature = "cli")]
mod plain;
#[cfg(feature = "operator")]
pub mod probe;
#[cfg(any(feature = "operator", feature = "sidecar"))]
pub mod shutdown;
pub mod workload_api;

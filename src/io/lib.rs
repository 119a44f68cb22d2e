//! The edges of the programs: clock, files, network, keys. Everything that can fail for reasons outside
//! the input is here, so that the core and the planner stay pure.

mod body;
pub mod clock;
pub mod fetch;
pub mod files;
pub mod keys;
pub mod logs;
pub mod mtls;
mod plain;
pub mod probe;
pub mod shutdown;
pub mod workload_api;

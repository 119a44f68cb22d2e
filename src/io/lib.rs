//! The edges of the programs: clock, files, network, keys.
//! Every operation that can fail for reasons outside its input is in this crate, so that core and planner stay pure.

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

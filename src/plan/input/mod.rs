//! What plans stand on: objects of the cluster cut down to what decides, checked when they are read.
//! The operator reads them from its watches and the command line from manifests; from here on both do the same.

pub(crate) mod address;
pub(crate) mod card_ref;
pub(crate) mod cluster;
pub mod delivered;
pub mod endpoint;
pub(crate) mod enrolled;
pub(crate) mod error;
pub mod identity;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod outcome;
pub mod pod;
pub mod service;
mod syntax;
pub mod workload;

pub use address::Cidr;
pub use card_ref::CardRef;
pub use cluster::{ApiServer, ClusterAccess, Destination, Dns, Egress, PodGroup};
pub use enrolled::{EnrolledWorkload, Isolation};
pub use error::InputError;
pub use names::workload_label;
pub use namespace::Namespace;
pub use outcome::CardOutcome;

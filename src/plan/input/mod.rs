//! Planning input: cluster objects reduced to the fields that decide, and checked on construction.
//! The operator fills it from watches and the command line from manifests, so that both plan alike.

pub(crate) mod address;
pub(crate) mod card_ref;
pub(crate) mod cluster;
pub mod delivered;
pub mod endpoint;
pub(crate) mod enrolled;
pub mod enrolment;
pub(crate) mod error;
pub mod host_suffix;
pub mod identity;
mod kept;
pub mod labels;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod outcome;
pub mod pod;
pub mod ports;
pub mod sandbox;
pub mod service;
pub mod standing;
mod syntax;
pub mod workload;

pub use address::Cidr;
pub use card_ref::CardRef;
pub use cluster::{ApiServer, ClusterAccess, Destination, Dns, Egress, PodGroup};
pub use enrolled::{EnrolledWorkload, Isolation};
pub use error::InputError;
pub use kept::Kept;
pub use names::{policy_names, workload_label};
pub use namespace::Namespace;
pub use outcome::CardOutcome;

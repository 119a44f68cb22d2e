//! The Kubernetes API of Countersign: groups, kinds, labels and annotations.
//! The crate holds types and names alone and never talks to a cluster.

#[cfg(feature = "kinds")]
pub mod agent_card;
pub mod duration;
pub mod keys;
#[cfg(feature = "kinds")]
mod limits;
mod object_ref;

pub use object_ref::ObjectRef;

//! The Kubernetes API this project shares with its users: groups, kinds, labels and annotations.
//! One kind or one idea per file; nothing here talks to a cluster.

#[cfg(feature = "kinds")]
pub mod agent_card;
pub mod duration;
pub mod keys;
#[cfg(feature = "kinds")]
mod limits;
mod object_ref;

pub use object_ref::ObjectRef;

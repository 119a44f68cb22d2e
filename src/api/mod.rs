//! The Kubernetes API this project shares with its users: groups, kinds, labels and annotations.
//! One kind or one idea per file; nothing here talks to a cluster.

#[cfg(feature = "operator")]
pub mod agent_card;
#[cfg(any(feature = "operator", feature = "sidecar"))]
pub mod duration;
pub mod keys;

//! The Kubernetes API this project shares with its users: groups, kinds, labels and annotations.
//! One kind or one idea per file; nothing here talks to a cluster.

pub mod keys;

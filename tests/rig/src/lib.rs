//! Real parts for tests: etcd, Kubernetes, containerd and SPIRE in namespaces of one machine.
//! [`Rig`] starts them, leads into them, breaks them on purpose, and leaves nothing behind.

mod component;
mod control_plane;
mod namespace;
mod parts;
mod pki;
mod relay;
mod rig;
mod support;

pub use relay::Relay;
pub use rig::{Options, Rig};

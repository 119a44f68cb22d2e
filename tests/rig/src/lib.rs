//! Real parts for tests: etcd, Kubernetes, containerd and SPIRE in namespaces of one machine.
//! [`Rig`] starts them, leads into them, breaks them on purpose, and leaves nothing behind.

mod component;
mod containers;
mod control_plane;
pub mod fault;
mod image;
mod look;
mod namespace;
mod node;
mod parts;
mod pki;
mod policy;
mod relay;
mod rig;
mod spire;
mod support;

pub use fault::{Fault, FaultProxy, Rule};
pub use image::{Entry, Image, libraries};
pub use node::AGNHOST;
pub use relay::Relay;
pub use rig::{Options, Rig};
pub use spire::{Authorities, SOCKET, SOCKET_FOLDER, Spire, TRUST_DOMAIN};

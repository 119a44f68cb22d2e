//! Real parts for tests: etcd, Kubernetes, containerd and SPIRE in namespaces of one machine.
//! [`Rig`] starts them, leads into them, breaks them on purpose, and leaves nothing behind.

mod authority;
mod certificates;
mod component;
mod containers;
mod control_plane;
pub mod fault;
mod hold;
mod image;
mod look;
mod namespace;
mod net;
mod node;
pub mod parts;
mod pki;
mod policy;
pub mod record;
mod relay;
mod rig;
mod spire;
mod spire_parts;
mod support;
mod wait;

pub use authority::{Authorities, LocalAuthority, spire_server};
pub use certificates::{Ca, Certificate, Leaf};
pub use fault::{Fault, FaultProxy, Rule};
pub use image::{Entry, Image, libraries};
pub use look::Api;
pub use net::{Net, original_destination};
pub use node::AGNHOST;
pub use relay::Relay;
pub use rig::{Options, Rig, output};
pub use spire::{SOCKET, SOCKET_FOLDER, Spire, TRUST_DOMAIN, register_on};
pub use spire_parts::SpireParts;
pub use wait::{until, until_unless};

//! SVID and trust bundles of this workload. Handshakes and reauthorizations read the current state, never a copy.

mod files;
mod jwt_svid;
mod memo;
mod mirror;
mod snapshot;
mod store;
mod workload;

pub(crate) use files::{follow_files, read as read_material};
pub(crate) use jwt_svid::JwtSvids;
pub(crate) use mirror::mirror;
pub(crate) use snapshot::{Snapshot, VerifiedPeer};
pub(crate) use store::WorkloadIdentity;
pub(crate) use workload::follow_workload_api;

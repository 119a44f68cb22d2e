//! Who this workload is and whom it trusts, always current: handshakes and judgements read what stands here now.

mod files;
mod jwt_svid;
mod mirror;
mod snapshot;
mod store;
mod workload;

pub(crate) use files::follow_files;
pub(crate) use jwt_svid::JwtSvids;
pub(crate) use mirror::mirror;
pub(crate) use snapshot::VerifiedPeer;
pub(crate) use store::WorkloadIdentity;
pub(crate) use workload::follow_workload_api;

//! `authbridge netinit` with real packets: a pod and what is outside of it are two networks of the test's own.
//! Needs root, `iproute2`, `nftables` and `python3`.

mod enforce;
mod inbound;
mod mesh;
mod other_protocols;
mod pod;
mod proxied;
mod redirect;
mod rerun;

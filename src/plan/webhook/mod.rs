//! Serving of the admission webhook: its certificate, and the authorities that the API server is told.

mod ca_bundle;
mod certificate;
mod expiry;
mod key_pair;

pub use ca_bundle::plan_ca_bundle;
pub use certificate::{
    AUTHORITIES, CURRENT, Change, Members, NEXT, PlannedSecret, SecretData, authorities, plan_certificate,
};
pub use expiry::{parse_expiries, parse_expiry};
pub use key_pair::{BACKDATED, NewKeyPair};

/// Names of a Service under which the API server calls it, and the loopback address, at which an operator outside a
/// cluster is called by its URL.
pub fn service_names(service: &str, namespace: &str) -> Vec<String> {
    vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
    ]
}

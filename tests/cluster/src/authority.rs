//! A trust authority as SPIRE is one: a CA of a trust domain, SVIDs, and the bundle that it publishes.

use countersign_rig::{Ca, Leaf};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// The CA of a trust domain.
pub struct Authority {
    domain: String,
    ca: Ca,
}

/// An SVID with its key.
pub struct Svid {
    /// DER certificates, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Vec<u8>,
}

impl Authority {
    /// A CA with a new key.
    pub fn new(domain: &str) -> Self {
        let ca = Ca::new("SPIRE", Some(&format!("spiffe://{domain}"))).unwrap();
        Self { domain: domain.to_owned(), ca }
    }

    /// An SVID of a service account, valid from `from` to `until` seconds from now.
    pub fn issue(&self, namespace: &str, account: &str, from: i64, until: i64) -> Svid {
        let at = |seconds: i64| {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            let now = SystemTime::now();
            if seconds < 0 { now - distance } else { now + distance }
        };
        let leaf = self.ca.issue(Leaf {
            organization: Some("SPIRE".to_owned()),
            uris: vec![format!("spiffe://{}/ns/{namespace}/sa/{account}", self.domain)],
            validity: (at(from), at(until)),
            ..Leaf::default()
        });
        let leaf = leaf.unwrap();
        Svid { chain: vec![leaf.der], key: leaf.key_der }
    }

    /// The certificate of the CA, for bundles of several.
    pub fn certificate(&self) -> &[u8] {
        &self.ca.certificate().der
    }
}

/// A bundle in SPIFFE's format.
pub fn bundle_json(authorities: &[&Authority], sequence: u64) -> Value {
    let keys: Vec<Value> = authorities.iter().map(|authority| key_of(authority.certificate())).collect();
    json!({ "keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": 300 })
}

fn key_of(certificate: &[u8]) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "x": "", "y": "", "use": "x509-svid", "x5c": [base64(certificate)] })
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    countersign_core::encoding::encode_base64_standard_into(bytes, &mut text);
    text
}

//! Trust bundles in all formats: every anchor is a CA of the caller's domain by a second reading, every good
//! authority is found, and neither format, order, numbering nor JWT keys change the fingerprint.
#![no_main]

use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::spiffe::TrustDomain;
use countersign_fuzz::authority::{DOMAIN, LEAF, NEIGHBOUR, P384, ROOT, RSA, WORKLOAD};
use countersign_fuzz::certs::{Spec, Twist};
use countersign_fuzz::rules::is_authority;
use data_encoding::{BASE64, BASE64_MIME};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Arbitrary, Debug)]
enum Case {
    /// Any text at all.
    Text(Vec<u8>),
    Entries {
        entries: Vec<Entry>,
        one: Shape,
        other: Shape,
    },
}

#[derive(Arbitrary, Debug)]
struct Entry {
    /// Which key the authority has; none for a certificate that is no authority.
    key: Option<u8>,
    twists: Vec<Twist>,
    wrong_type: bool,
}

/// How the same authorities are written down.
#[derive(Arbitrary, Debug)]
struct Shape {
    format: Format,
    reversed: bool,
    repeated: bool,
    jwt_keys: u8,
    sequence: Option<u32>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Format {
    Spiffe,
    KeySet,
    Pem,
    Map,
}

fuzz_target!(|case: Case| match case {
    Case::Text(text) => {
        for name in [DOMAIN, "keys"] {
            if let Ok(bundle) = parse_bundle(&domain(name), text.clone()) {
                check_anchors(&bundle, name);
            }
        }
    }
    Case::Entries { entries, one, other } => check_entries(&entries, &one, &other),
});

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).expect("a trust domain")
}

fn check_anchors(bundle: &Bundle, name: &str) {
    assert_eq!(bundle.trust_domain().as_str(), name, "the domain is the caller's");
    assert!((1..=256).contains(&bundle.anchors().len()));
    for anchor in bundle.anchors() {
        assert_eq!(is_authority(anchor.der(), name), Ok(()));
    }
    let digests: BTreeSet<_> = bundle.anchors().iter().map(|anchor| anchor.sha256()).collect();
    assert_eq!(digests.len(), bundle.anchors().len(), "no anchor twice");
}

fn check_entries(entries: &[Entry], one: &Shape, other: &Shape) {
    let mut certificates: Vec<(Vec<u8>, &str)> =
        entries.iter().take(8).filter_map(Entry::certificate).collect();
    // A wrong `kty` keeps an authority out of the JSON formats only.
    if [one, other].iter().any(|shape| shape.format == Format::Pem) {
        certificates.iter_mut().for_each(|(der, kind)| *kind = kind_of(der).unwrap_or(kind));
    }
    let read = [one, other].map(|shape| parse_bundle(&domain(DOMAIN), shape.write(&certificates)).ok());
    for bundle in read.iter().flatten() {
        check_anchors(bundle, DOMAIN);
        for anchor in bundle.anchors() {
            // RSA signatures are the same each time, so a certificate can stand there twice.
            let mut kinds = certificates.iter().filter(|(der, _)| der == anchor.der()).map(|(_, kind)| *kind);
            let right = kind_of(anchor.der());
            assert!(kinds.any(|kind| Some(kind) == right), "an anchor that is none");
        }
    }
    let found = read.each_ref().map(|bundle| bundle.as_ref().map(Bundle::fingerprint));
    assert_eq!(found[0], found[1], "{one:?} and {other:?} differ");
    let plain = entries.iter().take(8).any(|entry| entry.is_plain());
    assert!(!plain || found[0].is_some(), "a good authority is not found");
}

impl Entry {
    /// True for an authority that nobody tampered with.
    fn is_plain(&self) -> bool {
        self.key.is_some() && self.twists.is_empty() && !self.wrong_type
    }

    fn certificate(&self) -> Option<(Vec<u8>, &'static str)> {
        let mut spec = match self.key {
            Some(key) => {
                let key = [ROOT, NEIGHBOUR, P384, RSA][usize::from(key % 4)];
                Spec::authority("root", "root", key, key)
            }
            None => Spec::leaf(WORKLOAD, "root", LEAF, ROOT),
        };
        self.twists.iter().take(3).for_each(|twist| spec.twist(twist));
        let der = spec.build()?;
        let right = kind_of(&der).unwrap_or("OKP");
        let wrong = if right == "RSA" { "EC" } else { "RSA" };
        Some((der, if self.wrong_type { wrong } else { right }))
    }
}

fn kind_of(der: &[u8]) -> Option<&'static str> {
    let key = openssl::x509::X509::from_der(der).ok()?.public_key().ok()?;
    match key.id() {
        openssl::pkey::Id::RSA => Some("RSA"),
        openssl::pkey::Id::EC => Some("EC"),
        _ => None,
    }
}

impl Shape {
    fn write(&self, certificates: &[(Vec<u8>, &str)]) -> Vec<u8> {
        let mut order: Vec<_> = certificates.iter().collect();
        if self.reversed {
            order.reverse();
        }
        if self.repeated {
            order.extend(certificates.first());
        }
        if self.format == Format::Pem {
            let pem = |(der, _): &&(Vec<u8>, &str)| {
                let text = BASE64_MIME.encode(der).replace('\r', "");
                format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
            };
            return order.iter().map(pem).collect::<String>().into_bytes();
        }
        let mut keys: Vec<Value> = order
            .iter()
            .map(|(der, kind)| {
                let mut key = json!({"kty": kind, "x5c": [BASE64.encode(der)]});
                if self.format != Format::KeySet {
                    key["use"] = json!("x509-svid");
                }
                key
            })
            .collect();
        for index in 0..self.jwt_keys % 4 {
            let place = usize::from(self.jwt_keys) % (keys.len() + 1);
            keys.insert(place, json!({"kty": "EC", "use": "jwt-svid", "kid": index.to_string(), "x": "AA"}));
        }
        let mut bundle = json!({"keys": keys});
        if let Some(sequence) = self.sequence {
            bundle["spiffe_sequence"] = json!(sequence);
        }
        if self.format == Format::Map {
            bundle = json!({"trust_domains": {DOMAIN: bundle, "other.org": {"keys": []}}});
        }
        bundle.to_string().into_bytes()
    }
}

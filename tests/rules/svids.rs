//! SVIDs as other issuers make them, each with the outcome that docs/svids.md tells.

use crate::pki::{Authority, Ca, Key, Leaf, NOW, OID_NAME_CONSTRAINTS, WORKLOAD, element, extension, pem};
use countersign_core::budget::WorkBudget;
use countersign_core::bundle::parse_bundle;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::{Seconds, Timestamp};
use countersign_core::x509::{ChainPolicy, Moments, leaf_facts, parse_pem_chain, verify_chain};
use rcgen::{KeyUsagePurpose as Usage, SanType};
use std::collections::BTreeMap;

/// A workload of Istio and of csi-driver-spiffe in the trust domain that both have by default.
const MESHED: &str = "spiffe://cluster.local/ns/demo/sa/weather";
const HOUR: u64 = 3600;

/// A chain with the bundle it is verified under.
struct Issued {
    domain: &'static str,
    id: &'static str,
    chain: Vec<Vec<u8>>,
    bundle: String,
}

impl Issued {
    /// An SVID below an authority that was made here.
    fn here(domain: &'static str, id: &'static str, authority: &Authority, leaf: &Leaf) -> Self {
        Self { domain, id, chain: authority.issue(leaf).chain, bundle: pem(authority.root_der()) }
    }

    /// The words of the table. The default policy decides, a minute after the SVID began.
    fn outcome(&self) -> String {
        let domain = TrustDomain::parse(self.domain).unwrap();
        let bundle = parse_bundle(&domain, self.bundle.clone().into_bytes()).unwrap();
        let policy = ChainPolicy::default();
        let began = leaf_facts(&self.chain[0]).map_or(time(NOW), |facts| facts.not_before);
        let moments = Moments::live(began.plus(Seconds::new(60)));
        let verified =
            verify_chain(&self.chain, &domain, &bundle, &policy, moments, &mut WorkBudget::default());
        verified.map_or_else(refused, |proof| {
            assert_eq!(proof.spiffe_id().as_str(), self.id);
            "accepted".to_owned()
        })
    }
}

fn time(unix: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(unix).unwrap())
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_or_else` wants it")]
fn refused(refusal: Refusal) -> String {
    let Some(rule) = refusal.reason().rules().last() else { panic!("{refusal} has no rule") };
    format!("refused: `{}`, rule {rule}", refusal.reason())
}

macro_rules! spire {
    ($name:literal) => {
        Issued {
            domain: "example.org",
            id: WORKLOAD,
            chain: parse_pem_chain(include_str!(concat!("../fixtures/svids/", $name, "-chain.pem"))).unwrap(),
            bundle: include_str!(concat!("../fixtures/svids/", $name, "-root.pem")).to_owned(),
        }
    };
}

/// istiod's own authority, `NewSelfSignedIstioCAOptions`: the organisation is the trust domain, keyCertSign alone.
fn istiod(key: Key) -> Ca {
    Ca { key, spiffe_ids: Vec::new(), key_usages: vec![Usage::KeyCertSign], ..Ca::named("cluster.local") }
}

/// A workload certificate of `istio` and of cert-manager: no subject, so that the names are critical.
fn meshed(key: Key, from: u64, lifetime: u64) -> Leaf {
    Leaf {
        subject: "",
        uris: vec![MESHED],
        key,
        not_before: from,
        not_after: from + lifetime,
        key_usages: vec![Usage::DigitalSignature, Usage::KeyEncipherment],
        ..Leaf::default()
    }
}

/// An authority of cert-manager: a Certificate with `isCA` and the usages that it adds by default.
fn cert_manager() -> Authority {
    let key_usages = vec![Usage::DigitalSignature, Usage::KeyEncipherment, Usage::KeyCertSign];
    Authority::root(&Ca { spiffe_ids: Vec::new(), key_usages, ..Ca::named("trust.example") })
}

/// An intermediate for these purposes.
fn for_purposes(purposes: &[&[u8]], critical: bool) -> Issued {
    let list: Vec<u8> = purposes.iter().flat_map(|id| element(6, id)).collect();
    let extensions = vec![extension(&[2, 5, 29, 37], &element(0x30, &list), critical)];
    let below = Authority::root(&Ca::default()).intermediate(&Ca { extensions, ..Ca::named("below") });
    Issued::here("example.org", WORKLOAD, &below, &Leaf::default())
}

fn of_istio() -> Vec<(&'static str, Issued)> {
    let own = Authority::root(&istiod(Key::Rsa2048));
    let meshed_by = |authority: &Authority, key, lifetime| {
        // Istio dates back by two minutes and counts the lifetime from now.
        Issued::here("cluster.local", MESHED, authority, &meshed(key, NOW - 120, 120 + lifetime))
    };
    let root = Authority::root(&Ca { spiffe_ids: Vec::new(), ..Ca::named("Root CA") });
    let plugged_in = root.intermediate(&Ca { spiffe_ids: Vec::new(), ..Ca::named("Intermediate CA") });
    let mut with_root = meshed_by(&plugged_in, Key::P256, 24 * HOUR);
    with_root.chain.push(root.der().to_vec());
    let dns = vec![SanType::DnsName(
        "weather.demo.serviceaccount.identity.linkerd.cluster.local".try_into().unwrap(),
    )];
    let linkerd = Leaf { uris: Vec::new(), other_names: dns, ..meshed(Key::P256, NOW - 10, 24 * HOUR) };
    let csi = meshed(Key::P256, NOW, HOUR);
    let long = Leaf { extended_key_usages: Vec::new(), ..meshed(Key::P256, NOW, 90 * 24 * HOUR) };
    let longer_root = || {
        let key_usages = vec![Usage::KeyCertSign];
        Authority::root(&Ca {
            spiffe_ids: Vec::new(),
            key_usages,
            not_after: NOW + 365 * 24 * HOUR,
            ..Ca::named("ca")
        })
    };
    vec![
        ("Istio", meshed_by(&own, Key::Rsa2048, 24 * HOUR)),
        ("Istio with a plugged-in authority", with_root),
        ("Istio with certificates of a week", meshed_by(&longer_root(), Key::Rsa2048, 168 * HOUR)),
        ("csi-driver-spiffe", Issued::here("cluster.local", MESHED, &cert_manager(), &csi)),
        (
            "cert-manager, a Certificate with a SPIFFE ID",
            Issued::here("cluster.local", MESHED, &longer_root(), &long),
        ),
        ("Linkerd", Issued::here("cluster.local", MESHED, &own, &linkerd)),
    ]
}

fn of_spire() -> Vec<(&'static str, Issued)> {
    let other = element(0x30, &element(0xa0, &element(0x30, &element(0x86, b"other.org"))));
    let extensions = vec![extension(OID_NAME_CONSTRAINTS, &other, true)];
    let bound = Authority::root(&Ca { extensions, ..Ca::default() });
    let long = Leaf { not_after: NOW + 48 * HOUR, ..Leaf::default() };
    let root = Authority::root(&Ca { not_after: NOW + 100 * HOUR, ..Ca::default() });
    vec![
        ("SPIRE", spire!("spire")),
        ("SPIRE, upstream authority P-384", spire!("spire-p384")),
        ("SPIRE, upstream authority RSA-4096", spire!("spire-rsa-4096")),
        ("SPIRE, upstream authority with an intermediate", spire!("spire-upstream")),
        ("SPIRE, nested server below it", spire!("spire-nested")),
        ("SPIRE, upstream authority for the DNS names of `corp.example`", spire!("spire-dns-constrained")),
        ("SPIRE, the same, with a DNS name below it", spire!("spire-dns-permitted")),
        ("SPIRE, the same, with another DNS name", spire!("spire-dns-outside")),
        ("SPIRE, upstream authority for the URI host of the trust domain", spire!("spire-uri-constrained")),
        (
            "SPIRE below an authority for another URI host",
            Issued::here("example.org", WORKLOAD, &bound, &Leaf::default()),
        ),
        ("SPIRE with an SVID longer than a day", Issued::here("example.org", WORKLOAD, &root, &long)),
    ]
}

fn of_others() -> Vec<(&'static str, Issued)> {
    let nested = Authority::root(&Ca::default()).nested(5);
    let ed25519 =
        Authority::root(&Ca::default()).intermediate(&Ca { key: Key::Ed25519, ..Ca::named("ed25519") });
    vec![
        ("an authority for code signing", for_purposes(&[&[0x2b, 6, 1, 5, 5, 7, 3, 3]], true)),
        ("an authority for servers alone", for_purposes(&[&[0x2b, 6, 1, 5, 5, 7, 3, 1]], false)),
        ("an issuer with Ed25519 keys", Issued::here("example.org", WORKLOAD, &ed25519, &Leaf::default())),
        (
            "nested servers beyond five certificates",
            Issued::here("example.org", WORKLOAD, &nested, &Leaf::default()),
        ),
    ]
}

#[test]
fn each_issuers_svid_is_judged_as_the_table_says() {
    let text = include_str!("../../docs/svids.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| SVID of"));
    let told: BTreeMap<&str, &str> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [issuer, _, outcome] = cells.as_slice() else { panic!("{row}") };
            (*issuer, *outcome)
        })
        .collect();
    let found = [of_spire(), of_istio(), of_others()].into_iter().flatten();
    let found: BTreeMap<&str, String> = found.map(|(issuer, svid)| (issuer, svid.outcome())).collect();
    let found: BTreeMap<&str, &str> =
        found.iter().map(|(issuer, outcome)| (*issuer, outcome.as_str())).collect();
    assert_eq!(found, told);
    assert_eq!(told.len(), 21);
}

#[test]
fn the_chains_of_spire_are_as_long_as_the_table_says() {
    let lengths = [
        ("SPIRE", 1),
        ("SPIRE, upstream authority with an intermediate", 3),
        ("SPIRE, nested server below it", 4),
    ];
    let found = of_spire();
    for (issuer, length) in lengths {
        let (_, svid) = found.iter().find(|(name, _)| *name == issuer).unwrap();
        assert_eq!(svid.chain.len(), length, "{issuer}");
    }
}

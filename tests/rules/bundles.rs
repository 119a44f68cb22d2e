//! Trust bundles in every published format, whole and broken, and what a refreshed one may change.

use crate::pki::{Authority, Ca, Key, Leaf, NOW, domain, pem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::bundle::{
    Bundle, BundleFreshness, BundleMemory, BundleSet, FallbackAfter, accept_bundle, parse_bundle,
};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::{Seconds, Timestamp};
use rcgen::{IsCa, KeyUsagePurpose};
use serde_json::{Value, json};

fn parse(text: &str) -> Result<Bundle, Reason> {
    parse_bundle(&domain(), text.as_bytes().to_vec()).map_err(|refusal| refusal.reason())
}

fn key(use_: Option<&str>, kty: &str, certificates: &[&[u8]]) -> Value {
    let x5c: Vec<_> = certificates.iter().map(|der| STANDARD.encode(der)).collect();
    let mut key = json!({"kty": kty, "x5c": x5c});
    if let Some(use_) = use_ {
        key["use"] = json!(use_);
    }
    key
}

fn bundle_of_keys(keys: &[Value]) -> Result<Bundle, Reason> {
    parse(&json!({"keys": keys}).to_string())
}

fn places(bundle: &Bundle) -> Vec<&str> {
    bundle.skipped().iter().map(|entry| entry.location.as_str()).collect()
}

#[test]
fn all_formats_give_the_same_authorities() {
    let root = Authority::root(&Ca::default());
    let jwt = json!({"use": "jwt-svid", "kty": "EC", "kid": "k", "crv": "P-256", "x": "AA", "y": "AA"});
    let spiffe = json!({"keys": [jwt, key(Some("x509-svid"), "EC", &[root.der()])],
        "spiffe_sequence": 12, "spiffe_refresh_hint": 600});
    let jwks = json!({"keys": [{"kty": "EC", "kid": "k"}, key(None, "EC", &[root.der()])]});
    let map = json!({"trust_domains": {"example.org": spiffe.clone(), "other.org": {"keys": []}}});
    let parsed: Vec<_> = [spiffe.to_string(), jwks.to_string(), pem(root.der()), map.to_string()]
        .iter()
        .map(|text| parse(text).unwrap())
        .collect();
    for bundle in &parsed {
        assert_eq!(bundle.fingerprint(), root.bundle().fingerprint());
        assert_eq!(bundle.anchors()[0].der(), root.der());
        assert_eq!(bundle.trust_domain(), &domain());
        assert!(bundle.skipped().is_empty());
    }
    let numbering: Vec<_> =
        parsed.iter().map(|bundle| (bundle.sequence(), bundle.refresh_hint().map(Seconds::get))).collect();
    // The hint of a bundle within a map is not used.
    assert_eq!(numbering, [(Some(12), Some(600)), (None, None), (None, None), (Some(12), None)]);
}

#[test]
fn the_fingerprint_is_that_of_the_set_alone() {
    let (one, two) = (Authority::root(&Ca::default()), Authority::root(&Ca::default()));
    let forth = parse(&[pem(one.der()), pem(two.der())].concat()).unwrap();
    let back = parse(&[pem(two.der()), pem(one.der()), pem(two.der())].concat()).unwrap();
    assert_eq!(forth.fingerprint(), back.fingerprint());
    assert_eq!(back.anchors().len(), 2);
    assert_ne!(forth.fingerprint(), one.bundle().fingerprint());
}

#[test]
fn rule_43_keys_for_other_uses_are_passed_over_in_silence() {
    let root = Authority::root(&Ca::default());
    let other = |use_| key(Some(use_), "EC", &[root.der()]);
    let keys = [other("jwt-svid"), other("wit-svid"), other("X509-SVID"), other("anything")];
    assert_eq!(bundle_of_keys(&keys), Err(Reason::BundleEmpty));
    let with_one = [&keys[..], &[key(Some("x509-svid"), "EC", &[root.der()])]].concat();
    let bundle = bundle_of_keys(&with_one).unwrap();
    assert_eq!((bundle.anchors().len(), bundle.skipped().len()), (1, 0));
}

#[test]
fn rule_43_only_the_first_certificate_of_a_key_is_an_authority() {
    let (one, two) = (Authority::root(&Ca::default()), Authority::root(&Ca::default()));
    let bundle = bundle_of_keys(&[key(Some("x509-svid"), "EC", &[one.der(), two.der()])]).unwrap();
    assert_eq!(bundle.fingerprint(), one.bundle().fingerprint());
    assert_eq!(places(&bundle), ["keys[0].x5c[1]"]);
}

#[test]
fn rule_43_unusable_entries_are_listed_with_place_and_reason() {
    let root = Authority::root(&Ca::default());
    let good = key(Some("x509-svid"), "EC", &[root.der()]);
    let leaf = root.issue(&Leaf::default()).chain.remove(0);
    let no_sign = Ca { key_usages: vec![KeyUsagePurpose::CrlSign], ..Ca::default() };
    let foreign = Ca { spiffe_ids: vec!["spiffe://other.org"], ..Ca::default() };
    let not_ca = Ca { authority: IsCa::ExplicitNoCa, ..Ca::default() };
    let ed25519 = Ca { key: Key::Ed25519, ..Ca::default() };
    let rsa = Authority::root(&Ca { key: Key::Rsa2048, ..Ca::default() });
    let x509 = |ca: &Ca| key(Some("x509-svid"), "EC", &[Authority::root(ca).der()]);
    for (name, bad, place, reason) in [
        ("a leaf", key(Some("x509-svid"), "EC", &[&leaf]), "keys[1].x5c[0]", "IssuerNotCa"),
        ("no CA", x509(&not_ca), "keys[1].x5c[0]", "IssuerNotCa"),
        ("no keyCertSign", x509(&no_sign), "keys[1].x5c[0]", "IssuerKeyUsage"),
        ("another domain", x509(&foreign), "keys[1].x5c[0]", "IssuerSpiffeId"),
        ("Ed25519", x509(&ed25519), "keys[1].x5c[0]", "Ed25519"),
        ("garbage", key(Some("x509-svid"), "EC", &[&[1, 2, 3]]), "keys[1].x5c[0]", "CertificateMalformed"),
        ("kty unknown", key(Some("x509-svid"), "oct", &[root.der()]), "keys[1]", "kty"),
        ("kty of another key", key(Some("x509-svid"), "EC", &[rsa.der()]), "keys[1].x5c[0]", "kty"),
        ("kty absent", json!({"use": "x509-svid", "x5c": [STANDARD.encode(root.der())]}), "keys[1]", "kty"),
        ("x5c absent", json!({"use": "x509-svid", "kty": "EC"}), "keys[1]", "x5c"),
        ("x5c empty", json!({"use": "x509-svid", "kty": "EC", "x5c": []}), "keys[1]", "x5c"),
        ("x5c no list", json!({"use": "x509-svid", "kty": "EC", "x5c": "AA=="}), "keys[1]", "x5c"),
        ("x5c no text", json!({"use": "x509-svid", "kty": "EC", "x5c": [1]}), "keys[1]", "x5c"),
        ("x5c no base64", json!({"use": "x509-svid", "kty": "EC", "x5c": ["A"]}), "keys[1].x5c[0]", "base64"),
        ("use no text", json!({"use": 1, "kty": "EC"}), "keys[1]", "use"),
        ("no object", json!("key"), "keys[1]", "object"),
    ] {
        let bundle = bundle_of_keys(&[good.clone(), bad.clone()]).expect(name);
        assert_eq!(bundle.fingerprint(), root.bundle().fingerprint(), "{name}");
        assert_eq!(places(&bundle), [place], "{name}");
        assert!(bundle.skipped()[0].why.contains(reason), "{name}: {}", bundle.skipped()[0].why);
        assert_eq!(bundle_of_keys(&[bad]), Err(Reason::BundleEmpty), "{name} alone");
    }
}

#[test]
fn rule_43_pem_blocks_other_than_certificates_are_passed_over() {
    let root = Authority::root(&Ca::default());
    let text = format!("{}{}", root.key_pem(), pem(root.der()));
    assert_eq!(parse(&text).unwrap().fingerprint(), root.bundle().fingerprint());
    assert_eq!(parse(&root.key_pem()), Err(Reason::BundleMalformed));
    let leaf = root.issue(&Leaf::default()).chain.remove(0);
    let bundle = parse(&[pem(&leaf), pem(root.der())].concat()).unwrap();
    assert_eq!(places(&bundle), ["certificate 0"]);
}

#[test]
fn rule_43_documents_that_readers_may_read_differently_are_malformed() {
    let root = Authority::root(&Ca::default());
    let keys = json!([key(Some("x509-svid"), "EC", &[root.der()])]);
    let twice = format!(r#"{{"keys":{keys},"keys":{keys}}}"#);
    let map_twice =
        format!(r#"{{"trust_domains":{{"example.org":{{"keys":{keys}}},"example.org":{{"keys":{keys}}}}}}}"#);
    let both = json!({"keys": keys.clone(), "trust_domains": {"example.org": {"keys": keys.clone()}}});
    for text in [
        String::new(),
        " ".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{".to_owned(),
        "not a bundle".to_owned(),
        json!({"keys": {}}).to_string(),
        json!({"keys": null}).to_string(),
        json!({"keys": keys.clone(), "spiffe_sequence": "12"}).to_string(),
        json!({"keys": keys.clone(), "spiffe_sequence": -1}).to_string(),
        json!({"keys": keys.clone(), "spiffe_sequence": 1.5}).to_string(),
        json!({"keys": keys.clone(), "spiffe_refresh_hint": "soon"}).to_string(),
        json!({"trust_domains": []}).to_string(),
        json!({"trust_domains": {"example.org": []}}).to_string(),
        json!({"trust_domains": {"example.org": {"keys": keys.clone()}, "Other.org": {}}}).to_string(),
        json!({"trust_domains": {"example.org": {"keys": keys.clone()}, "": {}}}).to_string(),
        twice,
        map_twice,
        both.to_string(),
        format!("{}-----BEGIN CERTIFICATE-----\nAA", pem(root.der())),
    ] {
        assert_eq!(parse(&text), Err(Reason::BundleMalformed), "{text}");
    }
    assert_eq!(parse_bundle(&domain(), vec![0xff; 10]).unwrap_err().reason(), Reason::BundleMalformed);
    assert_eq!(parse(&" ".repeat(1024 * 1024 + 1)), Err(Reason::BundleMalformed));
}

#[test]
fn rule_43_the_domain_comes_from_the_caller_never_from_the_content() {
    let root = Authority::root(&Ca { spiffe_ids: Vec::new(), ..Ca::default() });
    let single = json!({"keys": [key(Some("x509-svid"), "EC", &[root.der()])]});
    let named = TrustDomain::parse("keys").unwrap();
    assert_eq!(parse_bundle(&named, single.to_string().into_bytes()).unwrap().trust_domain(), &named);
    let map = json!({"trust_domains": {"other.org": single}}).to_string();
    assert_eq!(parse(&map), Err(Reason::TrustDomainUnknown));
}

#[test]
fn rule_43_the_number_of_authorities_is_bounded() {
    let root = Authority::root(&Ca::default());
    let many = pem(root.der()).repeat(257);
    assert_eq!(parse(&many), Err(Reason::BundleMalformed));
    assert_eq!(parse(&pem(root.der()).repeat(256)).unwrap().anchors().len(), 1);
}

#[test]
fn rule_44_an_empty_bundle_revokes_and_a_broken_one_does_not() {
    let empty = parse_bundle(&domain(), br#"{"keys":[]}"#.to_vec()).unwrap_err();
    assert_eq!(empty.reason(), Reason::BundleEmpty);
    assert_eq!(FallbackAfter::refusal(&empty), FallbackAfter::Revoked);
    let unusable = parse_bundle(&domain(), br#"{"keys":[{"use":"x509-svid"}]}"#.to_vec()).unwrap_err();
    assert_eq!(FallbackAfter::refusal(&unusable), FallbackAfter::Revoked);
    let broken = parse_bundle(&domain(), b"{".to_vec()).unwrap_err();
    assert_eq!(FallbackAfter::refusal(&broken), FallbackAfter::KeepLastGood);
    let rollback = Refusal::new(Reason::BundleRollback, "");
    assert_eq!(FallbackAfter::refusal(&rollback), FallbackAfter::KeepLastGood);
}

#[test]
fn rule_44_a_bundle_of_another_domain_revokes_and_says_whose_it_is() {
    let root = Authority::root(&Ca::default());
    let other = TrustDomain::parse("other.org").unwrap();
    let refused = |text: String| parse_bundle(&other, text.into_bytes()).unwrap_err();
    for text in [pem(root.der()), json!({"keys": [key(Some("x509-svid"), "EC", &[root.der()])]}).to_string()]
    {
        let refused = refused(text);
        assert_eq!(FallbackAfter::refusal(&refused), FallbackAfter::Revoked);
        let says = "the bundle of other.org holds no usable X.509 authority, because those in it are of the trust domain \
                    example.org";
        assert!(refused.message().starts_with(says), "{refused}");
    }
    for says in ["of another trust domain", "--trust-domain", "--spire-trust-domain"] {
        assert!(Reason::BundleEmpty.fix().contains(says), "{}", Reason::BundleEmpty.fix());
    }
    // What is left out for another cause is not the other domain's.
    let own = Authority::root(&Ca { key: Key::Ed25519, spiffe_ids: Vec::new(), ..Ca::default() });
    let mixed = refused([pem(root.der()), pem(own.der())].concat());
    let says = "holds no usable X.509 authority; some of those in it are of the trust domain example.org; ";
    assert!(mixed.message().contains(says) && !mixed.message().contains("because"), "{mixed}");
    assert!(mixed.message().contains("Ed25519"), "{mixed}");
    // What is no authority at all is of no domain.
    let leaf = root.issue(&Leaf::default()).chain.remove(0);
    for text in [r#"{"keys":[]}"#.to_owned(), pem(&leaf)] {
        assert!(!refused(text).message().contains("because"));
    }
}

#[test]
fn a_domain_without_a_bundle_is_told_with_those_that_have_one() {
    for (count, says) in [
        (0, "nor for any other trust domain"),
        (2, "only for d0.example, d1.example"),
        (7, "only for d0.example, d1.example, d2.example, d3.example, d4.example and 2 more"),
    ] {
        let mut set = BundleSet::new();
        for number in 0..count {
            let name = TrustDomain::parse(&format!("d{number}.example")).unwrap();
            let root = Authority::root(&Ca { spiffe_ids: Vec::new(), ..Ca::default() });
            set.insert(parse_bundle(&name, pem(root.der()).into_bytes()).unwrap()).unwrap();
        }
        let refusal = set.get(&domain()).unwrap_err();
        assert_eq!(refusal.message(), format!("no bundle is configured for example.org, {says}"));
    }
}

fn numbered(root: &Authority, sequence: Option<u64>, hint: Option<u64>) -> Bundle {
    let mut document = json!({"keys": [key(Some("x509-svid"), "EC", &[root.der()])]});
    if let Some(sequence) = sequence {
        document["spiffe_sequence"] = json!(sequence);
    }
    if let Some(hint) = hint {
        document["spiffe_refresh_hint"] = json!(hint);
    }
    parse(&document.to_string()).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_unix(i64::try_from(NOW).unwrap())
}

fn accept(previous: Option<&BundleMemory>, bundle: Bundle) -> Result<(BundleMemory, bool), Reason> {
    accept_bundle(previous, bundle, now(), false)
        .map(|accepted| (accepted.memory, accepted.authorities_changed))
        .map_err(|refusal| refusal.reason())
}

#[test]
fn rule_45_a_lower_or_missing_sequence_does_not_follow_a_higher_one() {
    let root = Authority::root(&Ca::default());
    let (memory, changed) = accept(None, numbered(&root, Some(7), None)).unwrap();
    assert!(changed);
    for (sequence, expected) in [
        (Some(6), Err(Reason::BundleRollback)),
        (None, Err(Reason::BundleRollback)),
        (Some(7), Ok(Some(7))),
        (Some(8), Ok(Some(8))),
    ] {
        let next = accept(Some(&memory), numbered(&root, sequence, None));
        assert_eq!(next.map(|(memory, _)| memory.sequence), expected, "{sequence:?}");
    }
    let reset = accept_bundle(Some(&memory), numbered(&root, Some(1), None), now(), true).unwrap();
    assert_eq!(reset.memory.sequence, Some(1));
    let unnumbered = accept(None, numbered(&root, None, None)).unwrap().0;
    assert_eq!(accept(Some(&unnumbered), numbered(&root, Some(1), None)).unwrap().0.sequence, Some(1));
}

#[test]
fn rule_45_the_bundle_that_was_good_before_a_revocation_does_not_come_back() {
    let root = Authority::root(&Ca::default());
    let revoked = accept(None, numbered(&root, Some(7), None)).unwrap().0.after_revocation();
    assert_eq!(accept(Some(&revoked), numbered(&root, Some(7), None)), Err(Reason::BundleRollback));
    assert!(accept(Some(&revoked), numbered(&root, Some(8), None)).is_ok());
}

#[test]
fn rule_45_only_another_set_of_authorities_is_a_change() {
    let (one, two) = (Authority::root(&Ca::default()), Authority::root(&Ca::default()));
    let memory = accept(None, numbered(&one, Some(7), None)).unwrap().0;
    assert_eq!(
        accept(Some(&memory), numbered(&one, Some(9), Some(90))).map(|(_, changed)| changed),
        Ok(false)
    );
    assert_eq!(accept(Some(&memory), numbered(&two, Some(9), None)).map(|(_, changed)| changed), Ok(true));
}

#[test]
fn rule_45_the_refresh_hint_is_clamped() {
    let root = Authority::root(&Ca::default());
    for (hint, expected) in
        [(None, 300), (Some(0), 60), (Some(59), 60), (Some(600), 600), (Some(86_400), 3600)]
    {
        let memory = accept(None, numbered(&root, Some(1), hint)).unwrap().0;
        assert_eq!(memory.refresh_every.get(), expected, "{hint:?}");
    }
    let endless = numbered(&root, Some(1), Some(9_007_199_254_740_991));
    assert_eq!(accept(None, endless).unwrap().0.refresh_every.get(), 3600);
}

#[test]
fn rule_45_a_frozen_bundle_ends_at_the_limit() {
    let root = Authority::root(&Ca::default());
    let memory = accept(None, numbered(&root, Some(1), Some(600))).unwrap().0;
    let limit = Seconds::new(86_400);
    let after = |seconds| memory.freshness(now().plus(Seconds::new(seconds)), limit);
    assert_eq!(after(599), Ok(BundleFreshness::Fresh));
    assert_eq!(after(600), Ok(BundleFreshness::Late { missed: 1 }));
    assert_eq!(after(1800), Ok(BundleFreshness::Late { missed: 3 }));
    assert!(after(86_400).is_ok());
    assert_eq!(after(86_401).unwrap_err().reason(), Reason::BundleStale);
    assert_eq!(memory.freshness(now().minus(Seconds::new(9999)), limit), Ok(BundleFreshness::Fresh));
}

#[test]
fn rule_42_each_domain_has_its_own_bundle_or_none() {
    let root = Authority::root(&Ca::default());
    let mut set = BundleSet::new();
    assert_eq!(set.get(&domain()).unwrap_err().reason(), Reason::TrustDomainUnknown);
    assert_eq!(set.insert(root.bundle()), Ok(None));
    assert_eq!(set.get(&domain()), Ok(&root.bundle()));
    let other = TrustDomain::parse("other.org").unwrap();
    assert_eq!(set.get(&other).unwrap_err().reason(), Reason::TrustDomainUnknown);
    assert_eq!(set.insert(root.bundle()), Ok(Some(root.bundle())));
    assert_eq!(set.iter().count(), 1);
    assert!(set.remove(&domain()).is_some());
    assert!(set.get(&domain()).is_err());
}

//! What an authority may be for and what it may name: purposes (rule 36) and name constraints (rule 37).

use crate::pki::{Authority, Ca, Leaf, NOW, OID_NAME_CONSTRAINTS, domain, element, extension, pem};
use countersign_core::budget::WorkBudget;
use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::refusal::Reason;
use countersign_core::time::Timestamp;
use countersign_core::x509::{ChainPolicy, Moments, verify_chain};
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose as Purpose, SanType};

const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const DIRECTORY: u8 = 0xa4;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

fn now() -> Moments {
    Moments::live(Timestamp::from_unix(i64::try_from(NOW).unwrap()))
}

fn verify(chain: &[Vec<u8>], bundle: &Bundle) -> Result<(), (Reason, String)> {
    verify_chain(chain, &domain(), bundle, &ChainPolicy::default(), now(), &mut WorkBudget::default())
        .map(|_| ())
        .map_err(|refusal| (refusal.reason(), refusal.message().to_owned()))
}

/// The outcome for a leaf below an intermediate and the one for a leaf below an authority in the bundle, which must agree.
fn verify_below(ca: impl Fn() -> Ca, leaf: &Leaf) -> Option<Reason> {
    let root = Authority::root(&Ca::default());
    let intermediate = root.intermediate(&ca());
    let below = verify(&intermediate.issue(leaf).chain, &root.bundle()).err().map(|(reason, _)| reason);
    let anchor = Authority::root(&ca());
    let directly = verify(&anchor.issue(leaf).chain, &anchor.bundle()).err().map(|(reason, _)| reason);
    assert_eq!(below, directly);
    below
}

#[test]
fn rule_36_the_purposes_of_an_issuer_hold_those_of_an_svid_or_any() {
    let root = Authority::root(&Ca::default());
    let outcome = |purposes: &[Purpose], critical: bool| {
        let ca = Ca { extensions: vec![purposes_extension(purposes, critical)], ..Ca::named("below") };
        verify(&root.intermediate(&ca).issue(&Leaf::default()).chain, &root.bundle())
            .map_err(|(reason, _)| reason)
    };
    for critical in [true, false] {
        for good in [
            &[Purpose::ServerAuth, Purpose::ClientAuth][..],
            &[Purpose::Any],
            &[Purpose::CodeSigning, Purpose::Any],
            &[Purpose::ClientAuth, Purpose::ServerAuth, Purpose::CodeSigning],
        ] {
            assert_eq!(outcome(good, critical), Ok(()), "{good:?}");
        }
        for bad in [
            &[Purpose::CodeSigning][..],
            &[Purpose::EmailProtection, Purpose::OcspSigning],
            &[Purpose::ServerAuth],
            &[Purpose::ClientAuth],
        ] {
            assert_eq!(outcome(bad, critical), Err(Reason::IssuerExtendedKeyUsage), "{bad:?}");
        }
    }
}

#[test]
fn rule_36_an_authority_for_other_purposes_is_passed_over_in_a_bundle() {
    let extensions = vec![purposes_extension(&[Purpose::CodeSigning], true)];
    let anchor = Authority::root(&Ca { extensions, ..Ca::default() });
    let good = Authority::root(&Ca::default());
    let text = pem(anchor.der()) + &pem(good.der());
    let bundle = parse_bundle(&domain(), text.into_bytes()).unwrap();
    assert_eq!(bundle.anchors().len(), 1);
    let [skipped] = bundle.skipped() else { panic!("{:?}", bundle.skipped()) };
    assert!(skipped.why.contains("extended key usage lacks serverAuth"), "{}", skipped.why);
}

fn purposes_extension(purposes: &[Purpose], critical: bool) -> CustomExtension {
    let id = |purpose: &Purpose| match purpose {
        Purpose::Any => element(6, &[0x55, 0x1d, 0x25, 0x00]),
        Purpose::ServerAuth => element(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        Purpose::ClientAuth => element(6, &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
        Purpose::CodeSigning => element(6, &[0x2b, 6, 1, 5, 5, 7, 3, 3]),
        Purpose::EmailProtection => element(6, &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
        Purpose::OcspSigning => element(6, &[0x2b, 6, 1, 5, 5, 7, 3, 9]),
        other => panic!("{other:?}"),
    };
    let list: Vec<u8> = purposes.iter().flat_map(id).collect();
    extension(&[2, 5, 29, 37], &element(0x30, &list), critical)
}

/// An extension with one list of these subtrees.
fn constraints(list: u8, subtrees: &[(u8, &[u8])]) -> Vec<u8> {
    let subtrees: Vec<u8> =
        subtrees.iter().flat_map(|(tag, base)| element(0x30, &element(*tag, base))).collect();
    element(0x30, &element(list, &subtrees))
}

fn constrained(value: &[u8], critical: bool) -> Ca {
    Ca { extensions: vec![extension(OID_NAME_CONSTRAINTS, value, critical)], ..Ca::named("constrained") }
}

#[test]
fn rule_37_uri_constraints_are_compared_with_the_trust_domain() {
    for (list, base, expected) in [
        (PERMITTED, "example.org", true),
        (PERMITTED, "EXAMPLE.org", true),
        (PERMITTED, ".org", true),
        (PERMITTED, "", true),
        (PERMITTED, ".example.org", false),
        (PERMITTED, "xample.org", false),
        (PERMITTED, "org", false),
        (PERMITTED, "other.org", false),
        (PERMITTED, "a.example.org", false),
        (EXCLUDED, "example.org", false),
        (EXCLUDED, ".ORG", false),
        (EXCLUDED, "", false),
        (EXCLUDED, "org", true),
        (EXCLUDED, ".example.org", true),
        (EXCLUDED, "other.org", true),
        // What is not a host name cannot be compared, so it refuses on either side.
        (PERMITTED, "spiffe://example.org", false),
        (EXCLUDED, "spiffe://other.org", false),
        (EXCLUDED, "*.other.org", false),
        (EXCLUDED, "192.0.2.1", false),
        (EXCLUDED, "other.org.", false),
    ] {
        for critical in [true, false] {
            let value = constraints(list, &[(URI, base.as_bytes())]);
            let expected = if expected { None } else { Some(Reason::NameConstraints) };
            let found = verify_below(|| constrained(&value, critical), &Leaf::default());
            assert_eq!(found, expected, "{list:x} {base}");
        }
    }
}

#[test]
fn rule_37_one_of_several_permitted_subtrees_is_enough_and_one_excluded_too_much() {
    let of = |list, bases: &[&str]| {
        let subtrees: Vec<_> = bases.iter().map(|base| (URI, base.as_bytes())).collect();
        let value = constraints(list, &subtrees);
        verify_below(|| constrained(&value, true), &Leaf::default())
    };
    assert_eq!(of(PERMITTED, &["other.org", "example.org"]), None);
    assert_eq!(of(EXCLUDED, &["other.org", "example.org"]), Some(Reason::NameConstraints));
    let both = [
        element(0xa0, &element(0x30, &element(URI, b".org"))),
        element(0xa1, &element(0x30, &element(URI, b"example.org"))),
    ];
    let value = element(0x30, &both.concat());
    assert_eq!(verify_below(|| constrained(&value, true), &Leaf::default()), Some(Reason::NameConstraints));
}

#[test]
fn rule_37_constraints_on_names_that_an_svid_lacks_refuse_nothing() {
    for list in [PERMITTED, EXCLUDED] {
        for (tag, base) in [
            (DNS, &b"corp.example"[..]),
            (EMAIL, b"corp.example"),
            (IP, &[0; 8]),
            (IP, &[0; 32]),
            (0x88, &[0x2a, 3]),
        ] {
            let value = constraints(list, &[(tag, base)]);
            let found = verify_below(|| constrained(&value, true), &Leaf::default());
            assert_eq!(found, None, "{list:x} {tag:x}");
        }
    }
}

#[test]
fn rule_37_dns_names_are_compared_label_by_label() {
    for (list, base, name, expected) in [
        (PERMITTED, "corp.example", "corp.example", true),
        (PERMITTED, "corp.example", "a.b.CORP.example", true),
        (PERMITTED, "corp.example", "*.corp.example", true),
        (PERMITTED, ".corp.example", "*.corp.example", true),
        (PERMITTED, ".corp.example", "corp.example", false),
        (PERMITTED, "corp.example", "notcorp.example", false),
        (PERMITTED, "a.corp.example", "*.corp.example", false),
        (PERMITTED, "corp.example", "corp.example.evil", false),
        (PERMITTED, "corp.example", "corp.example.", false),
        (PERMITTED, "corp.example", "a*.corp.example", false),
        (EXCLUDED, "corp.example", "corp.example", false),
        (EXCLUDED, "corp.example", "a.corp.example", false),
        (EXCLUDED, "a.corp.example", "*.corp.example", false),
        (EXCLUDED, "a.corp.example", "b.corp.example", true),
        (EXCLUDED, "corp.example", "other.example", true),
        (EXCLUDED, "corp.example", "a*.other.example", false),
    ] {
        let value = constraints(list, &[(DNS, base.as_bytes())]);
        let other_names = vec![SanType::DnsName(name.try_into().unwrap())];
        let leaf = Leaf { other_names, ..Leaf::default() };
        let expected = if expected { None } else { Some(Reason::NameConstraints) };
        assert_eq!(verify_below(|| constrained(&value, true), &leaf), expected, "{list:x} {base} {name}");
    }
}

#[test]
fn rule_37_names_of_other_kinds_are_refused_where_a_constraint_speaks_of_them() {
    let subject = element(0x30, &[]);
    for (tag, base, name) in [
        (EMAIL, &b"example.org"[..], SanType::Rfc822Name("a@example.org".try_into().unwrap())),
        (IP, &[192, 0, 2, 0, 255, 255, 255, 0], SanType::IpAddress("192.0.2.1".parse().unwrap())),
        (DIRECTORY, &subject, SanType::DnsName("a.example".try_into().unwrap())),
    ] {
        for list in [PERMITTED, EXCLUDED] {
            let value = constraints(list, &[(tag, base)]);
            let leaf = Leaf { other_names: vec![name.clone()], ..Leaf::default() };
            let found = verify_below(|| constrained(&value, true), &leaf);
            assert_eq!(found, Some(Reason::NameConstraints), "{list:x} {tag:x}");
        }
    }
}

#[test]
fn rule_37_an_intermediate_is_held_to_the_constraints_above_it() {
    let value = constraints(PERMITTED, &[(URI, b"other.org")]);
    let root = Authority::root(&Ca::default());
    let constrained = root.intermediate(&constrained(&value, true));
    let below = constrained.intermediate(&Ca::named("below"));
    let (reason, message) = verify(&below.issue(&Leaf::default()).chain, &root.bundle()).unwrap_err();
    assert_eq!(reason, Reason::NameConstraints);
    assert_eq!(
        message,
        "by the name constraints of certificate 2 of the chain, certificate 0 has the URI \
         \"spiffe://example.org/ns/a/sa/b\", which is not among the permitted ones"
    );
}

#[test]
fn rule_37_another_authority_of_the_same_name_without_constraints_still_counts() {
    let free = Authority::root(&Ca::named("shared"));
    let value = constraints(PERMITTED, &[(URI, b"other.org")]);
    let extensions = vec![extension(OID_NAME_CONSTRAINTS, &value, true)];
    let bound = Authority::root(&Ca { extensions, ..Ca::named("shared") });
    let bundle = crate::pki::bundle_of(&[bound.der(), free.der()]);
    assert_eq!(verify(&free.issue(&Leaf::default()).chain, &bundle), Ok(()));
    let refused = verify(&bound.issue(&Leaf::default()).chain, &bundle);
    assert_eq!(refused.map_err(|(reason, _)| reason), Err(Reason::NameConstraints));
}

#[test]
fn rule_37_constraints_that_are_not_of_the_profile_are_malformed() {
    let base = element(URI, b"example.org");
    let subtree = |parts: &[&[u8]]| element(0x30, &element(0xa0, &element(0x30, &parts.concat())));
    for value in [
        element(0x30, &[]),
        element(0x30, &element(0xa0, &[])),
        subtree(&[&base, &element(0x80, &[1])]),
        subtree(&[&base, &element(0x81, &[1])]),
        subtree(&[&base, &base]),
        constraints(PERMITTED, &[(URI, &b"example.org"[..]); 65]),
    ] {
        let root = Authority::root(&Ca::default());
        let chain = root.intermediate(&constrained(&value, true)).issue(&Leaf::default()).chain;
        let (reason, message) = verify(&chain, &root.bundle()).unwrap_err();
        assert_eq!(reason, Reason::CertificateMalformed, "{message}");
    }
    let most = constraints(PERMITTED, &[(URI, &b"example.org"[..]); 64]);
    assert_eq!(verify_below(|| constrained(&most, true), &Leaf::default()), None);
}

#[test]
fn rule_37_the_number_of_compared_names_is_bounded() {
    let value = constraints(EXCLUDED, &[(DNS, b"other.example")]);
    let leaf = |names: usize| {
        let name = || SanType::DnsName("a.example".try_into().unwrap());
        Leaf { other_names: (0..names).map(|_| name()).collect(), ..Leaf::default() }
    };
    // With the SPIFFE ID and the subject the limit is 128.
    assert_eq!(verify_below(|| constrained(&value, true), &leaf(126)), None);
    assert_eq!(verify_below(|| constrained(&value, true), &leaf(127)), Some(Reason::NameConstraints));
}

//! Valid chains, twisted: whatever `verify_chain` accepts, a second reading of the rules with other libraries
//! accepts too, with the same identity; and what nobody twisted is accepted.
#![no_main]

use countersign_core::budget::WorkBudget;
use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::jws::PublicKey;
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::Timestamp;
use countersign_core::x509::{ChainPolicy, Moments, verify_chain};
use countersign_fuzz::authority::{DOMAIN, FOREIGN, INTERMEDIATE, LEAF, NOW, ROOT, WORKLOAD};
use countersign_fuzz::certs::{Spec, Twist};
use countersign_fuzz::rules::{Terms, judge};
use data_encoding::BASE64_MIME;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use std::sync::LazyLock;

/// A second anchor of the same name.
static FOREIGN_ROOT: LazyLock<Vec<u8>> =
    LazyLock::new(|| Spec::authority("root", "root", FOREIGN, FOREIGN).build().expect("a root"));

#[derive(Arbitrary, Debug)]
struct Case {
    depth: u8,
    /// Which certificate, counted from the leaf to the root, is twisted how.
    twists: Vec<(u8, Twist)>,
    root_follows: bool,
    moves: Vec<Move>,
    minutes: i16,
}

#[derive(Arbitrary, Debug)]
enum Move {
    Swap(u8, u8),
    Drop(u8),
    Repeat(u8),
    /// Changes one byte of one certificate.
    Byte(u8, u16, u8),
}

fuzz_target!(|case: Case| {
    let depth = usize::from(case.depth % 4);
    let Some(mut certificates) = build(depth, &case.twists) else { return };
    let Some(root) = certificates.pop() else { return };
    let mut chain = certificates;
    if case.root_follows {
        chain.push(root.clone());
    }
    case.moves.iter().take(4).for_each(|change| change.apply(&mut chain));

    let anchors = vec![FOREIGN_ROOT.clone(), root];
    let Some(bundle) = bundle(&anchors) else { return };
    let now = NOW + i64::from(case.minutes);
    check(&chain, &anchors, &bundle, now);
    if case.twists.is_empty() && case.moves.is_empty() && (0..60).contains(&case.minutes) {
        assert!(accepts(&chain, &bundle, now).is_some(), "a valid chain of {depth} intermediates");
    }
});

/// Leaf, intermediates and root, as twisted.
fn build(depth: usize, twists: &[(u8, Twist)]) -> Option<Vec<Vec<u8>>> {
    let names = ["root", "intermediate 1", "intermediate 2", "intermediate 3"];
    let keys = [ROOT, INTERMEDIATE, INTERMEDIATE + 1, INTERMEDIATE + 2];
    let mut specs = vec![Spec::leaf(WORKLOAD, names[depth], LEAF, keys[depth])];
    for level in (0..=depth).rev() {
        let above = level.saturating_sub(1);
        specs.push(Spec::authority(names[level], names[above], keys[level], keys[above]));
    }
    for (which, twist) in twists.iter().take(6) {
        let count = specs.len();
        specs[usize::from(*which) % count].twist(twist);
    }
    specs.iter().map(Spec::build).collect()
}

impl Move {
    fn apply(&self, chain: &mut Vec<Vec<u8>>) {
        let count = chain.len();
        if count == 0 {
            return;
        }
        let place = |choice: &u8| usize::from(*choice) % count;
        match self {
            Self::Swap(one, two) => chain.swap(place(one), place(two)),
            Self::Drop(which) => drop(chain.remove(place(which))),
            Self::Repeat(which) => chain.push(chain[place(which)].clone()),
            Self::Byte(which, at, byte) => {
                let der = &mut chain[place(which)];
                let at = usize::from(*at) % der.len();
                der[at] = *byte;
            }
        }
    }
}

fn domain() -> TrustDomain {
    TrustDomain::parse(DOMAIN).expect("a trust domain")
}

fn bundle(anchors: &[Vec<u8>]) -> Option<Bundle> {
    let pem = |der: &Vec<u8>| {
        format!(
            "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
            BASE64_MIME.encode(der).replace('\r', "")
        )
    };
    parse_bundle(&domain(), anchors.iter().map(pem).collect::<String>().into_bytes()).ok()
}

fn accepts(chain: &[Vec<u8>], bundle: &Bundle, now: i64) -> Option<(String, PublicKey)> {
    let moments = Moments::live(Timestamp::from_unix(now));
    let policy = ChainPolicy::default();
    let verified =
        verify_chain(chain, &domain(), bundle, &policy, moments, &mut WorkBudget::default()).ok()?;
    Some((verified.spiffe_id().to_string(), verified.leaf_key().clone()))
}

fn check(chain: &[Vec<u8>], anchors: &[Vec<u8>], bundle: &Bundle, now: i64) {
    let Some((id, key)) = accepts(chain, bundle, now) else { return };
    let terms = Terms { now, skew: 60, max_lifetime: 86_400 };
    match judge(chain, anchors, DOMAIN, terms) {
        Ok(expected) => assert_eq!(id, expected),
        Err(problem) => panic!("accepted as {id}, but: {problem}"),
    }
    let leaf = openssl::x509::X509::from_der(&chain[0]).expect("a leaf");
    let spki = leaf.public_key().and_then(|key| key.public_key_to_der()).expect("a key");
    assert_eq!(key.spki(), spki, "the key is the leaf's");
}

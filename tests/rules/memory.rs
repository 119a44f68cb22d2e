//! Rule 4, second half: what a verification takes while it lasts depends on the length of the body alone.

use crate::cards::{World, entry, facts};
use crate::hostile::{Addition, additions, card, unreadable};
use countersign_core::bind::bind_card;
use countersign_core::canon::{Profile, ProfileSet, canonicalize};
use countersign_core::card::Card;
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::limits::{BODY_BYTES, PROTECTED_DECODED_BYTES};
use countersign_core::policy::{Coverage, Policy};
use countersign_core::verify::{Against, verify_card};

/// The most that may be allocated at one time for a body of this length.
fn allowance(body: usize) -> u64 {
    u64::try_from(4 * body + 8_000_000).unwrap()
}

/// The signature of an honest card.
fn signature(world: &World, profile: Profile) -> String {
    let honest = Document::parse(card(profile, None, "").into(), &JsonLimits::CARD, Numbers::Strict).unwrap();
    world.entry(&world.header(), &canonicalize(&honest, profile).unwrap()).to_string()
}

/// The most that is allocated at one time, the received body included.
fn peak(world: &World, policy: &Policy, body: &str) -> (u64, Option<bool>) {
    let (bundle, facts) = (world.authority.bundle(), facts());
    let against = Against { bundle: &bundle, policy, expected: None, history: None, now: world.time() };
    let mut accepted = None;
    let measured = allocation_counter::measure(|| {
        let Ok(card) = Card::parse(body.as_bytes().to_vec(), policy.numbers) else { return };
        let verified = verify_card(&card, against);
        accepted = Some(verified.is_ok());
        if let Ok(signed) = verified {
            drop(bind_card(signed, &facts, None));
        }
    });
    (measured.bytes_max, accepted)
}

/// Judges every kind of addition to the honest card of each of `signers` at this length.
fn judge_all(bytes: usize, signers: &[Profile], policy_of: fn(Profile) -> ProfileSet) {
    let world = World::new();
    let (mut readable, mut accepted, mut over) = (0_usize, 0_usize, Vec::new());
    let additions: Vec<Addition> = additions(bytes - 8 * 1024);
    for signer in signers {
        let signatures = signature(&world, *signer);
        let mut policy = world.policy.clone();
        policy.profiles = policy_of(*signer);
        policy.coverage = Coverage::Report;
        policy.numbers = Numbers::Binary64;
        for addition in &additions {
            let body = card(*signer, Some(addition), &signatures);
            let (peak, outcome) = peak(&world, &policy, &body);
            readable += usize::from(outcome.is_some());
            accepted += usize::from(outcome == Some(true));
            if peak > allowance(body.len()) {
                over.push(format!("{peak} bytes for {} ({} bytes, {signer})", addition.name, body.len()));
            }
        }
    }
    assert!(over.is_empty(), "{} cases take more:\n{}", over.len(), over.join("\n"));
    // Most are judged, and many accepted: the measure is of what it says.
    let cases = signers.len() * additions.len();
    assert!(readable * 10 >= cases * 9, "{readable} of {cases} could be read");
    assert!(accepted * 10 >= cases * 3, "{accepted} of {cases} were accepted");
}

#[test]
fn rule_04_no_unsigned_member_takes_more_than_four_bodies_and_eight_megabytes() {
    judge_all(64 * 1024, &Profile::ALL, |signer| ProfileSet::NONE.with(signer));
}

#[test]
fn rule_04_the_largest_cards_take_no_more_under_all_profiles() {
    judge_all(BODY_BYTES, &[Profile::ProtoFoldedJcs], |_| ProfileSet::ALL);
}

#[test]
fn rule_04_four_signatures_with_the_largest_headers_take_no_more() {
    let world = World::new();
    let mut policy = world.policy.clone();
    policy.profiles = ProfileSet::ALL;
    let x5c = world.header()["x5c"].clone();
    let long = "k".repeat(PROTECTED_DECODED_BYTES);
    let header = |more: &str| format!(r#"{{"alg":"ES256","kid":"k1","x5c":{x5c}{more}}}"#);
    let parameters = (0..400).map(|n| format!(r#","p{n}":{{"a":[[[]]]}}"#)).collect::<Vec<_>>().concat();
    let certificates = vec![format!(r#""{}""#, "A".repeat(3_000)); 5].join(",");
    for protected in [
        header(""),
        header(&parameters),
        header(&format!(r#","long":"{}""#, &long[3_000..])),
        format!(r#"{{"alg":"ES256","kid":"{}"}}"#, &long[100..]),
        format!(r#"{{"alg":"ES256","kid":"k1","x5c":[{certificates}]}}"#),
        "[".repeat(PROTECTED_DECODED_BYTES),
    ] {
        for unprotected in ["", r#","header":{"long":"#] {
            let unprotected = match unprotected {
                "" => String::new(),
                start => format!("{start}[{}]}}", vec!["{}"; 2_000].join(",")),
            };
            let entry = entry(&world.svid, protected.as_bytes(), b"{}").to_string();
            let entry = format!("{}{unprotected}}}", &entry[..entry.len() - 1]);
            let body = card(Profile::JcsRaw, None, &vec![entry; 4].join(","));
            let (peak, outcome) = peak(&world, &policy, &body);
            assert_eq!(outcome, Some(false), "{protected:.99}");
            assert!(peak <= allowance(body.len()), "{peak} bytes for {protected:.99}");
        }
    }
}

#[test]
fn rule_04_what_cannot_be_read_takes_no_more() {
    let world = World::new();
    for (name, body) in unreadable(BODY_BYTES) {
        let (peak, outcome) = peak(&world, &world.policy, &body);
        assert_eq!(outcome, None, "{name}");
        assert!(peak <= allowance(body.len()), "{peak} bytes for {name}");
    }
}

//! What is remembered between looks: no way back to older cards, and freshness by witness (rules 55 and 57).

use crate::cards::{World, attach, card, card_bytes, card_with, facts, jcs};
use crate::pki::{Authority, Ca, Leaf, NOW};
use countersign_core::history::{History, Seen};
use countersign_core::jws::FORM_PARAMETER;
use countersign_core::limits::REPLAY_CONTENTS;
use countersign_core::policy::{Freshness, SignerRule};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::time::{Seconds, Timestamp};
use serde_json::{Value, json};
use std::rc::Rc;

/// One authority, and a workload whose leaf began so many seconds before now.
fn with_leaf(authority: &Rc<Authority>, age: u64) -> World {
    let leaf = Leaf { not_before: NOW - age, not_after: NOW - age + 3600, ..Leaf::default() };
    World { svid: authority.issue(&leaf).into(), authority: Rc::clone(authority), ..World::new() }
}

/// A look at `now` at replicas with these cards: which are replays, and what is remembered of the others.
fn look(
    before: Option<&History>,
    replicas: &[(&World, &[u8])],
    seen: Seen,
    now: u64,
) -> (Vec<Option<Reason>>, Option<History>) {
    let mut accepted = Vec::new();
    let mut reasons = Vec::new();
    for (world, bytes) in replicas {
        let signed = world.assert_verified(bytes);
        let replay = before.map_or(Ok(()), |before| before.refuse_replay(&signed.accepted()));
        reasons.push(replay.as_ref().err().map(Refusal::reason));
        if replay.is_ok() {
            accepted.push(signed.accepted());
        }
    }
    let now = Timestamp::from_unix(i64::try_from(now).unwrap());
    (reasons, History::after(before, &accepted, seen, Freshness::Live, now))
}

/// A card signed with an `iat` of so many seconds before now.
fn issued(world: &World, card: &Value, age: u64) -> Vec<u8> {
    let mut header = world.header();
    header["iat"] = json!(NOW - age);
    world.signed_under(card, &header)
}

#[test]
fn rule_55_older_weaker_and_unsigned_cards_do_not_replace_a_newer_one() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let other = card_with("description", json!("another"));
    let newer = with_leaf(&authority, 100);
    let (_, history) = look(None, &[(&newer, &newer.signed(&card()))], Seen::Everything, NOW);
    let reason = |world: &World, bytes: &[u8]| {
        let (reasons, _) = look(history.as_ref(), &[(world, bytes)], Seen::Everything, NOW);
        reasons[0]
    };
    let (within, beyond) = (with_leaf(&authority, 100 + 300), with_leaf(&authority, 100 + 301));
    assert_eq!(reason(&within, &within.signed(&other)), None, "within the overlap");
    assert_eq!(reason(&beyond, &beyond.signed(&other)), Some(Reason::ReplayOlderCard));
    assert_eq!(reason(&beyond, &beyond.signed(&card())), None, "the same content");
    // The same key, after a signature over the whole card one that does not say what it covers.
    let mut unnamed = with_leaf(&authority, 100);
    let mut header = unnamed.header();
    header[FORM_PARAMETER] = json!("jcs-raw");
    let named = unnamed.signed_under(&card(), &header);
    unnamed.history = look(None, &[(&unnamed, &named)], Seen::Everything, NOW).1;
    let weaker = unnamed.signed(&card_with("supportedInterfaces", card()["supportedInterfaces"].clone()));
    assert!(unnamed.bind(&weaker, &facts()).is_ok(), "the same content");
    let weaker = unnamed.signed(&other);
    assert_eq!(unnamed.bind(&weaker, &facts()).unwrap_err().reason(), Reason::ReplayWeaker);
    unnamed.assert_refused(Reason::CardUnsigned, &card_bytes(&card()));
}

#[test]
fn rule_55_replicas_with_leaves_of_any_age_serve_the_same_content() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let (old, new) = (with_leaf(&authority, 1500), with_leaf(&authority, 0));
    let signed = [(&old, old.signed(&card())), (&new, new.signed(&card()))];
    let mut history = None;
    // One after the other, as a balancer leads to them, and both together.
    for round in 0..6_usize {
        let replicas: Vec<_> = match round {
            5 => signed.iter().map(|(world, bytes)| (*world, bytes.as_slice())).collect(),
            _ => signed[round % 2..][..1].iter().map(|(world, bytes)| (*world, bytes.as_slice())).collect(),
        };
        let (reasons, after) = look(history.as_ref(), &replicas, Seen::Part, NOW);
        assert!(reasons.iter().all(Option::is_none), "round {round}: {reasons:?}");
        if let (Some(before), Some(after)) = (&history, &after) {
            assert!(after.restates(before), "nothing is worth a write");
        }
        history = after;
    }
}

#[test]
fn rule_55_a_rollout_serves_two_contents_until_it_is_over() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let (old, new) = (with_leaf(&authority, 1500), with_leaf(&authority, 60));
    let next = card_with("version", json!("2.0.0"));
    let before = issued(&old, &card(), 1400);
    // The old replica signs again while the new one, which signed when it started, is not ready yet.
    let again = issued(&old, &card(), 10);
    let after = issued(&new, &next, 50);
    let (_, history) = look(None, &[(&old, &before)], Seen::Everything, NOW);
    let (reasons, history) = look(history.as_ref(), &[(&old, &again), (&new, &after)], Seen::Everything, NOW);
    assert_eq!(reasons, [None, None]);
    // An old replica that was not ready for a look is still there.
    let (_, history) = look(history.as_ref(), &[(&new, &after)], Seen::Part, NOW);
    let (reasons, history) = look(history.as_ref(), &[(&old, &again), (&new, &after)], Seen::Everything, NOW);
    assert_eq!(reasons, [None, None]);
    let (_, history) = look(history.as_ref(), &[(&new, &after)], Seen::Everything, NOW);
    // Over: whatever was seen of the old content, and anything older, is a replay; a new signature is a rollback.
    for (replay, expected) in
        [(&before, Some(Reason::ReplayOlderCard)), (&again, Some(Reason::ReplayOlderCard))]
    {
        let (reasons, _) = look(history.as_ref(), &[(&old, replay)], Seen::Everything, NOW);
        assert_eq!(reasons, [expected]);
    }
    let rollback = issued(&new, &card(), 5);
    let (reasons, _) = look(history.as_ref(), &[(&new, &rollback)], Seen::Everything, NOW);
    assert_eq!(reasons, [None]);
}

#[test]
fn rule_55_content_that_changes_under_one_leaf_is_ordered_by_when_it_was_signed() {
    let world = with_leaf(&Rc::new(Authority::root(&Ca::default())), 600);
    let contents: Vec<Value> = (0..4).map(|n| card_with("version", json!(format!("1.0.{n}")))).collect();
    let signed: Vec<_> =
        contents.iter().zip([90, 60, 30, 0]).map(|(card, age)| issued(&world, card, age)).collect();
    let mut history = None;
    for bytes in &signed {
        let (reasons, after) = look(history.as_ref(), &[(&world, bytes)], Seen::Everything, NOW);
        assert_eq!(reasons, [None]);
        history = after;
    }
    for replay in &signed[..3] {
        let (reasons, _) = look(history.as_ref(), &[(&world, replay)], Seen::Everything, NOW);
        assert_eq!(reasons, [Some(Reason::ReplayOlderCard)]);
    }
    // What was signed in the same second as the first is not older.
    let (first, second) = (issued(&world, &contents[0], 10), issued(&world, &contents[1], 10));
    let (_, history) = look(None, &[(&world, &first)], Seen::Everything, NOW);
    let (reasons, _) = look(history.as_ref(), &[(&world, &second)], Seen::Everything, NOW);
    assert_eq!(reasons, [None]);
    // Signers that do not say when they signed may change their card as often as they like, too.
    let mut history = None;
    for card in &contents {
        let bytes = world.signed(card);
        let (reasons, after) = look(history.as_ref(), &[(&world, &bytes)], Seen::Everything, NOW);
        assert_eq!(reasons, [None]);
        history = after;
    }
}

#[test]
fn rule_55_a_renewal_that_nobody_remembers_does_not_bring_replaced_content_back() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let (old, new) = (with_leaf(&authority, 1500), with_leaf(&authority, 60));
    let next = card_with("version", json!("2.0.0"));
    let (_, history) = look(None, &[(&old, &issued(&old, &card(), 1400))], Seen::Everything, NOW);
    // Signed again while nobody looked, or by a process that is gone.
    let renewed = issued(&old, &card(), 100);
    let (reasons, history) =
        look(history.as_ref(), &[(&new, &issued(&new, &next, 50))], Seen::Everything, NOW);
    assert_eq!(reasons, [None]);
    let (reasons, _) = look(history.as_ref(), &[(&old, &renewed)], Seen::Everything, NOW);
    assert_eq!(reasons, [Some(Reason::ReplayOlderCard)]);
}

#[test]
fn rule_55_what_is_remembered_stays_bounded_and_keeps_what_is_served() {
    let world = World::new();
    let mut history = None;
    for n in 0..(REPLAY_CONTENTS + 5) {
        let bytes = world.signed(&card_with("version", json!(format!("1.0.{n}"))));
        let (reasons, after) = look(history.as_ref(), &[(&world, &bytes)], Seen::Part, NOW);
        assert_eq!(reasons, [None]);
        let known = after.as_ref().unwrap();
        assert!(known.witness(world.assert_verified(&bytes).content()).is_some());
        assert!(known.contents.len() <= REPLAY_CONTENTS);
        history = after;
    }
}

#[test]
fn rule_57_an_expired_card_counts_only_if_it_was_seen_while_it_was_valid() {
    let mut world = World::new();
    let bytes = world.signed(&card());
    let (_, history) = look(None, &[(&world, &bytes)], Seen::Everything, NOW);
    world.now = NOW + 7200;
    world.assert_refused(Reason::CertificateExpired, &bytes);
    world.policy.freshness = Freshness::Witnessed { max_age: Seconds::new(10_000) };
    world.assert_refused(Reason::WitnessMissing, &bytes);
    world.history = history;
    assert!(!world.assert_verified(&bytes).is_live());
    // The witness is for this content, not for the signer.
    world.assert_refused(Reason::WitnessMissing, &world.signed(&card_with("version", json!("2.0.0"))));
    world.now = NOW + 10_001;
    world.assert_refused(Reason::WitnessTooOld, &bytes);
}

#[test]
fn rule_57_one_witness_is_enough_for_all_replicas_and_lasts_while_one_of_them_is_valid() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let witnessed = Freshness::Witnessed { max_age: Seconds::new(8000) };
    let with = |age| {
        let mut world = with_leaf(&authority, age);
        world.policy.freshness = witnessed;
        world
    };
    let (mut old, mut new) = (with(1800), with(0));
    let (of_old, of_new) = (old.signed(&card()), new.signed(&card()));
    let mut history = None;
    for now in (NOW..NOW + 3600 + 4000).step_by(300) {
        for (world, bytes) in [(&mut old, &of_old), (&mut new, &of_new)] {
            (world.now, world.history) = (now, history.clone());
            let signed = world.assert_verified(bytes);
            let at = Timestamp::from_unix(i64::try_from(now).unwrap());
            history = History::after(history.as_ref(), &[signed.accepted()], Seen::Part, witnessed, at);
        }
    }
    // Counted from the last renewal, which was at most a fraction of the age before the last leaf ended.
    let last = history.as_ref().unwrap().contents[0].witnessed_at.as_unix();
    assert!((i64::try_from(NOW).unwrap() + 3600 - 2000..).contains(&last), "{last}");
    (new.now, new.history) = (u64::try_from(last).unwrap() + 8001, history);
    new.assert_refused(Reason::WitnessTooOld, &of_new);
}

#[test]
fn rule_57_an_expired_signature_that_nobody_witnessed_counts_for_no_signer_rule() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let mut world = with_leaf(&authority, 60);
    let stolen = Leaf {
        uris: vec!["spiffe://example.org/ns/a/sa/other"],
        not_before: NOW - 7200,
        not_after: NOW - 3600,
        ..Leaf::default()
    };
    let other =
        World { svid: authority.issue(&stolen).into(), authority: Rc::clone(&authority), ..World::new() };
    let payload = jcs(&card());
    let both = [world.entry(&world.header(), &payload), other.entry(&other.header(), &payload)];
    let bytes = attach(&card(), &both);
    world.policy.signers = SignerRule::Threshold(2);
    world.assert_refused(Reason::SignerPolicy, &bytes);
    world.policy.freshness = Freshness::Witnessed { max_age: Seconds::new(10_000) };
    world.assert_refused(Reason::SignerPolicy, &bytes);
    // Once the content was seen in time, whoever signs it again is the same.
    let only = attach(&card(), &both[..1]);
    world.policy.signers = SignerRule::AnyOf;
    world.history = look(None, &[(&world, &only)], Seen::Everything, NOW).1;
    world.policy.signers = SignerRule::Threshold(2);
    world.assert_verified(&bytes);
}

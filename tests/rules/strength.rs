//! What a signature says about absent members: coverage (rule 48), and weaker signatures that follow stronger ones
//! (rule 55). Neither depends on how somebody between the agent and us writes the card.

use crate::cards::{World, attach, card, card_bytes, card_with, jcs};
use crate::pki::{Authority, Ca, Leaf, NOW};
use countersign_core::canon::{Profile, ProfileSet, canonicalize};
use countersign_core::history::{History, Seen};
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::jws::FORM_PARAMETER;
use countersign_core::policy::{Coverage, Freshness};
use countersign_core::refusal::Reason;
use countersign_core::time::Timestamp;
use countersign_core::verify::CoverageLevel;
use serde_json::{Value, json};
use std::rc::Rc;

fn form(card: &Value, profile: Profile) -> Vec<u8> {
    let card = Document::parse(card_bytes(card), &JsonLimits::CARD, Numbers::Strict).unwrap();
    canonicalize(&card, profile).unwrap()
}

/// `served` with one signature over the form of `signed` for each of these profiles, all of one moment.
fn signed_over(
    world: &World,
    issued_at: Option<u64>,
    profiles: &[(Profile, Option<&str>)],
    (signed, served): (&Value, &Value),
) -> Vec<u8> {
    let entries: Vec<_> = profiles
        .iter()
        .map(|(profile, named)| {
            let mut header = world.header();
            if let Some(issued_at) = issued_at {
                header["iat"] = json!(issued_at);
            }
            if let Some(named) = named {
                header[FORM_PARAMETER] = json!(named);
            }
            world.entry(&header, &form(signed, *profile))
        })
        .collect();
    attach(served, &entries)
}

const CLEAN: &[(Profile, Option<&str>)] = &[(Profile::ProtoCleanJcs, None)];

fn requiring() -> Value {
    card_with("securityRequirements", json!([{"schemes": {"mtls": {"list": []}}}]))
}

#[test]
fn rule_48_what_a_stripping_signer_may_have_left_out_is_never_full() {
    let world = World::new();
    // The requirement leaves no trace in the form of a2a-python, so whoever serves the card without it is not noticed.
    let stripped = signed_over(&world, None, CLEAN, (&requiring(), &card()));
    assert_eq!(world.assert_verified(&stripped).coverage(), CoverageLevel::Partial);
    // The same bytes by a signer that says that they are the whole document.
    let whole = |named| signed_over(&world, None, &[(Profile::JcsRaw, named)], (&card(), &card()));
    assert_eq!(world.assert_verified(&whole(Some("jcs-raw"))).coverage(), CoverageLevel::Full);
    for named in [None, Some("spec841"), Some("proto-clean-jcs")] {
        assert_eq!(world.assert_verified(&whole(named)).coverage(), CoverageLevel::Partial, "{named:?}");
    }
}

#[test]
fn rule_48_bytes_that_no_other_allowed_form_gives_are_full() {
    let mut world = World::new();
    let vendor = card_with("xVendor", json!(1));
    assert_eq!(world.assert_verified(&world.signed(&vendor)).coverage(), CoverageLevel::Full);
    world.policy.profiles = ProfileSet::NONE.with(Profile::JcsRaw);
    assert_eq!(world.assert_verified(&world.signed(&card())).coverage(), CoverageLevel::Full);
}

#[test]
fn rule_48_a_named_form_is_a_known_one_and_protected() {
    let world = World::reporting();
    for odd in [json!("jcs"), json!(1), json!(null)] {
        let mut header = world.header();
        header[FORM_PARAMETER] = odd;
        world.assert_refused(Reason::HeaderMalformed, &world.signed_under(&card(), &header));
    }
    let mut entry = world.entry(&world.header(), &jcs(&card()));
    entry["header"] = json!({FORM_PARAMETER: "jcs-raw"});
    world.assert_refused(Reason::HeaderUnprotected, &attach(&card(), &[entry]));
    // The name says what was signed, not what is served: members that nobody signed stay uncovered.
    let named = [(Profile::JcsRaw, Some("jcs-raw"))];
    let more = signed_over(&world, None, &named, (&card(), &card_with("xVendor", json!(1))));
    let reported = world.assert_verified(&more);
    assert_eq!((reported.coverage(), reported.uncovered().len()), (CoverageLevel::Partial, 1));
}

/// One agent whose leaf began so many seconds before now, and what is remembered of it.
struct Agent {
    world: World,
    history: Option<History>,
}

impl Agent {
    fn new(authority: &Rc<Authority>, age: u64) -> Self {
        let leaf = Leaf { not_before: NOW - age, not_after: NOW - age + 3600, ..Leaf::default() };
        let mut world =
            World { svid: authority.issue(&leaf).into(), authority: Rc::clone(authority), ..World::new() };
        world.policy.coverage = Coverage::Report;
        Self { world, history: None }
    }

    fn look(&mut self, bytes: &[u8]) -> Option<Reason> {
        let accepted = self.world.assert_verified(bytes).accepted();
        if let Some(Err(refusal)) = self.history.as_ref().map(|history| history.refuse_replay(&accepted)) {
            return Some(refusal.reason());
        }
        let now = Timestamp::from_unix(i64::try_from(NOW).unwrap());
        self.history =
            History::after(self.history.as_ref(), &[accepted], Seen::Everything, Freshness::Live, now);
        None
    }
}

#[test]
fn rule_55_a_signer_that_strips_is_never_locked_out_by_what_its_card_says() {
    let mut agent = Agent::new(&Rc::new(Authority::root(&Ca::default())), 600);
    let cards = [
        card(),
        card_with("description", json!("")),
        card_with("iconUrl", json!("https://weather.example/icon")),
        requiring(),
        card_with("skills", json!([])),
        card(),
        card_with("version", json!("")),
    ];
    for (second, card) in (0_u64..).zip(&cards) {
        let bytes = signed_over(&agent.world, Some(NOW - 100 + second), CLEAN, (card, card));
        assert_eq!(agent.look(&bytes), None, "{card}");
    }
    let mut agent = Agent::new(&Rc::new(Authority::root(&Ca::default())), 600);
    for card in &cards {
        let bytes = signed_over(&agent.world, None, CLEAN, (card, card));
        assert_eq!(agent.look(&bytes), None, "without `iat`: {card}");
    }
}

#[test]
fn rule_55_nobody_between_decides_what_is_remembered() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let signed = card_with("description", json!(""));
    let mut bare = signed.clone();
    bare.as_object_mut().unwrap().remove("description");
    let twins = [
        signed.clone(),
        bare.clone(),
        {
            let mut twin = bare.clone();
            twin["iconUrl"] = json!("");
            twin
        },
        {
            let mut twin = bare.clone();
            twin["xVendor"] = json!({"a": [1]});
            twin
        },
        {
            let mut twin = bare.clone();
            twin["securityRequirements"] = json!([{"schemes": {"mtls": {"list": []}}}]);
            twin
        },
    ];
    let mut memories = Vec::new();
    let next = card_with("provider", json!({"organization": "a", "url": ""}));
    for twin in &twins {
        let mut agent = Agent::new(&authority, 600);
        let bytes = signed_over(&agent.world, Some(NOW - 100), CLEAN, (&signed, twin));
        assert_eq!(agent.look(&bytes), None);
        let memory = agent.history.clone().unwrap();
        memories.push((memory.weaker_forms, memory.names_form, memory.contents));
        // What the agent signs next is accepted, whichever twin was shown before.
        let bytes = signed_over(&agent.world, Some(NOW - 90), CLEAN, (&next, &next));
        assert_eq!(agent.look(&bytes), None, "after {twin}");
    }
    assert!(memories.windows(2).all(|pair| pair[0] == pair[1]), "{memories:?}");
}

#[test]
fn rule_55_a_weaker_form_of_the_same_signing_does_not_replace_the_card() {
    let authority = Rc::new(Authority::root(&Ca::default()));
    let mut agent = Agent::new(&authority, 600);
    let mut without = card();
    without.as_object_mut().unwrap().remove("supportedInterfaces");
    // Two tools sign, one over the form of kagenti, in which there are no interfaces of 1.0.
    let both = [(Profile::ProtoCleanJcs, None), (Profile::KagentiGo, None)];
    for issued_at in [Some(NOW - 100), None] {
        agent.history = None;
        assert_eq!(agent.look(&signed_over(&agent.world, issued_at, &both, (&card(), &card()))), None);
        let weaker = signed_over(&agent.world, issued_at, &both[1..], (&card(), &without));
        assert_eq!(agent.look(&weaker), Some(Reason::ReplayWeaker));
        assert_eq!(
            agent.look(&signed_over(&agent.world, issued_at, &both, (&card(), &card()))),
            None,
            "the honest card still counts"
        );
    }
    // An agent that means it is refused until its next signature with a time, or its next SVID.
    let later = signed_over(&agent.world, Some(NOW - 50), &both[1..], (&without, &without));
    assert_eq!(agent.look(&later), None);
    agent.history = None;
    assert_eq!(agent.look(&signed_over(&agent.world, None, &both, (&card(), &card()))), None);
    let newer = Agent::new(&authority, 60).world;
    let later = signed_over(&newer, None, &both[1..], (&without, &without));
    assert_eq!(agent.look(&later), None);
}

#[test]
fn rule_55_a_signer_that_names_its_form_is_not_followed_by_one_that_does_not() {
    let mut agent = Agent::new(&Rc::new(Authority::root(&Ca::default())), 600);
    let vendor = |n: u32| {
        let mut card = card_with("xVendor", json!(1));
        card["version"] = json!(format!("1.0.{n}"));
        card
    };
    let both = [(Profile::JcsRaw, Some("jcs-raw")), (Profile::ProtoFoldedJcs, Some("proto-folded-jcs"))];
    let signed = |agent: &Agent, n: u32, profiles| {
        signed_over(&agent.world, Some(NOW - 100 + u64::from(n)), profiles, (&vendor(n), &vendor(n)))
    };
    let first = signed(&agent, 0, &both);
    assert_eq!(agent.look(&first), None);
    // Whoever sees the next card first shows its second signature alone: newer, and still weaker.
    let early = signed(&agent, 1, &both[1..]);
    assert_eq!(agent.look(&early), Some(Reason::ReplayWeaker));
    // That refuses nobody: the honest cards count, then and later, with the member and without.
    for honest in [signed(&agent, 1, &both), signed(&agent, 2, &both)] {
        assert_eq!(agent.look(&honest), None);
    }
    let plain = signed_over(&agent.world, Some(NOW - 90), &both[..1], (&card(), &card()));
    assert_eq!(agent.look(&plain), None);
    // A signature that names no form may be one over any.
    let other = card_with("version", json!("9"));
    let unnamed = signed_over(&agent.world, Some(NOW - 80), CLEAN, (&other, &other));
    assert_eq!(agent.look(&unnamed), Some(Reason::ReplayWeaker));
}

//! Attacks on coverage that hide: in a member that is left out as a whole, and behind others in the list (rule 47).

use crate::cards::{World, attach, card, card_bytes, card_with};
use countersign_core::canon::{Profile, ProfileSet, canonicalize};
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::limits::UNCOVERED_LISTED;
use countersign_core::policy::Coverage;
use countersign_core::refusal::Reason;
use serde_json::{Value, json};

/// The card as a kind of signers makes it: with an address of its own version.
fn base(profile: Profile) -> Value {
    let mut base = card();
    if matches!(profile, Profile::KagentiGo | Profile::Py03 | Profile::PyLegacy | Profile::ProtoFoldedJcs) {
        let url = base["supportedInterfaces"][0]["url"].take();
        base.as_object_mut().unwrap().remove("supportedInterfaces");
        base["url"] = url;
    }
    base
}

fn form(card: &Value, profile: Profile) -> Vec<u8> {
    let card = Document::parse(card_bytes(card), &JsonLimits::CARD, Numbers::Strict).unwrap();
    canonicalize(&card, profile).unwrap()
}

/// `served` with the signature that was made over `signed`.
fn replayed(world: &World, profile: Profile, signed: &Value, served: &Value) -> Vec<u8> {
    attach(served, &[world.entry(&world.header(), &form(signed, profile))])
}

fn only(profile: Profile) -> World {
    let mut world = World::new();
    world.policy.profiles = ProfileSet::NONE.with(profile);
    world
}

/// A member of the card as it was signed and as it is served.
type Change = (&'static str, Option<Value>, Value);

/// Changes that decide about security, each inside a member that decides nothing by itself.
fn hidden_changes() -> Vec<Change> {
    let skill = card()["skills"][0].clone();
    let requirement = json!([{"schemes": {"oauth": {"list": []}}}]);
    let mut changes = Vec::new();
    for before in [None, Some(json!({}))] {
        for after in [
            json!({"extendedAgentCard": true}),
            json!({"extendedAgentCard": {}}),
            json!({"extendedAgentCard": [null]}),
            json!({"extendedAgentCard": {"a": null}}),
            json!({"extensions": [{"more": true}]}),
            json!({"extensions": [{"uri": ""}]}),
            json!({"x": {"y": 1}, "extendedAgentCard": true, "z": ""}),
        ] {
            changes.push(("capabilities", before.clone(), after));
        }
    }
    for more in [
        json!({"security": [{"oauth": []}]}),
        json!({"securityRequirements": requirement}),
        json!({"securityRequirements": [{}], "more": 1, "id": ""}),
        json!({"security": [{}]}),
    ] {
        changes.push(("skills", None, json!([more.clone()])));
        changes.push(("skills", Some(json!([skill.clone()])), json!([skill.clone(), more])));
    }
    changes
}

#[test]
fn rule_47_no_member_that_decides_hides_in_one_that_is_left_out() {
    let mut hidden = 0;
    for profile in Profile::ALL {
        for (name, before, after) in hidden_changes() {
            let case = format!("{profile}: {name} {before:?} served as {after}");
            let (mut signed, mut served) = (base(profile), base(profile));
            match before {
                Some(before) => signed[name] = before,
                None => drop(signed.as_object_mut().unwrap().remove(name)),
            }
            served[name] = after;
            let mut world = only(profile);
            let bytes = replayed(&world, profile, &signed, &served);
            let refused = world.verify(&bytes).err();
            let refusal = refused.unwrap_or_else(|| panic!("accepted: {case}")).refusal;
            world.policy.coverage = Coverage::Report;
            let Ok(reported) = world.verify(&bytes) else { continue };
            hidden += 1;
            assert_eq!(refusal.reason(), Reason::UncoveredSecurityMember, "{case}");
            let first = reported.uncovered().first().expect(&case);
            assert!(
                first.decides_security() && first.pointer().starts_with(&format!("/{name}/")),
                "{case}: {first:?}"
            );
            assert!(refusal.message().contains(first.pointer()), "{case}: {refusal}");
        }
    }
    // Under each of the stripping profiles some of them leave no trace in the signed bytes.
    assert!(hidden >= 20, "{hidden}");
}

#[test]
fn rule_47_an_extended_card_that_is_not_there_refuses_nobody() {
    for (profile, name, member) in [
        (Profile::KagentiGo, "extendedAgentCard", "capabilities"),
        (Profile::ProtoCleanJcs, "supportsAuthenticatedExtendedCard", ""),
    ] {
        for (value, reason) in
            [(json!(false), None), (Value::Null, None), (json!(true), Some(Reason::UncoveredSecurityMember))]
        {
            let mut served = base(profile);
            match member {
                "" => served[name] = value,
                member => served[member][name] = value,
            }
            let world = only(profile);
            let bytes = replayed(&world, profile, &base(profile), &served);
            assert_eq!(world.reason(&bytes), reason, "{served}");
        }
    }
}

#[test]
fn rule_47_members_that_decide_are_listed_first_and_the_others_counted() {
    let world = World::reporting();
    let profile = Profile::ProtoCleanJcs;
    let mut served = card_with("url", json!("https://evil.example"));
    for index in 0..UNCOVERED_LISTED * 2 {
        served[format!("!{index:03}")] = json!(index);
    }
    let signed = world.assert_verified(&replayed(&world, profile, &card(), &served));
    let listed: Vec<_> = signed.uncovered().iter().map(|member| member.pointer().to_owned()).collect();
    assert_eq!((listed[0].as_str(), listed[1].as_str()), ("/url", "/!000"));
    assert_eq!((listed.len(), signed.unlisted()), (UNCOVERED_LISTED, UNCOVERED_LISTED + 1));
}

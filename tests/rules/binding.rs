//! Attacks on coverage, binding, freshness and policy (rules 40 and 42 to 60).

use crate::cards::{HOST, World, attach, card, card_bytes, card_with, entry, facts, header, jcs, replaced};
use crate::pki::{Authority, Ca, Key, Leaf, NOW, Svid, WORKLOAD};
use countersign_core::bind::Source;
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::encoding::sha256;
use countersign_core::policy::{Coverage, SignerRule};
use countersign_core::refusal::Reason;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verdict::Verdict;
use countersign_core::verify::CoverageLevel;
use serde_json::{Value, json};
use std::rc::Rc;

const OTHER: &str = "spiffe://example.org/ns/a/sa/other";

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

/// A leaf of the default workload with another identity.
fn other_leaf() -> Leaf {
    Leaf { uris: vec![OTHER], ..Leaf::default() }
}

fn interface(url: &str) -> Value {
    json!([{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}])
}

#[test]
fn rule_46_what_is_handed_on_is_what_was_signed() {
    let world = World::reporting();
    let projection = card();
    let signature = world.entry(&world.header(), &jcs(&projection));
    let mut served = projection.clone();
    served["xVendor"] = json!("unsigned");
    served["url"] = json!("https://evil.example");
    let signed = world.assert_verified(&attach(&served, &[signature]));
    assert_eq!(signed.document().text().as_bytes(), jcs(&projection));
    assert!(signed.document().root().as_object().unwrap().get("url").is_none());
}

#[test]
fn rule_47_unsigned_security_members_refuse_the_card_and_others_are_listed() {
    let mut world = World::new();
    let signature = world.entry(&world.header(), &jcs(&card()));
    for (name, value) in [
        ("url", json!("https://evil.example")),
        ("additionalInterfaces", json!([{"url": "https://evil.example", "transport": "GRPC"}])),
        ("preferredTransport", json!("GRPC")),
        ("protocolVersion", json!("0.3")),
        ("security", json!([{"x": []}])),
        ("tenant", json!("t")),
        ("supportsAuthenticatedExtendedCard", json!(true)),
    ] {
        let injected = attach(&card_with(name, value), std::slice::from_ref(&signature));
        world.assert_refused(Reason::UncoveredSecurityMember, &injected);
    }
    let vendor = attach(&card_with("xVendor", json!({"a": 1})), std::slice::from_ref(&signature));
    let signed = world.assert_verified(&vendor);
    let pointers: Vec<_> = signed.uncovered().iter().map(|member| member.pointer().to_owned()).collect();
    assert_eq!((pointers, signed.coverage()), (vec!["/xVendor".to_owned()], CoverageLevel::Partial));
    world.policy.coverage = Coverage::Report;
    let injected = attach(&card_with("url", json!("https://evil.example")), &[signature]);
    let signed = world.assert_verified(&injected);
    assert_eq!(signed.uncovered()[0].pointer(), "/url");
}

#[test]
fn rule_48_stripping_signers_protect_partially() {
    let mut world = World::new();
    world.policy.profiles = ProfileSet::NONE.with(Profile::ProtoCleanJcs);
    // Other tests name the form; a signer that does not may have stripped members.
    let plain = world.assert_verified(&world.signed(&card()));
    assert_eq!(plain.coverage(), CoverageLevel::Partial);
    // Signed without the empty member: the same bytes with or without it.
    let signature = world.entry(&world.header(), &{
        let mut stripped = card();
        stripped.as_object_mut().unwrap().remove("description");
        jcs(&stripped)
    });
    let partial = world
        .assert_verified(&attach(&card_with("description", json!("")), std::slice::from_ref(&signature)));
    assert_eq!(partial.coverage(), CoverageLevel::Partial);
    // An authentication requirement that leaves no trace in the signed bytes.
    let signature = world.entry(&world.header(), &jcs(&card()));
    let required = card_with("securityRequirements", json!([{"schemes": {"oauth": {"list": []}}}]));
    world.assert_refused(
        Reason::UncoveredSecurityMember,
        &attach(&required, std::slice::from_ref(&signature)),
    );
    let mtls = card_with("securitySchemes", json!({"m": {"mtlsSecurityScheme": {}}}));
    world.assert_refused(Reason::UncoveredSecurityMember, &attach(&mtls, &[signature]));
}

#[test]
fn rule_49_a_card_in_a_form_that_is_not_allowed_is_refused() {
    let mut world = World::new();
    let python = card_with("name", json!("Caf\u{e9}"));
    let escaped = replaced(&jcs(&python), "Caf\u{e9}", "Caf\\u00e9");
    let bytes = attach(&python, &[world.entry(&world.header(), &escaped)]);
    world.assert_refused(Reason::SignatureInvalid, &bytes);
    world.policy.profiles = ProfileSet::ALL;
    assert_eq!(world.assert_verified(&bytes).profile(), Profile::PyLegacy);
    world.policy.profiles = ProfileSet::NONE;
    world.assert_refused(Reason::SignatureInvalid, &world.signed(&card()));
}

#[test]
fn rule_49_a_refusal_names_the_form_that_the_policy_does_not_allow_within_the_same_budget() {
    let mut world = World::new();
    let python = card_with("name", json!("Caf\u{e9}"));
    let escaped = replaced(&jcs(&python), "Caf\u{e9}", "Caf\\u00e9");
    let bytes = attach(&python, &[world.entry(&world.header(), &escaped)]);
    let found = |world: &World, bytes: &[u8]| {
        let rejection = world.verify(bytes).unwrap_err();
        (rejection.refusal.reason(), rejection.refusal.message().to_owned())
    };
    let (reason, message) = found(&world, &bytes);
    assert_eq!(reason, Reason::SignatureInvalid);
    assert!(
        message.ends_with("; it verifies over `py-legacy`, which the policy does not allow"),
        "{message}"
    );
    assert!(!message.split(';').next().unwrap().contains("py-legacy"), "{message}");
    // A card that no form helps is refused as before.
    let tampered = replaced(&world.signed(&card()), "Tells the weather", "Tells the whether");
    assert!(!found(&world, &tampered).1.contains("not allow"));
    world.policy.profiles = ProfileSet::NONE.with(Profile::KagentiGo);
    assert!(found(&world, &world.signed(&card())).1.contains("`spec841`, which the policy does not allow"));
    // With less to spend the sentence goes first, and the refusal never becomes one about the budget for it.
    world.policy.profiles = ProfileSet::DEFAULT;
    let mut outcomes = Vec::new();
    for budget in 0..=200 {
        world.policy.budget = budget;
        let (reason, message) = found(&world, &bytes);
        outcomes.push((reason, message.contains("py-legacy")));
    }
    let first = outcomes.iter().position(|(reason, _)| *reason == Reason::SignatureInvalid).unwrap();
    assert!(outcomes[first..].iter().all(|(reason, _)| *reason == Reason::SignatureInvalid));
    assert_eq!([outcomes[first].1, outcomes[200].1], [false, true]);
}

#[test]
fn rule_40_expensive_signatures_end_with_the_budget() {
    let leaf = Leaf { key: Key::P384, ..Leaf::default() };
    let authority = Authority::root(&Ca { key: Key::P384, ..Ca::default() });
    let world = World { svid: authority.issue(&leaf).into(), authority: authority.into(), ..World::new() };
    let mut head = header(&world.svid);
    head["alg"] = json!("ES384");
    let made = |payload: &[u8]| {
        let protected = head.to_string();
        let mut made = entry(&world.svid, protected.as_bytes(), payload);
        let text = format!("{}.{}", made["protected"].as_str().unwrap(), base64(payload));
        made["signature"] =
            json!(base64(&world.svid.sign(countersign_core::jws::Algorithm::Es384, text.as_bytes())));
        made
    };
    world.assert_verified(&attach(&card(), &[made(&jcs(&card()))]));
    // The card differs under every form, so each of four signatures is checked under each of four forms.
    let costly = card_with("description", json!(""));
    let mut costly = costly;
    costly["capabilities"] = json!({"extensions": [{"uri": "u", "required": false, "params": {"a": ""}}]});
    let four: Vec<_> = (0..4).map(|_| made(b"{}")).collect();
    world.assert_refused(Reason::WorkBudget, &attach(&costly, &four));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn rule_50_another_workload_of_the_same_domain_cannot_sign_the_card() {
    let mut world = World::with(&other_leaf());
    let bytes = world.signed(&card());
    world.assert_verified(&bytes);
    world.expected = Some(id(WORKLOAD));
    world.assert_refused(Reason::IdentityMismatch, &bytes);
    world.expected = None;
    assert_eq!(world.bind(&bytes, &facts()).unwrap_err().reason(), Reason::IdentityMismatch);
    assert!(World::new().bind(&World::new().signed(&card()), &facts()).is_err(), "another authority");
    let honest = World::new();
    honest.bind(&honest.signed(&card()), &facts()).unwrap();
}

#[test]
fn rule_51_endpoints_belong_to_the_workload() {
    let world = World::new();
    let reason = |url: &str| {
        let bytes = world.signed(&card_with("supportedInterfaces", interface(url)));
        world.bind(&bytes, &facts()).map(|_| ()).map_err(|refusal| refusal.reason())
    };
    assert_eq!(reason("http://weather.demo.svc:8000/"), Ok(()));
    assert_eq!(reason("https://weather.example.org/a2a"), Ok(()));
    assert_eq!(reason("http://weather.example.org/a2a"), Err(Reason::EndpointNotEncrypted));
    assert_eq!(reason("https://evil.example/"), Err(Reason::EndpointNotOwned));
    assert_eq!(reason("https://weather.demo.svc.cluster.local.evil.example/"), Err(Reason::EndpointNotOwned));
    assert_eq!(reason("https://weather.demo.svc@evil.example/"), Err(Reason::EndpointMalformed));
    assert_eq!(reason("https://169.254.169.254/"), Err(Reason::EndpointMalformed));
    let mut second = card();
    second["supportedInterfaces"].as_array_mut().unwrap().push(interface("https://evil.example/")[0].clone());
    assert_eq!(world.bind(&world.signed(&second), &facts()).unwrap_err().reason(), Reason::EndpointNotOwned);
}

#[test]
fn rule_51_the_card_was_fetched_from_the_workload() {
    let world = World::new();
    let bytes = world.signed(&card());
    let mut facts = facts();
    facts.source = Source::Http { host: "registry.example".to_owned() };
    assert_eq!(world.bind(&bytes, &facts).unwrap_err().reason(), Reason::OriginNotOwned);
    facts.source = Source::File;
    world.bind(&bytes, &facts).unwrap();
}

#[test]
fn rule_52_a_planted_config_map_speaks_for_nobody() {
    let world = World::new();
    let bytes = world.signed(&card());
    let mut facts = facts();
    let map = |name: &str, owned| Source::ConfigMap {
        name: name.to_owned(),
        expected_name: "weather-card-signed".to_owned(),
        owned,
    };
    for (source, expected) in [
        (map("weather-card-signed", true), None),
        (map("weather-card-signed", false), Some(Reason::SourceNotOwned)),
        (map("evil-card-signed", true), Some(Reason::SourceNotOwned)),
    ] {
        facts.source = source;
        assert_eq!(world.bind(&bytes, &facts).err().map(|refusal| refusal.reason()), expected);
    }
}

#[test]
fn rule_53_a_card_relayed_over_another_workloads_connection_is_refused() {
    let world = World::new();
    let bytes = world.signed(&card());
    let mut facts = facts();
    for (peer, expected) in [(OTHER, Some(Reason::PeerIdentityMismatch)), (WORKLOAD, None)] {
        facts.source = Source::Mtls { host: HOST.to_owned(), peer: id(peer) };
        assert_eq!(world.bind(&bytes, &facts).err().map(|refusal| refusal.reason()), expected);
    }
}

#[test]
fn rule_54_a_bad_signature_never_hides_a_good_one() {
    let mut world = World::new();
    world.expected = Some(id(WORKLOAD));
    let good = world.entry(&world.header(), &jcs(&card()));
    let foreign = World::new();
    let untrusted = foreign.entry(&foreign.header(), &jcs(&card()));
    let neighbour = world.authority.issue(&other_leaf());
    let neighbours = entry(&neighbour, header(&neighbour).to_string().as_bytes(), &jcs(&card()));
    let broken = json!({"protected": "!", "signature": "!"});
    let bytes = attach(&card(), &[untrusted, broken, neighbours, good]);
    let signed = world.assert_verified(&bytes);
    let reasons: Vec<_> = signed
        .signatures()
        .iter()
        .map(|s| s.result.as_ref().err().map(countersign_core::refusal::Refusal::reason))
        .collect();
    assert_eq!(
        reasons,
        [Some(Reason::AnchorUnknown), Some(Reason::Base64Malformed), Some(Reason::IdentityMismatch), None,]
    );
    world.policy.signers = SignerRule::AllOf;
    world.assert_refused(Reason::SignerPolicy, &bytes);
}

#[test]
fn rule_54_thresholds_count_identities_and_names_are_asked_for() {
    let mut world = World::new();
    world.expected = Some(id(WORKLOAD));
    let good = world.entry(&world.header(), &jcs(&card()));
    let neighbour = world.authority.issue(&other_leaf());
    let second = entry(&neighbour, header(&neighbour).to_string().as_bytes(), &jcs(&card()));
    world.policy.signers = SignerRule::Threshold(2);
    world.assert_refused(Reason::SignerPolicy, &attach(&card(), &[good.clone(), good.clone()]));
    world.assert_verified(&attach(&card(), &[good.clone(), second.clone()]));
    world.policy.signers = SignerRule::Named([id(OTHER)].into());
    world.assert_refused(Reason::SignerPolicy, &attach(&card(), std::slice::from_ref(&good)));
    world.assert_verified(&attach(&card(), &[good.clone(), second.clone()]));
    // Whoever signed a form that lacks a member has not signed what the other one did.
    let more = card_with("xVendor", json!(1));
    let whole = |svid: &Svid| entry(svid, header(svid).to_string().as_bytes(), &jcs(&more));
    for rule in [SignerRule::Named([id(WORKLOAD), id(OTHER)].into()), SignerRule::Threshold(2)] {
        world.policy.signers = rule;
        world.assert_refused(Reason::SignerPolicy, &attach(&more, &[whole(&world.svid), second.clone()]));
        // Whoever signed the whole document has signed every form of it, and those who agree on a form decide.
        let signed = world.assert_verified(&attach(&more, &[whole(&neighbour), good.clone()]));
        assert_eq!(signed.profile(), Profile::Spec841);
        let both = [whole(&world.svid), good.clone(), second.clone()];
        assert_eq!(world.assert_verified(&attach(&more, &both)).profile(), Profile::Spec841);
        let signed = world.assert_verified(&attach(&more, &[whole(&world.svid), whole(&neighbour)]));
        assert_eq!(signed.profile(), Profile::JcsRaw);
    }
    // A co-signer does not replace the workload's own signature.
    world.assert_refused(Reason::IdentityMismatch, &attach(&card(), &[second]));
}

#[test]
fn rule_56_the_signatures_own_times_are_enforced() {
    let world = World::new();
    let signed = |times: Value| {
        let mut header = world.header();
        for (name, value) in times.as_object().unwrap() {
            header[name] = value.clone();
        }
        world.signed_under(&card(), &header)
    };
    world.assert_verified(&signed(json!({"iat": NOW - 10, "exp": NOW + 10})));
    world.assert_verified(&signed(json!({"exp": NOW - 60})));
    // A NumericDate may have a fraction (RFC 7519 §2).
    let times = f64::from(u32::try_from(NOW).unwrap());
    let fractional = world.assert_verified(&signed(json!({"iat": times - 9.5, "exp": times + 10.5})));
    assert_eq!(fractional.issued_at().map(Timestamp::as_unix), Some(i64::try_from(NOW).unwrap() - 10));
    world.assert_refused(Reason::SignatureTimes, &signed(json!({"exp": times - 60.5})));
    for times in [
        json!({"iat": NOW + 61}),
        json!({"exp": NOW - 61}),
        json!({"iat": NOW, "exp": NOW}),
        json!({"iat": 1}),
        json!({"iat": "now"}),
        json!({"exp": 1.5}),
        json!({"exp": -1}),
        json!({"exp": 1e300}),
        json!({"exp": "1.5"}),
        json!({"exp": null}),
    ] {
        world.assert_refused(Reason::SignatureTimes, &signed(times));
    }
}

#[test]
fn rule_58_the_deny_list_wins_over_every_proof() {
    let world = World::new();
    let bytes = world.signed(&card());
    let denying = |deny: &dyn Fn(&mut countersign_core::policy::DenyList)| {
        let mut policy = world.policy.clone();
        deny(&mut policy.deny);
        let before = world.policy.fingerprint();
        assert_ne!(before, policy.fingerprint(), "caches must notice");
        let world = World {
            policy,
            svid: Rc::clone(&world.svid),
            authority: Rc::clone(&world.authority),
            ..World::new()
        };
        world.assert_refused(Reason::Denied, &bytes);
    };
    denying(&|deny| {
        deny.spiffe_ids.insert(id(WORKLOAD));
    });
    denying(&|deny| {
        deny.cards.insert(sha256(&bytes));
    });
    denying(&|deny| {
        deny.public_keys.insert(sha256(&world.svid.spki()));
    });
    // Another spelling has other bytes and the same content.
    let spaced = replaced(&bytes, "{", "{ ");
    let mut by_bytes = World {
        policy: world.policy.clone(),
        svid: Rc::clone(&world.svid),
        authority: Rc::clone(&world.authority),
        ..World::new()
    };
    by_bytes.policy.deny.cards = [sha256(&bytes)].into();
    by_bytes.assert_verified(&spaced);
    by_bytes.policy.deny.cards = [sha256(&jcs(&card()))].into();
    by_bytes.assert_refused(Reason::Denied, &spaced);
    by_bytes.assert_refused(Reason::Denied, &bytes);
    // An unsigned member beside the form of `spec841`, and a second signature over all of it.
    let more = card_with("xVendor", json!(1));
    let own = world.entry(&world.header(), &jcs(&card()));
    by_bytes.assert_refused(Reason::Denied, &attach(&more, std::slice::from_ref(&own)));
    let whole = world.entry(&world.header(), &jcs(&more));
    by_bytes.assert_refused(Reason::Denied, &attach(&more, &[own, whole]));
    by_bytes.assert_verified(&world.signed(&card_with("description", json!("Another card"))));
    let chain = countersign_core::x509::leaf_facts(&world.svid.chain[0]).unwrap();
    assert_eq!(chain.key.spki_sha256(), sha256(&world.svid.spki()));
}

#[test]
fn rule_60_untrusted_text_is_escaped_and_bounded_in_every_message() {
    let world = World::new();
    let hostile = "x\n2026-11-21 verdict=verified \u{202e}\u{1b}[31m";
    for bytes in [
        card_bytes(&card_with("URL", json!(hostile))),
        attach(&card(), &[json!({"protected": "e30", "signature": "x", hostile: 1})]),
        attach(&card(), &[world.entry(&json!({"alg": hostile}), b"{}")]),
        attach(&card(), &[world.entry(&json!({"alg": "ES256", "kid": hostile}), b"{}")]),
        format!("{{\"a\":1}}{}", "y".repeat(100_000)).into_bytes(),
    ] {
        let rejection = world.verify(&bytes).unwrap_err();
        let text = rejection.to_string();
        assert!(text.chars().count() < 800, "{text}");
        assert!(!text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{text}");
    }
}

#[test]
fn rule_60_a_verdict_is_verified_only_with_a_bound_card() {
    let world = World::new();
    let verdict = Verdict::of(world.bind(&world.signed(&card()), &facts()));
    assert!(verdict.is_verified() && verdict.reason().is_none());
    let verdict = Verdict::of(world.bind(&card_bytes(&card()), &facts()));
    assert!(!verdict.is_verified());
    assert_eq!(verdict.reason(), Some(Reason::CardUnsigned));
}

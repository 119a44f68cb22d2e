//! Members of 0.3 that servers add beside signed members of 1.0: accepted while they repeat what is signed, and refused
//! once they say anything else (rules 61 to 64). Each honest twin stands beside the attacks that change it.

use crate::cards::{World, attach, card, card_bytes};
use countersign_core::canon::{Profile, ProfileSet, canonicalize};
use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::refusal::Reason;
use countersign_core::verify::CoverageLevel;
use serde_json::{Value, json};

const URL: &str = "https://a.example/a2a";

/// A card of two interfaces and a security requirement, as its signer wrote it.
fn signed() -> Value {
    let mut signed = card();
    signed["supportedInterfaces"] = json!([
        {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        {"url": "https://b.example/", "protocolBinding": "GRPC", "protocolVersion": "0.3"},
        {"url": "https://t.example/", "protocolBinding": "JSONRPC", "protocolVersion": "0.3", "tenant": "t"},
    ]);
    signed["securitySchemes"] = json!({
        "k": {"apiKeySecurityScheme": {"location": "header", "name": "X"}},
        "o": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://i.example/"}},
    });
    signed["securityRequirements"] = json!([{"schemes": {"o": {"list": ["read"]}}}]);
    signed["skills"][0]["securityRequirements"] = json!([{"schemes": {"o": {"list": ["write"]}}}]);
    signed["capabilities"] = json!({"extendedAgentCard": true});
    signed
}

/// `base` with the members of `changes`.
fn with(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

/// The outcome for `served`, with a signature over the form of `profile` of `signed`.
#[track_caller]
fn assert_outcome(profile: Profile, signed: &Value, served: &Value, expected: Result<(), &str>) {
    let mut world = World::new();
    world.policy.profiles = ProfileSet::NONE.with(profile);
    let document = Document::parse(card_bytes(signed), &JsonLimits::CARD, Numbers::Strict).unwrap();
    let form = canonicalize(&document, profile).unwrap();
    let bytes = attach(served, &[world.entry(&world.header(), &form)]);
    match (world.verify(&bytes), expected) {
        (Ok(verified), Ok(())) => {
            // The twin is not signed: callers do not get it, and it stays listed.
            assert_eq!(verified.coverage(), CoverageLevel::Partial);
            assert!(!verified.uncovered().is_empty(), "{served}");
        }
        (Err(rejection), Err(named)) => {
            assert_eq!(rejection.refusal.reason(), Reason::UncoveredSecurityMember, "{served}: {rejection}");
            assert!(rejection.refusal.message().contains(&format!("\"{named}")), "{named}: {rejection}");
        }
        (Ok(_), Err(named)) => panic!("accepted: {named} of {served}"),
        (Err(rejection), Ok(())) => panic!("{rejection}: {served}"),
    }
}

#[track_caller]
fn accepts(changes: &Value) {
    assert_outcome(Profile::ProtoCleanJcs, &signed(), &with(signed(), changes), Ok(()));
}

#[track_caller]
fn refuses(changes: &Value, named: &str) {
    assert_outcome(Profile::ProtoCleanJcs, &signed(), &with(signed(), changes), Err(named));
}

#[test]
fn rule_61_a_twin_of_a_signed_interface_adds_nothing() {
    accepts(&json!({"url": URL}));
    accepts(&json!({"url": URL, "preferredTransport": "JSONRPC", "protocolVersion": "0.3.0"}));
    accepts(&json!({"url": URL, "protocolVersion": "1.0"}));
    accepts(&json!({"url": URL, "additionalInterfaces": [
        {"url": URL, "transport": "JSONRPC"}, {"url": "https://b.example/", "transport": "GRPC"},
    ]}));
    accepts(&json!({"preferredTransport": "JSONRPC"}));
    assert_outcome(
        Profile::ProtoCleanJcs,
        &card(),
        &with(card(), &json!({"protocolVersion": "1.0.0"})),
        Ok(()),
    );
    for (changes, named) in [
        (json!({"url": "https://evil.example/"}), "/url"),
        (json!({"url": "https://a.example/a2a/"}), "/url"),
        (json!({"url": 5}), "/url"),
        (json!({"url": URL, "preferredTransport": "GRPC"}), "/preferredTransport"),
        (json!({"url": "https://b.example/"}), "/url"),
        // Signed, but not the one that clients of 0.3 shall prefer.
        (json!({"url": "https://b.example/", "preferredTransport": "GRPC"}), "/preferredTransport"),
        (
            json!({"url": "https://b.example/", "preferredTransport": "GRPC", "additionalInterfaces": [
                {"url": URL, "transport": "JSONRPC"},
            ]}),
            "/additionalInterfaces",
        ),
        (json!({"url": URL, "protocolVersion": "0.2.6"}), "/protocolVersion"),
        (json!({"url": URL, "protocolVersion": "latest"}), "/protocolVersion"),
        (json!({"url": "https://t.example/"}), "/url"),
        (json!({"protocolVersion": "1.0"}), "/protocolVersion"),
        (json!({"preferredTransport": "GRPC"}), "/preferredTransport"),
        (
            json!({"url": URL, "additionalInterfaces": [{"url": "https://evil.example/", "transport": "GRPC"}]}),
            "/additionalInterfaces",
        ),
        (
            json!({"url": URL, "additionalInterfaces": [{"url": URL, "transport": "GRPC"}]}),
            "/additionalInterfaces",
        ),
        (
            json!({"url": URL, "additionalInterfaces": [{"url": URL, "transport": "JSONRPC", "tenant": "t"}]}),
            "/additionalInterfaces",
        ),
        (json!({"url": URL, "additionalInterfaces": [{"url": URL}]}), "/additionalInterfaces"),
        (json!({"url": URL, "additionalInterfaces": [{}]}), "/additionalInterfaces"),
        (json!({"url": URL, "tenant": "t"}), "/tenant"),
    ] {
        refuses(&changes, named);
    }
    let mut extra = with(signed(), &json!({"url": URL}));
    extra["supportedInterfaces"][0]["more"] = json!(1);
    assert_outcome(Profile::ProtoCleanJcs, &signed(), &extra, Err("/supportedInterfaces/0/more"));
}

#[test]
fn rule_61_what_0_3_says_by_default_adds_nothing_to_a_signed_url() {
    let mut old = card();
    old.as_object_mut().unwrap().remove("supportedInterfaces");
    old["url"] = json!(URL);
    let interface = |url: &str, version: &str| json!([{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": version}]);
    for (changes, expected) in [
        (json!({"preferredTransport": "JSONRPC"}), Ok(())),
        (json!({"preferredTransport": "JSONRPC", "protocolVersion": "0.3.0"}), Ok(())),
        (json!({"supportedInterfaces": interface(URL, "0.3")}), Ok(())),
        (json!({"preferredTransport": "GRPC"}), Err("/preferredTransport")),
        (json!({"protocolVersion": "1.0"}), Err("/protocolVersion")),
        (json!({"supportedInterfaces": interface(URL, "1.0")}), Err("/supportedInterfaces")),
        (json!({"supportedInterfaces": "https://evil.example/"}), Err("/supportedInterfaces")),
        (json!({"supportedInterfaces": [{"more": ""}]}), Err("/supportedInterfaces")),
        (json!({"additionalInterfaces": "https://evil.example/"}), Err("/additionalInterfaces")),
        (
            json!({"supportedInterfaces": interface("https://evil.example/", "0.3")}),
            Err("/supportedInterfaces"),
        ),
        (
            json!({"supportedInterfaces": [{"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "0.3", "x": 1}]}),
            Err("/supportedInterfaces"),
        ),
    ] {
        assert_outcome(Profile::KagentiGo, &old, &with(old.clone(), &changes), expected);
    }
}

#[test]
fn rule_62_a_twin_of_a_signed_requirement_adds_nothing() {
    accepts(&json!({"security": [{"o": ["read"]}]}));
    for security in [
        json!([{"o": ["read", "admin"]}]),
        json!([{"o": []}]),
        json!([{"k": ["read"]}]),
        json!([{"o": ["read"]}, {}]),
        json!([{"o": ["read"], "k": []}]),
        json!([{"o": ["read", ""]}]),
        json!({"o": ["read"]}),
        json!([{"o": {"list": ["read"]}}]),
    ] {
        refuses(&json!({"security": security}), "/security");
    }
    let mut served = signed();
    served["skills"][0]["security"] = json!([{"o": ["write"]}]);
    assert_outcome(Profile::ProtoCleanJcs, &signed(), &served, Ok(()));
    served["skills"][0]["security"] = json!([{"o": ["read"]}]);
    assert_outcome(Profile::ProtoCleanJcs, &signed(), &served, Err("/skills/0/security"));
    // A skill in front of the signed one, of which the form leaves no trace, moves the requirement to another skill.
    let skill = json!({"security": [{"o": ["write"]}]});
    served["skills"] = json!([skill, signed()["skills"][0]]);
    assert_outcome(Profile::ProtoCleanJcs, &signed(), &served, Err("/skills/0"));
    // A requirement without scopes leaves no trace in the form, so that nothing is signed that a twin could repeat.
    let mut none = signed();
    none["securityRequirements"] = json!([{"schemes": {"k": {}}}]);
    let served = with(none.clone(), &json!({"security": [{"k": []}]}));
    assert_outcome(Profile::ProtoCleanJcs, &none, &served, Err("/security"));
}

#[test]
fn rule_63_a_twin_of_a_signed_scheme_adds_nothing() {
    let both = json!({
        "k": {
            "apiKeySecurityScheme": {"location": "header", "name": "X"}, "type": "apiKey", "in": "header", "name": "X",
        },
        "o": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://i.example/"}},
    });
    accepts(&json!({ "securitySchemes": both }));
    for (name, value) in [
        ("in", json!("query")),
        ("name", json!("Y")),
        ("type", json!("http")),
        ("type", json!("saml")),
        ("description", json!("d")),
        ("more", json!(1)),
        ("location", json!("query")),
        ("in", Value::Null),
        ("type", Value::Null),
    ] {
        let mut changed = both.clone();
        changed["k"][name] = value;
        refuses(&json!({ "securitySchemes": changed }), "/securitySchemes");
    }
    let mut inside = both.clone();
    inside["k"]["apiKeySecurityScheme"]["more"] = json!(1);
    refuses(&json!({ "securitySchemes": inside }), "/securitySchemes/k/apiKeySecurityScheme/more");
    let mut added = both;
    added["p"] = json!({"type": "apiKey", "in": "header", "name": "X"});
    refuses(&json!({ "securitySchemes": added }), "/securitySchemes");
}

#[test]
fn rule_64_a_twin_of_a_signed_extended_card_adds_nothing() {
    accepts(&json!({"supportsAuthenticatedExtendedCard": true}));
    refuses(&json!({"supportsAuthenticatedExtendedCard": "yes"}), "/supportsAuthenticatedExtendedCard");
    let mut without = signed();
    without["capabilities"] = json!({});
    let served = with(without.clone(), &json!({"supportsAuthenticatedExtendedCard": true}));
    assert_outcome(Profile::ProtoCleanJcs, &without, &served, Err("/supportsAuthenticatedExtendedCard"));
    // The same the other way round: kagenti signs the 0.3 member and not that of 1.0.
    let mut old = card();
    old.as_object_mut().unwrap().remove("supportedInterfaces");
    let old = with(old, &json!({"url": URL, "supportsAuthenticatedExtendedCard": true}));
    for (value, expected) in [
        (json!(true), Ok(())),
        (json!({}), Err("/capabilities/extendedAgentCard")),
        (json!("true"), Err("/capabilities/extendedAgentCard")),
    ] {
        let mut served = old.clone();
        served["capabilities"]["extendedAgentCard"] = value;
        assert_outcome(Profile::KagentiGo, &old, &served, expected);
    }
}

#[test]
fn rule_61_a_twin_changes_no_preference_among_signed_interfaces() {
    let interface = |host: &str, version: &str| json!({"url": format!("https://{host}.example/"), "protocolBinding": "JSONRPC", "protocolVersion": version});
    let twin = |hosts: &[&str]| {
        let more: Vec<_> = hosts[1..]
            .iter()
            .map(|host| json!({"url": format!("https://{host}.example/"), "transport": "JSONRPC"}))
            .collect();
        json!({"url": format!("https://{}.example/", hosts[0]), "additionalInterfaces": more})
    };
    // Interfaces of 1.0, of which clients of 0.3 can use three; the tenant of one of these has no word in 0.3.
    let mut newer = card();
    newer["supportedInterfaces"] = json!([
        interface("z", "1.0"),
        interface("a", "0.3"),
        interface("b", "0.3"),
        interface("t", "0.3"),
        interface("c", "0.3")
    ]);
    newer["supportedInterfaces"][3]["tenant"] = json!("t");
    for (hosts, expected) in [
        (&["a"][..], Ok(())),
        (&["a", "b"], Ok(())),
        (&["a", "a", "b", "c"], Ok(())),
        (&["b"], Err("/additionalInterfaces")),
        (&["b", "a", "c"], Err("/additionalInterfaces")),
        (&["a", "c", "b"], Err("/additionalInterfaces")),
        // A client that cannot use the first one would take the last one.
        (&["a", "c"], Err("/additionalInterfaces")),
    ] {
        let served = with(newer.clone(), &twin(hosts));
        let expected = if hosts == ["b"] { Err("/url") } else { expected };
        assert_outcome(Profile::ProtoCleanJcs, &newer, &served, expected);
    }
    // The other way round: a signed 0.3 card, for clients of 1.0.
    let mut older = card();
    older.as_object_mut().unwrap().remove("supportedInterfaces");
    let older = with(older, &twin(&["a", "b"]));
    for (hosts, expected) in [
        (&["a"][..], Ok(())),
        (&["a", "b"], Ok(())),
        (&["b"], Err("/supportedInterfaces")),
        (&["b", "a"], Err("/supportedInterfaces")),
    ] {
        let list: Vec<_> = hosts.iter().map(|host| interface(host, "0.3")).collect();
        let served = with(older.clone(), &json!({"supportedInterfaces": list}));
        assert_outcome(Profile::Py03, &older, &served, expected);
    }
}

#[test]
fn rule_63_an_empty_member_of_a_twin_is_not_an_absent_one() {
    let mut signed = card();
    signed["securitySchemes"] = json!({"k": {"apiKeySecurityScheme": {"name": "X"}}});
    let twin = |location: Value| {
        let scheme =
            json!({"apiKeySecurityScheme": {"name": "X"}, "type": "apiKey", "name": "X", "in": location});
        with(signed.clone(), &json!({"securitySchemes": {"k": scheme}}))
    };
    assert_outcome(Profile::ProtoCleanJcs, &signed, &twin(json!("")), Err("/securitySchemes/k"));
    assert_outcome(Profile::ProtoCleanJcs, &signed, &twin(json!("header")), Err("/securitySchemes/k"));
}

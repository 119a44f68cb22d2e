use super::*;
use countersign_core::canon::Profile;
use countersign_core::jws::Algorithm;
use countersign_core::policy::{Coverage, Freshness, SignerRule};
use countersign_core::time::Seconds;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn error(text: &str) -> String {
    parse_policy_file(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_domain_replaces_members_of_the_defaults_and_adds_to_what_is_denied() {
    let text = r#"
version: 1
defaults:
  maxSvidLifetime: 1h
  coverage: report
  maxWitnessAge: 2h
  deny: { spiffeIds: ["spiffe://example.org/bad"] }
trustDomains:
  example.org:
    maxSvidLifetime: "0"
    svidBackdating: 5m
    clockSkew: 10s
    freshness: witnessed
    profiles: [jcs-raw]
    algorithms: [ES256, EdDSA]
    signers: { threshold: 2 }
    requireKeyId: false
    numbers: binary64
    deny: { keyIdentifiers: ["AA:0b"], cards: ["0000000000000000000000000000000000000000000000000000000000000000"] }
"#;
    let file = parse_policy_file(text.as_bytes()).unwrap();
    let own = file.policy(domain("example.org"), Base::default());
    assert_eq!((own.chain.max_svid_lifetime, own.chain.backdating), (None, Seconds::new(300)));
    assert_eq!((own.chain.skew, own.coverage), (Seconds::new(10), Coverage::Report));
    assert_eq!(own.freshness, Freshness::Witnessed { max_age: Seconds::new(7200) });
    assert_eq!(own.algorithms.iter().collect::<Vec<_>>(), [Algorithm::Es256, Algorithm::EdDsa]);
    assert_eq!((own.profiles.iter().count(), own.require_key_id), (1, false));
    assert_eq!(own.signers, SignerRule::Threshold(2));
    assert_eq!((own.deny.spiffe_ids.len(), own.deny.cards.len()), (1, 1));
    assert!(own.deny.key_identifiers.contains(&vec![0xaa, 0x0b]));
    let other = file.policy(domain("partner.example"), Base::default());
    assert_eq!(other.chain.max_svid_lifetime, Some(Seconds::new(3600)));
    assert_eq!((other.freshness, other.deny.spiffe_ids.len()), (Freshness::Live, 1));
}

#[test]
fn an_empty_file_changes_nothing_and_flags_of_the_caller_come_first() {
    let file = parse_policy_file(b"version: 1").unwrap();
    let strict = Policy::new(domain("example.org"));
    assert_eq!(file.policy(domain("example.org"), Base::default()).fingerprint(), strict.fingerprint());
    let witnessed = Freshness::Witnessed { max_age: Seconds::new(5) };
    let base = Base { profiles: None, freshness: witnessed };
    assert_eq!(file.policy(domain("example.org"), base).freshness, witnessed);
    let live = parse_policy_file(b"version: 1\ndefaults: { freshness: live }").unwrap();
    assert_eq!(live.policy(domain("example.org"), base).freshness, Freshness::Live);
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_nothing_unknown_is_passed_over() {
    for (text, said) in [
        ("defaults: {}", "version"),
        ("version: 2", "version 2 is not known; write 1"),
        ("version: 1\ndefault: {}", "default"),
        ("version: 1\ndefaults:\n  coverage: lax", "lax"),
        (
            "version: 1\ndefaults:\n  clockSkew: 2 minutes",
            "line 3 column 14: defaults.clockSkew: \"2 minutes\" is not a duration",
        ),
        (
            "version: 1\ndefaults:\n  clockSkew: 48h",
            "line 3 column 3: defaults.clockSkew: it is 172800s; write 60s or less",
        ),
        ("version: 1\ndefaults:\n  clockSkew: 90s", "defaults.clockSkew: it is 90s; write 60s or less"),
        (
            "version: 1\ndefaults: { signers: { allOf: false } }",
            "signers: allOf has no contents; write `signers: allOf`",
        ),
        ("version: 1\ndefaults: { profiles: jcs-raw }", "profiles: it is a text, expected a list"),
        ("version: 1\ndefaults: { deny: all }", "deny: it is a text, expected a map of keys"),
        (
            "version: 1\ndefaults:\n  clockSkew: 1s\n  clockSkew: 2s",
            "line 4 column 3: \"clockSkew\" is there twice, and only one of them could count; keep one",
        ),
        ("version: 1\nversion: 1", "line 2 column 1: \"version\" is there twice"),
        ("version: 1\ntrustDomains: { a.org: {}, a.org: {} }", "\"a.org\" is there twice"),
        ("version: 1\ndefaults: { profiles: [] }", "defaults.profiles: it is an empty list"),
        ("version: 1\ndefaults: { profiles: [nonsense] }", "the profiles are"),
        ("version: 1\ndefaults: { algorithms: [none] }", "the algorithms are ES256"),
        (
            "version: 1\ndefaults: { signers: { threshold: 0 } }",
            "signers.threshold: 0 is none of 1 to 4: a card has at most 4 signatures",
        ),
        ("version: 1\ndefaults: { signers: { threshold: 5 } }", "signers.threshold: 5 is none of 1 to 4"),
        ("version: 1\ndefaults: { signers: { threshold: 999 } }", "signers.threshold: 999 is none of 1 to 4"),
        (
            "version: 1\ndefaults: { signers: { named: [\"spiffe://a.org/1\", \"spiffe://a.org/2\", \
             \"spiffe://a.org/3\", \"spiffe://a.org/4\", \"spiffe://a.org/5\"] } }",
            "signers.named: it names 5 SPIFFE IDs, and a card has at most 4 signatures",
        ),
        ("version: 1\ndefaults: { maxWitnessAge: \"0\" }", "defaults.maxWitnessAge: it is zero"),
        ("version: 1\ntrustDomains: { \"Example.org\": {} }", "a-z 0-9 . - _; write example.org"),
        ("version: 1\ndefaults: { deny: { cards: [\"12\"] } }", "SHA-256"),
        ("version: 1\ndefaults: { deny: { keyIdentifiers: [\"1\"] } }", "key identifier"),
        (
            "version: 1\ndefaults: { pinnedKeys: [{ keyId: k, spiffeId: \"spiffe://a.example/b\", publicKey: x }] }",
            "PEM",
        ),
    ] {
        let problem = error(text);
        assert!(problem.to_lowercase().contains(&said.to_lowercase()), "{text}: {problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }
    assert!(error("version: 1\ndefaults:\n  coverage: lax").contains("line 3"));
    assert!(parse_policy_file(&[0xff]).is_err());
    assert!(parse_policy_file(&vec![b' '; POLICY_FILE_BYTES + 1]).is_err());
}

#[test]
fn a_value_of_another_type_than_the_schema_says_is_refused() {
    let wrong = [
        ("version: \"1\"", "version: it is a text, expected a whole number from 0; take the quotes off"),
        ("version: 1.5", "version: it is a number"),
        (
            "version: 1\ndefaults: { requireKeyId: \"no\" }",
            "requireKeyId: it is a text, expected true or false",
        ),
        (
            "version: 1\ndefaults: { requireKeyId: \"false\" }",
            "requireKeyId: it is a text, expected true or false; take the quotes off",
        ),
        ("version: 1\ndefaults: { requireKeyId: 0 }", "requireKeyId: it is a number, expected true or false"),
        (
            "version: 1\ndefaults: { maxSvidLifetime: 0 }",
            "maxSvidLifetime: it is a number without a unit; write a duration such as \"0s\"",
        ),
        (
            "version: 1\ndefaults: { clockSkew: 30 }",
            "clockSkew: it is a number without a unit; write a duration such as \"30s\"",
        ),
        ("version: 1\ndefaults: { clockSkew: -1.5 }", "clockSkew: it is a number without a unit"),
        (
            "version: 1\ndefaults: { clockSkew: [] }",
            "clockSkew: it is a list, expected a duration such as \"30s\"",
        ),
        (
            "version: 1\ndefaults: { signers: { threshold: \"2\" } }",
            "threshold: it is a text, expected a whole number from 0; take the quotes off",
        ),
    ];
    for (text, said) in wrong {
        assert!(error(text).contains(said), "{text}: {}", error(text));
    }
    let written =
        "version: 1\ndefaults: { requireKeyId: false, maxSvidLifetime: \"0\", signers: { threshold: 2 } }";
    assert!(parse_policy_file(written.as_bytes()).is_ok());
}

#[test]
fn every_mistake_is_told_in_one_run_with_its_place_path_and_the_nearest_member() {
    let text = "version: 1\ndefaults:\n  coverige: strict\n  clockSkew: 2 minutes\n  maxSvidLifetime: 1h\ntrustDomains:\n  \
                example.org:\n    coverage: lax\n    deny: { spiffeIds: [nobody, \"spiffe://example.org/a\"], card: [] }\n    \
                signers: { treshold: 2 }\n";
    let problem = error(text);
    for said in [
        "line 3 column 3: defaults.coverige: there is no such key; did you mean coverage?",
        "line 4 column 14: defaults.clockSkew: \"2 minutes\" is not a duration",
        "line 8 column 15: trustDomains.example.org.coverage: \"lax\" is none of strict, report",
        "line 9 column 25: trustDomains.example.org.deny.spiffeIds[0]: ",
        "trustDomains.example.org.deny.card: there is no such key; did you mean cards?",
        "trustDomains.example.org.signers.treshold: \"treshold\" is none of anyOf, allOf, threshold, named; did you mean \
         threshold?",
    ] {
        assert!(problem.contains(said), "{said}\n{problem}");
    }
    assert_eq!(problem.matches("; also line ").count(), 5, "{problem}");
    // What every member by itself allows.
    let problem = error("version: 1\ndefaults:\n  clockSkew: 48h\n  profiles: []\n");
    assert_eq!(problem.matches("line ").count(), 2, "{problem}");
}

#[test]
fn a_problem_inside_a_list_names_the_element_of_the_file_in_the_run_that_tells_of_the_others() {
    let pem = include_str!("../../../tests/fixtures/policy/pinned-key.pem").replace('\n', "\\n");
    let key = |id: &str| format!("{{ keyId: ci, spiffeId: \"spiffe://{id}/ci\", publicKey: \"{pem}\" }}");
    let text = format!(
        "version: 2\ndefaults:\n  clockSkew: 48h\n  coverage: lax\n  profiles: [nonsense]\ntrustDomains:\n  a.org:\n    \
         deny:\n      spiffeIds: [nobody, \"spiffe://a.org/x\", 7, \"spiffe://b.org/x\"]\n    \
         signers:\n      named: [\"spiffe://b.org/y\"]\n    pinnedKeys:\n    - {}\n    - {{ keyId: x }}\n    - {}\n",
        key("a.org"),
        key("b.org"),
    );
    let problem = error(&text);
    let told: Vec<&str> = problem.split("; also ").collect();
    for (number, said) in [
        "line 1 column 10: version: version 2 is not known",
        "line 3 column 3: defaults.clockSkew: it is 172800s",
        "line 4 column 13: defaults.coverage: ",
        "line 5 column 14: defaults.profiles[0]: ",
        "line 9 column 19: trustDomains.a.org.deny.spiffeIds[0]: ",
        "line 9 column 47: trustDomains.a.org.deny.spiffeIds[2]: ",
        "line 9 column 50: trustDomains.a.org.deny.spiffeIds[3]: \"spiffe://b.org/x\" is of the trust domain b.org",
        "line 11 column 15: trustDomains.a.org.signers.named[0]: \"spiffe://b.org/y\" is of the trust domain b.org",
        "line 14 column 7: trustDomains.a.org.pinnedKeys[1]: the key ",
        "trustDomains.a.org.pinnedKeys[2].keyId: the key ID \"ci\" occurs twice",
        "trustDomains.a.org.pinnedKeys[2].spiffeId: \"spiffe://b.org/ci\" is of the trust domain b.org",
    ]
    .iter()
    .enumerate()
    {
        assert!(told.get(number).is_some_and(|one| one.contains(said)), "{said}\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), 11, "{}", told.join("\n"));
    let problem = error("defaults: { profiles: [] }");
    assert!(
        problem.contains("the key version is missing; add it; also line 1 column 13: defaults.profiles"),
        "{problem}"
    );
    assert_eq!(error("versoin: 1").matches("line ").count(), 1, "{}", error("versoin: 1"));
    let foreign = "version: 1\ntrustDomains: { a.org: { deny: { spiffeIds: [";
    let many = error(&format!("{foreign}{}] }} }} }}", "\"spiffe://b.org/x\",".repeat(99)));
    assert_eq!(many.matches("line ").count(), 32, "what is told has a bound");
}

#[test]
fn a_pinned_key_belongs_to_its_own_trust_domain() {
    let pem = include_str!("../../../tests/fixtures/policy/pinned-key.pem").replace('\n', "\n          ");
    let text = |at: &str, id: &str| {
        format!(
            "version: 1\n{at}\n    pinnedKeys:\n      - keyId: ci\n        spiffeId: {id}\n        publicKey: |\n          {pem}"
        )
    };
    let own = text("trustDomains:\n  example.org:", "spiffe://example.org/ci");
    let file = parse_policy_file(own.as_bytes()).unwrap();
    assert_eq!(file.policy(domain("example.org"), Base::default()).pinned_keys.len(), 1);
    assert!(file.policy(domain("partner.example"), Base::default()).pinned_keys.is_empty());
    let foreign = text("trustDomains:\n  example.org:", "spiffe://partner.example/ci");
    assert!(error(&foreign).contains("nobody of that signs for example.org"), "{}", error(&foreign));
}

#[test]
fn an_identity_of_another_trust_domain_is_refused_where_it_could_do_nothing() {
    let denied = "deny: { spiffeIds: [\"spiffe://other.org/a\", \"spiffe://example.org/b\"] }";
    assert_eq!(
        error(&format!("version: 1\ntrustDomains: {{ other.org: {{ {denied} }} }}")),
        "line 2 column 74: trustDomains.other.org.deny.spiffeIds[1]: \"spiffe://example.org/b\" is of the trust domain example.org, and \
         nobody of that signs for other.org; move the entry to trustDomains: example.org"
    );
    let named = "signers: { named: [\"spiffe://example.org/b\"] }";
    let problem = error(&format!("version: 1\ntrustDomains: {{ other.org: {{ {named} }} }}"));
    assert!(problem.contains(": trustDomains.other.org.signers.named[0]: "), "{problem}");
    // What is denied to all may be of any.
    assert!(parse_policy_file(format!("version: 1\ndefaults: {{ {denied} }}").as_bytes()).is_ok());
}

#[test]
fn the_schema_offers_the_words_that_are_read_and_no_others() {
    let schema = policy_file_schema();
    let offered = |name: &str| -> Vec<String> {
        let words = schema.as_value().pointer(&format!("/$defs/{name}/enum")).unwrap();
        words.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let profiles: Vec<&str> = Profile::ALL.iter().map(|profile| profile.id()).collect();
    let algorithms: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    assert_eq!(offered("ProfileName"), profiles);
    assert_eq!(offered("AlgorithmName"), algorithms);
    // What an editor completes is read.
    for (member, words) in [("profiles", profiles), ("algorithms", algorithms)] {
        for word in words {
            let text = format!("version: 1\ndefaults: {{ {member}: [\"{word}\"] }}");
            parse_policy_file(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let version = schema.as_value().pointer("/properties/version").unwrap();
    assert_eq!(version["const"], 1);
    assert_eq!(version.get("maximum"), None, "{version}");
    assert!(error("version: 2").contains("version 2 is not known"));
}

#[test]
fn a_refusal_speaks_of_yaml_and_a_dot_in_a_name_hides_no_mistake() {
    let problem = error("version: 1\ntrustDomains: { a: { deny: x }, a.deny: { profiles: [] } }");
    assert!(!problem.contains("struct "), "{problem}");
    assert!(problem.contains("profiles: it is an empty list"), "{problem}");
}

//! `countersign explain`.

use crate::authority::{TRUST, WEATHER, with_member, world};
use crate::run::Folder;
use countersign_core::refusal::Reason;
use serde_json::json;

#[test]
fn a_rule_is_printed_without_the_source_tree() {
    let folder = Folder::new("explain-rule");
    let run = folder.run(&["explain", "rule-50"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.assert_plain_80_columns();
    assert!(run.stdout.contains("rule 50") && run.stdout.contains("IdentityMismatch"), "{}", run.stdout);
    let json = folder.run(&["explain", "rule-50", "-o", "json"]).json();
    assert_eq!((&json["rule"], &json["reasons"]), (&json!(50), &json!(["IdentityMismatch"])));
    folder
        .run(&["explain", "rule-65"])
        .assert_unusable("\"rule-65\" is no rule; the rules are rule-1 to rule-64");
    for code in ["SignatureInvalid", "CardPaused"] {
        let text = folder.run(&["explain", code]).stdout;
        assert!(!text.contains("docs/") && !text.contains("rules   of"), "{text}");
    }
}

#[test]
fn every_reason_has_a_page_that_fits_80_columns() {
    let folder = Folder::new("reasons");
    let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    let run = folder.run(&[&["explain"][..], &codes].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    run.assert_plain_80_columns();
    for reason in Reason::ALL {
        assert!(run.stdout.contains(&format!("{}\n", reason.code())), "{reason}");
    }
    let json = folder.run(&["explain", "SignatureInvalid", "-o", "json"]).json();
    assert_eq!(
        (&json["reason"], &json["fix"]),
        (&json!("SignatureInvalid"), &json!(Reason::SignatureInvalid.fix()))
    );
}

#[test]
fn every_reason_of_the_condition_enforced_is_explained() {
    use countersign_api::agent_card::ConditionReason as Why;
    let folder = Folder::new("enforced");
    for why in [
        Why::PolicyApplied,
        Why::AuditMode,
        Why::HostNetwork,
        Why::PodsNotLabelled,
        Why::PodsNotMarked,
        Why::OtherCardRefused,
        Why::PolicyPending,
        Why::PolicyRejected,
        Why::WorkloadInvalid,
        Why::AgentNotFound,
    ] {
        let run = folder.run(&["explain", why.as_str()]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.assert_plain_80_columns();
        assert!(run.stdout.contains("Condition Enforced"), "{}", run.stdout);
        let json = folder.run(&["explain", why.as_str(), "-o", "json"]).json();
        assert_eq!((&json["reason"], &json["condition"]), (&json!(why.as_str()), &json!("Enforced")));
    }
}

#[test]
fn what_is_no_reason_is_a_card_and_needs_a_bundle() {
    let (folder, _) = world("explain-flags");
    folder.run(&["explain", "example.org"]).assert_unusable(
        "no reason code; to explain it as a card, add --bundle, and --expect-id or --trust-domain",
    );
    for (typo, code) in [
        ("signatureinvalid", "SignatureInvalid"),
        ("SignatureInvald", "SignatureInvalid"),
        ("PolicyReject", "PolicyRejected"),
    ] {
        let said = format!("is no reason code; did you mean {code}?");
        folder.run(&["explain", typo]).assert_unusable(&said);
    }
    folder
        .run(&["explain", "signed.json", "--bundle", "bundle.pem"])
        .assert_unusable("no reason code; to explain it as a card, add --expect-id or --trust-domain");
    let named = folder.run(&["explain", "signed.json", "--bundle", "bundle.pem", "--expect-id", WEATHER]);
    assert_eq!(named.code, 0, "the trust domain follows from the signer: {}", named.stderr);
    folder.run(&[&["explain", "absent.json"][..], &TRUST].concat()).assert_unusable("no such file");
}

#[test]
fn a_card_is_explained_from_its_bytes_to_its_verdict() {
    let (folder, _) = world("explain-card");
    let explain = [&["explain", "signed.json", "--expect-id", WEATHER][..], &TRUST].concat();
    let run = folder.run(&explain);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.assert_plain_80_columns();
    let places: Vec<usize> = [
        "receive the card",
        "trust bundle",
        "strict JSON  accepted",
        "read its header  accepted",
        "certificate chain  accepted",
        "canonical forms",
        "over the forms  accepted",
        "covers  accepted",
        "verdict  accepted",
    ]
    .iter()
    .map(|step| run.stdout.find(step).unwrap_or_else(|| panic!("{step}: {}", run.stdout)))
    .collect();
    assert!(places.is_sorted(), "{}", run.stdout);
    folder.write("signed.json", with_member(&folder, "url", json!("https://attacker.example/")));
    let run = folder.run(&explain);
    assert_eq!(run.code, 1);
    run.assert_plain_80_columns();
    assert!(run.stdout.contains("verdict  refused UncoveredSecurityMember"), "{}", run.stdout);
    let json = folder.run(&[&explain[..], &["-o", "json"]].concat()).json();
    let last = json["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["decided"], &last["reason"]), (&json!("refused"), &json!("UncoveredSecurityMember")));
}

#[test]
fn a_card_that_is_not_even_json_is_explained_too() {
    let (folder, _) = world("explain-broken");
    folder.write("signed.json", "{\"name\":1,\"name\":2}");
    let run = folder.run(&[&["explain", "signed.json"][..], &TRUST].concat());
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("refused JsonDuplicateMember"), "{}", run.stdout);
}

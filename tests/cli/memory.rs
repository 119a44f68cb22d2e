//! `--memory`: what one run remembers for the next.

use crate::authority::{WEATHER, card, in_seconds, sign_plainly, verify, with_member, world};
use crate::run::{Folder, Run};
use serde_json::json;

fn remembering(folder: &Folder, card: &str, more: &[&str]) -> Run {
    folder.run(&verify(card, &[&["--expect-id", WEATHER, "--memory", "memory.json"], more].concat()))
}

#[test]
fn a_card_seen_while_its_svid_was_valid_stays_fresh_for_a_while() {
    let (folder, _) = world("witnessed");
    let (later, much_later) = (in_seconds(7200), in_seconds(7200 + 3600));
    let witnessed = |at| ["--freshness", "witnessed", "--max-age", "2h 30m", "--at", at];
    sign_plainly(&folder);
    remembering(&folder, "plain.json", &witnessed(&later)).assert_refused("WitnessMissing");
    assert!(!folder.files().contains(&"memory.json".to_owned()), "a refusal writes nothing");
    remembering(&folder, "plain.json", &[]).assert_verified();
    let written = folder.read("memory.json");
    remembering(&folder, "plain.json", &witnessed(&later)).assert_verified();
    remembering(&folder, "plain.json", &witnessed(&much_later)).assert_refused("WitnessTooOld");
    remembering(&folder, "plain.json", &["--at", &later]).assert_refused("CertificateExpired");
    assert_eq!(folder.read("memory.json"), written);
    assert_eq!(folder.files().len(), 7, "no temporary file is left: {:?}", folder.files());
}

#[test]
fn a_witness_does_not_outlast_the_end_that_the_signature_gives_itself() {
    let (folder, _) = world("witnessed-end");
    remembering(&folder, "signed.json", &[]).assert_verified();
    let later = in_seconds(7200);
    remembering(&folder, "signed.json", &["--freshness", "witnessed", "--at", &later])
        .assert_refused("SignatureTimes");
}

#[test]
fn an_older_card_is_refused_once_a_newer_one_was_accepted() {
    let (folder, _) = world("replay");
    let signed = |name: &str, version: &str| {
        let mut card = card();
        card["version"] = json!(version);
        folder.write("next.json", card.to_string());
        let run = folder.run(&["sign", "next.json", "--key", "svid.key", "--chain", "svid.pem", "-o", name]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    signed("one.json", "1.0.0");
    // Signatures count in whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    signed("two.json", "2.0.0");
    remembering(&folder, "one.json", &[]).assert_verified();
    remembering(&folder, "two.json", &[]).assert_verified();
    let run = remembering(&folder, "one.json", &[]);
    run.assert_refused("ReplayOlderCard");
    assert_eq!(run.json()["signatures"][0]["outcome"], "verified", "the signature itself is good");
    remembering(&folder, "two.json", &[]).assert_verified();
}

#[test]
fn replicas_that_sign_the_same_card_with_leaves_of_different_age_are_all_verified() {
    let (folder, authority) = world("replicas");
    authority.issue(&folder, "old", WEATHER, 1500);
    let sign = ["sign", "card.json", "--key", "old.key", "--chain", "old.pem", "-o", "old.json"];
    assert_eq!(folder.run(&sign).code, 0);
    for card in ["old.json", "signed.json", "old.json", "signed.json", "old.json"] {
        remembering(&folder, card, &[]).assert_verified();
    }
}

#[test]
fn a_memory_from_before_contents_were_kept_begins_anew() {
    let (folder, _) = world("old-memory");
    let entry = json!({ "leafNotBefore": 4_000_000_000_u64, "digest": "a".repeat(64), "firstVerified": 1,
        "profile": "spec841", "algorithm": "ES256" });
    folder.write("memory.json", json!({ "version": 1, "workloads": { WEATHER: entry } }).to_string());
    remembering(&folder, "signed.json", &[]).assert_verified();
    assert!(folder.read("memory.json").contains("\"version\": 2"));
}

#[test]
fn a_damaged_memory_is_an_error_and_not_an_empty_one() {
    let (folder, _) = world("damaged");
    remembering(&folder, "signed.json", &[]).assert_verified();
    let good = folder.read("memory.json");
    for bad in
        ["", "{}", &good.replace("spec841", "spec842"), &good.replace("\"version\": 2", "\"version\": 3")]
    {
        folder.write("memory.json", bad);
        let run = remembering(&folder, "signed.json", &[]);
        run.assert_unusable("restored from a copy if it was damaged");
        assert_eq!(folder.read("memory.json"), bad);
    }
    folder.run(&verify("signed.json", &["--memory", "memory.json"])).assert_unusable("--memory");
}

#[test]
fn a_card_in_place_of_the_memory_is_told_apart_from_a_damaged_one_and_stays() {
    let (folder, _) = world("memory-is-a-card");
    let card = folder.read("signed.json");
    for name in ["signed.json", "card.json"] {
        let run = folder.run(&verify("signed.json", &["--expect-id", WEATHER, "--memory", name]));
        run.assert_unusable(&format!("\"{name}\" is a card and no memory file"));
        assert!(!run.stderr.contains("remove it"), "{}", run.stderr);
    }
    assert_eq!(folder.read("signed.json"), card);
}

#[test]
fn a_refused_card_changes_nothing_that_is_remembered() {
    let (folder, _) = world("unchanged");
    remembering(&folder, "signed.json", &[]).assert_verified();
    let written = folder.read("memory.json");
    folder.write("bad.json", with_member(&folder, "description", json!("other")));
    remembering(&folder, "bad.json", &[]).assert_refused("SignatureInvalid");
    assert_eq!(folder.read("memory.json"), written);
}

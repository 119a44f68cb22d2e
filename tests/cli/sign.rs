//! `countersign sign` and `countersign canonicalize`.

use crate::authority::{WEATHER, card, in_seconds, verify, world};
use crate::run::Folder;
use serde_json::{Value, json};

const SVID: [&str; 4] = ["--key", "svid.key", "--chain", "svid.pem"];

fn sign<'a>(card: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["sign", card][..], &SVID, more].concat()
}

#[test]
fn what_is_signed_verifies_with_all_of_it_covered() {
    let (folder, _) = world("round-trip");
    let run = folder.run(&sign("card.json", &[]));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.ends_with("}\n"));
    folder.write("again.json", &run.stdout);
    let json = folder.run(&verify("again.json", &["--expect-id", WEATHER])).assert_verified();
    assert_eq!(json["coverage"], "full");
    let from_stdin = folder.run_fed(run.stdout.as_bytes(), &sign("-", &[]));
    assert_eq!(from_stdin.json()["signatures"].as_array().unwrap().len(), 1, "old signatures are replaced");
}

#[test]
fn an_svid_that_lives_longer_than_verifiers_accept_is_told() {
    let (folder, authority) = world("long-lived");
    for (seconds, is_told) in [(86_400, false), (30 * 86_400, true)] {
        authority.issue_for(&folder, "svid", WEATHER, (0, seconds));
        let run = folder.run(&sign("card.json", &["-o", "long.json"]));
        let told = "warning: the SVID lives for 30days, and verifiers refuse one that lives longer than 1day";
        assert_eq!((run.code, run.stderr.contains(told)), (0, is_told), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), usize::from(is_told), "{}", run.stderr);
    }
    folder.run(&verify("long.json", &[])).assert_refused("SvidLifetime");
    folder.run(&verify("long.json", &["--max-svid-lifetime", "30d"])).assert_verified();
}

#[test]
fn who_accepts_which_signature_is_said_where_readers_differ() {
    let (folder, _) = world("readers-differ");
    let mut odd = card();
    odd["xVendor"] = json!(1);
    odd["yVendor"] = json!({"a": 1});
    folder.write("odd.json", odd.to_string());
    let run = folder.run(&sign("odd.json", &["-o", "two.json"]));
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(
        run.stderr,
        "signature 1: accepted by Countersign; covers the whole card\n\
         signature 2: accepted by a2a-js ≥ 1.0.1 and a2a-python ≥ 1.1.4; leaves out \"/xVendor\", \"/yVendor\"\n"
    );
    let json = folder.run(&verify("two.json", &["--expect-id", WEATHER])).assert_verified();
    assert_eq!((&json["coverage"], &json["profile"]), (&json!("full"), &json!("jcs-raw")));
    // A card that no SDK can read has one signature, and the member is named.
    odd["documentationUrl"] = json!(5);
    folder.write("typed.json", odd.to_string());
    let run = folder.run(&sign("typed.json", &["-o", "one.json"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("\nno signature is for the A2A SDKs: CardMemberType: "), "{}", run.stderr);
    assert!(run.stderr.contains("\"/documentationUrl\""), "{}", run.stderr);
    folder.run(&verify("one.json", &["--expect-id", WEATHER])).assert_verified();
}

#[test]
fn an_older_card_is_signed_as_it_is_or_upgraded_for_every_reader() {
    let (folder, _) = world("upgrade");
    let mut older = card();
    older.as_object_mut().unwrap().remove("supportedInterfaces");
    older["url"] = json!("https://weather.example/");
    older["protocolVersion"] = json!("0.3.0");
    folder.write("older.json", older.to_string());
    let run = folder.run(&sign("older.json", &["-o", "two.json"]));
    assert!(run.stderr.contains("signature 2: accepted by a2a-python ≥ 1.1.4; "), "{}", run.stderr);
    assert!(run.stderr.contains("a2a-js accepts no signature of this card"), "{}", run.stderr);
    folder.run(&verify("two.json", &["--expect-id", WEATHER])).assert_verified();
    let run = folder.run(&sign("older.json", &["--upgrade"]));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let interface =
        json!({"url": "https://weather.example/", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"});
    assert_eq!((&run.json()["supportedInterfaces"], run.json().get("url")), (&json!([interface]), None));
    folder.write("new.json", &run.stdout);
    let json = folder.run(&verify("new.json", &["--expect-id", WEATHER])).assert_verified();
    assert_eq!((&json["coverage"], &json["profile"]), (&json!("full"), &json!("spec841")));
}

#[test]
fn the_second_signature_is_for_kagenti() {
    let (folder, _) = world("kagenti");
    let run = folder.run(&sign("card.json", &["--also-kagenti", "-o", "two.json"]));
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    let json = folder.run(&verify("two.json", &[])).assert_verified();
    let profiles: Vec<&Value> =
        json["signatures"].as_array().unwrap().iter().map(|one| &one["profile"]).collect();
    assert_eq!(profiles, [&json!("spec841"), &json!("kagenti-go")]);
}

#[test]
fn a_lifetime_ends_the_signature_before_the_svid() {
    let (folder, _) = world("lifetime");
    assert_eq!(folder.run(&sign("card.json", &["--lifetime", "5m", "-o", "short.json"])).code, 0);
    folder.run(&verify("short.json", &[])).assert_verified();
    folder.run(&verify("short.json", &["--at", &in_seconds(600)])).assert_refused("SignatureTimes");
    assert_eq!(folder.run(&sign("card.json", &["--lifetime", "9h", "-o", "long.json"])).code, 0);
    folder.run(&verify("long.json", &["--at", &in_seconds(8000)])).assert_refused("CertificateExpired");
    folder.run(&sign("card.json", &["--lifetime", "0"])).assert_unusable("--lifetime 0");
}

/// The code is 1, nothing is on standard output, and file and reason are on standard error.
#[track_caller]
fn assert_refuses(folder: &Folder, arguments: &[&str], (file, reason): (&str, &str)) {
    let run = folder.run(arguments);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
    assert!(run.stderr.starts_with(&format!("refused: \"{file}\": {reason}: ")), "{}", run.stderr);
}

#[test]
fn a_card_that_cannot_be_signed_leaves_no_file_behind() {
    let (folder, authority) = world("unsignable");
    let mut bad = card();
    bad["xVendor"] = json!(1);
    folder.write("bad.json", bad.to_string());
    authority.issue(&folder, "other", WEATHER, 10);
    let before = folder.files();
    assert_refuses(
        &folder,
        &sign("bad.json", &["--upgrade", "-o", "out.json"]),
        ("bad.json", "CardNotSignable"),
    );
    let mixed = ["sign", "card.json", "--key", "other.key", "--chain", "svid.pem", "-o", "out.json"];
    assert_refuses(&folder, &mixed, ("other.key", "SigningKeyUnusable"));
    folder.run(&sign("card.json", &["-o", "absent/out.json"])).assert_unusable("cannot write");
    assert_eq!(folder.files(), before);
    let signed = folder.read("signed.json");
    assert_refuses(
        &folder,
        &sign("bad.json", &["--upgrade", "-o", "signed.json"]),
        ("bad.json", "CardNotSignable"),
    );
    assert_eq!(folder.read("signed.json"), signed, "the old file stays");
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let (folder, _) = world("keys");
    folder
        .run(&["sign", "card.json", "--key", "svid.pem", "--chain", "svid.pem"])
        .assert_unusable("no PEM private key");
    folder.run(&["sign", "card.json", "--key", "svid.key"]).assert_unusable("--chain");
    folder.run(&["sign", "card.json", "--key", "svid.key", "--chain", "svid.key"]).assert_unusable(
        "--chain \"svid.key\": the text holds no PEM certificate; name a file with the certificates of the SVID: PEM, \
         leaf first",
    );
    folder.run(&["sign", "card.json"]).assert_unusable("--key");
    folder.run(&sign("card.json", &["--workload-api", "/run/agent.sock"])).assert_unusable("--workload-api");
    folder
        .run(&["sign", "card.json", "--workload-api", "absent.sock"])
        .assert_unusable("the Workload API at \"absent.sock\" gave no X.509-SVID: there is no such file");
    let run = folder.run(&["sign", "card.json", "--workload-api", "card.json"]);
    run.assert_unusable("gave no X.509-SVID: it is no socket");
    run.assert_unusable("`spire-agent api fetch x509 -socketPath card.json`");
}

#[test]
fn a_refusal_names_the_input_that_it_is_about() {
    let (folder, authority) = world("inputs");
    authority.issue(&folder, "old", WEATHER, 3600);
    let old = ["sign", "card.json", "--key", "old.key", "--chain", "old.pem"];
    // Its hour is over in a second at most.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_refuses(&folder, &old, ("old.pem", "CertificateExpired"));
    let chain = folder.read("svid.pem");
    folder.write("long.pem", chain.repeat(6));
    assert_refuses(
        &folder,
        &["sign", "card.json", "--key", "svid.key", "--chain", "long.pem"],
        ("long.pem", "ChainTooLarge"),
    );
    folder.write("ca.pem", authority.pem());
    assert_refuses(
        &folder,
        &["sign", "card.json", "--key", "svid.key", "--chain", "ca.pem"],
        ("ca.pem", "LeafIsCa"),
    );
    // A name of a file, and what a card says, cannot forge a line.
    let mut forged = card();
    forged["documentationUrl"] = json!("x\nrefused: trusted");
    forged["url\nrefused: \"good\""] = json!(1);
    let name = "a\nrefused: b.json";
    folder.write(name, forged.to_string());
    let run = folder.run(&sign(name, &["--upgrade"]));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("refused: ")).count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.starts_with("refused: \"a\\u{a}refused: b.json\": CardUnsafeText: "),
        "{}",
        run.stderr
    );
}

#[test]
fn canonical_bytes_are_printed_exactly_and_without_a_line_break() {
    let folder = Folder::new("canonical");
    folder
        .write("card.json", "{ \"version\": \"1\", \"name\": \"\u{fc}\", \"x\": 1e2, \"signatures\": [] }\n");
    let run = folder.run(&["canonicalize", "card.json", "--profile", "jcs-raw"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (0, "{\"name\":\"\u{fc}\",\"version\":\"1\",\"x\":100}", "")
    );
    let run = folder.run(&["canonicalize", "card.json", "--profile", "kagenti-go"]);
    assert_eq!(run.stdout, "{\"name\":\"\u{fc}\",\"version\":\"1\"}");
    let large = b"{\"x\":123456789012345678901}";
    let strict = folder.run_fed(large, &["canonicalize", "-", "--profile", "jcs-raw"]);
    assert_eq!((strict.code, strict.stdout.as_str()), (1, ""));
    assert!(strict.stderr.starts_with("refused: standard input: JsonNumber: "), "{}", strict.stderr);
    let binary64 =
        folder.run_fed(large, &["canonicalize", "-", "--profile", "jcs-raw", "--numbers", "binary64"]);
    assert_eq!(binary64.stdout, "{\"x\":123456789012345680000}");
}

#[test]
fn a_signer_that_nobody_told_the_socket_says_that_it_took_the_default() {
    let folder = Folder::new("default-socket");
    let line = folder.first_line_with("\"error\"", &["sign", "--watch"]);
    let told: Value = serde_json::from_str(&line).unwrap();
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("/run/spire/sockets/agent.sock"), "{line}");
    assert!(error.contains("this socket is the default: name it by --workload-api"), "{line}");
}

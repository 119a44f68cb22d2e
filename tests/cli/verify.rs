//! `countersign verify`.

use crate::authority::{Authority, TRUST, WEATHER, card, in_seconds, verify, with_member, world};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// The members of a verdict in their order.
pub(crate) const MEMBERS: [&str; 18] = [
    "schemaVersion",
    "source",
    "verdict",
    "reason",
    "message",
    "fix",
    "spiffeId",
    "expectedId",
    "profile",
    "algorithm",
    "keyId",
    "digest",
    "notAfter",
    "coverage",
    "uncovered",
    "uncoveredUnlisted",
    "representations",
    "signatures",
];

/// All members of a verdict, and in their order.
#[track_caller]
pub(crate) fn assert_shape(stdout: &str) {
    let json: Value = serde_json::from_str(stdout).unwrap();
    assert_eq!(json.as_object().unwrap().len(), MEMBERS.len(), "{stdout}");
    let places: Vec<usize> = MEMBERS
        .iter()
        .map(|name| stdout.find(&format!("\n  \"{name}\":")).unwrap_or_else(|| panic!("{name}")))
        .collect();
    assert!(places.is_sorted(), "{stdout}");
}

#[test]
fn several_cards_are_one_run_with_the_exit_code_of_the_worst() {
    let (folder, _) = world("several");
    let signed = folder.read("signed.json");
    std::fs::create_dir_all(folder.path().join("cards/more/deeper")).unwrap();
    let tampered = with_member(&folder, "description", json!("other"));
    folder.write("cards/good.json", &signed);
    folder.write("cards/more/deeper/bad.json", &tampered);
    folder.write("cards/notes.txt", "no card");
    folder.write("cards/.hidden.json", "no card");
    let several = |cards: &[&str], output: &str| {
        let flags = ["--any-workload", "-o", output];
        folder.run(&[&["verify"][..], cards, &TRUST, &flags].concat())
    };
    for (cards, expected) in [
        (&["cards"][..], &["cards/good.json", "cards/more/deeper/bad.json"][..]),
        (&["cards/**/*.json"], &["cards/good.json", "cards/more/deeper/bad.json"]),
        (&["cards/*.json"], &["cards/good.json"]),
        (&["cards/more/*/ba?.json", "signed.json"], &["cards/more/deeper/bad.json", "signed.json"]),
    ] {
        let run = several(cards, "json");
        assert_eq!(run.code, i32::from(run.stdout.contains("SignatureInvalid")), "{cards:?} {}", run.stderr);
        let reports = run.reports();
        let sources: Vec<_> = reports.iter().map(|report| report["source"].as_str().unwrap()).collect();
        assert_eq!(sources, expected, "{cards:?}");
    }
    let sarif = several(&["cards"], "sarif").json();
    let runs = sarif["runs"].as_array().unwrap();
    let result = &runs[0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!((runs.len(), runs[0]["results"].as_array().unwrap().len()), (1, 1));
    assert_eq!(result["artifactLocation"]["uri"], "cards/more/deeper/bad.json");
    assert_eq!(result["region"]["startLine"], 1);
    let text = several(&["cards"], "text");
    text.assert_plain_80_columns();
    assert!(text.stdout.contains("\n\nrefused  \"cards/more/deeper/bad.json\"\n"), "{}", text.stdout);
    // What was not fetched is told by its own code, unless another card is refused.
    let gone = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    assert_eq!(several(&["signed.json", &gone], "json").code, 3);
    assert_eq!(several(&[&gone, "cards"], "json").code, 1);
    several(&["cards/*.yaml"], "json").assert_unusable("holds no cards");
    several(&["absent.json"], "json").assert_unusable("absent.json");
    // Of several, one that cannot be read hides no other.
    for (cards, code, reported) in [
        (&["absent.json", "signed.json"][..], 2, 1),
        (&["signed.json", "absent.json", "gone.json"], 2, 1),
        (&["absent.json", "cards"], 1, 2),
        (&["absent.json", &gone], 2, 1),
        (&["absent.json", "gone.json"], 2, 0),
    ] {
        let run = several(cards, "json");
        assert_eq!(run.code, code, "{cards:?} {}", run.stderr);
        let named = run.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(
            (run.reports().len(), named),
            (reported, cards.len().saturating_sub(reported).max(1)),
            "{cards:?}"
        );
    }
    let sarif = several(&["absent.json", "signed.json"], "sarif").json();
    let invocation = &sarif["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let said = invocation["toolExecutionNotifications"][0]["message"]["text"].as_str().unwrap();
    assert!(said.contains("\"absent.json\": no such file"), "{said}");
    let with = |flags: &[&str]| {
        folder.run(&[&["verify", "cards", "--expect-id", WEATHER][..], &TRUST, flags].concat())
    };
    with(&["--memory", "m.json"]).assert_unusable("--memory is for one card, and 2 are named");
    with(&["--signed-card", "s.json"]).assert_unusable("--signed-card is for one card");
}

#[test]
fn the_signed_card_is_what_the_signature_covers_and_nothing_else() {
    let (folder, _) = world("signed-card");
    folder.write("signed.json", with_member(&folder, "note", json!("added by somebody")));
    let run = folder.run(&verify("signed.json", &["--signed-card", "out.json", "--coverage", "report"]));
    let content = folder.read("out.json");
    assert_eq!(run.assert_verified()["uncovered"], json!(["/note"]));
    assert!(!content.contains("note") && !content.contains("signatures"), "{content}");
    let form =
        folder.run(&["canonicalize", "signed.json", "--profile", run.json()["profile"].as_str().unwrap()]);
    assert_eq!(form.stdout, content);
    // A refused card leaves nothing behind.
    folder.write("signed.json", with_member(&folder, "description", json!("other")));
    std::fs::remove_file(folder.path().join("out.json")).unwrap();
    folder.run(&verify("signed.json", &["--signed-card", "out.json"])).assert_refused("SignatureInvalid");
    assert!(!folder.files().contains(&"out.json".to_owned()));
}

#[test]
fn a_genuine_card_is_verified_with_everything_that_is_known_about_it() {
    let (folder, _) = world("genuine");
    let run = folder.run(&verify("signed.json", &["--expect-id", WEATHER]));
    let json = run.assert_verified();
    assert_shape(&run.stdout);
    assert_eq!(json["reason"], Value::Null);
    assert_eq!(
        (&json["spiffeId"], &json["profile"], &json["algorithm"]),
        (&json!(WEATHER), &json!("spec841"), &json!("ES256"))
    );
    assert_eq!((&json["coverage"], &json["uncovered"]), (&json!("full"), &json!([])));
    let signature = &json["signatures"][0];
    assert_eq!(
        (&signature["index"], &signature["outcome"], &signature["spiffeId"], &signature["reason"]),
        (&json!(0), &json!("verified"), &json!(WEATHER), &Value::Null)
    );
    assert_eq!(signature.as_object().unwrap().len(), 8);
}

#[test]
fn a_refusal_has_the_same_members_a_reason_and_a_fix() {
    let (folder, _) = world("tampered");
    folder.write("signed.json", with_member(&folder, "description", json!("other")));
    let run = folder.run(&verify("signed.json", &[]));
    run.assert_refused("SignatureInvalid");
    assert_shape(&run.stdout);
    let json = run.json();
    assert!(json["fix"].as_str().unwrap().ends_with('.'));
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
    assert_eq!(json["signatures"][0]["outcome"], "refused");
}

#[test]
fn a_card_comes_from_standard_input_as_well() {
    let (folder, _) = world("stdin");
    let signed = folder.read("signed.json");
    folder.run_fed(signed.as_bytes(), &verify("-", &[])).assert_verified();
    folder.run_fed(b"", &verify("-", &[])).assert_unusable("standard input is empty");
}

#[test]
fn the_expected_identity_and_the_moment_decide() {
    let (folder, _) = world("expected");
    let other = "spiffe://example.org/ns/demo/sa/other";
    folder.run(&verify("signed.json", &["--expect-id", other])).assert_refused("IdentityMismatch");
    let later = in_seconds(7200);
    folder.run(&verify("signed.json", &["--at", &later])).assert_refused("CertificateExpired");
    folder.run(&verify("signed.json", &["--max-svid-lifetime", "30m"])).assert_refused("SvidLifetime");
    folder.run(&verify("signed.json", &["--max-svid-lifetime", "0"])).assert_verified();
}

#[test]
fn an_injected_endpoint_is_refused_and_only_reported_on_request() {
    let (folder, _) = world("injected");
    folder.write("signed.json", with_member(&folder, "url", json!("https://attacker.example/")));
    folder.run(&verify("signed.json", &[])).assert_refused("UncoveredSecurityMember");
    let json = folder.run(&verify("signed.json", &["--coverage", "report"])).assert_verified();
    assert_eq!((&json["coverage"], &json["uncovered"]), (&json!("partial"), &json!(["/url"])));
    assert_eq!(json["uncoveredUnlisted"], 0);
}

#[test]
fn members_that_push_into_the_list_of_uncovered_ones_are_counted_behind_what_decides() {
    let (folder, _) = world("pushed");
    let mut card: Value =
        serde_json::from_str(&with_member(&folder, "url", json!("https://attacker.example/"))).unwrap();
    for index in 0..100 {
        card[format!("!{index:03}")] = json!(index);
    }
    folder.write("signed.json", card.to_string());
    let run = folder.run(&verify("signed.json", &["--coverage", "report"]));
    let json = run.assert_verified();
    assert_shape(&run.stdout);
    assert_eq!((&json["uncovered"][0], json["uncovered"].as_array().unwrap().len()), (&json!("/url"), 64));
    assert_eq!(json["uncoveredUnlisted"], 37);
    let reported =
        [&["verify", "signed.json", "--any-workload"][..], &TRUST, &["--coverage", "report", "-o"]].concat();
    let shown = folder.run(&[&reported[..], &["text"]].concat());
    assert!(shown.stdout.contains("37 more"), "{}", shown.stdout);
    let sarif = folder.run(&[&reported[..], &["sarif"]].concat()).json();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let last = &results.last().unwrap()["message"]["text"];
    assert_eq!((results.len(), last), (65, &json!("37 more members are not covered by the signature.")));
}

#[test]
fn who_must_have_signed_is_said_and_the_trust_domain_follows_from_it() {
    let (folder, _) = world("explicit");
    let bundle = ["verify", "signed.json", "--bundle", "bundle.pem", "-o", "json"];
    let run = |more: &[&str]| folder.run(&[&bundle[..], more].concat());
    assert_eq!(run(&["--expect-id", WEATHER]).assert_verified()["expectedId"], WEATHER);
    let any = run(&["--any-workload", "--trust-domain", "example.org"]).assert_verified();
    assert_eq!(any["expectedId"], Value::Null);
    run(&["--trust-domain", "example.org"]).assert_unusable("--any-workload");
    run(&["--any-workload"]).assert_unusable("--trust-domain");
    run(&["--any-workload", "--expect-id", WEATHER]).assert_unusable("--any-workload");
    run(&["--expect-id", WEATHER, "--trust-domain", "other.org"]).assert_unusable("leave one of them out");
}

#[test]
fn only_the_chosen_profiles_are_tried() {
    let (folder, _) = world("profiles");
    let with = |profiles: &[&str]| folder.run(&verify("signed.json", profiles));
    let refused = with(&["--profile", "kagenti-go"]);
    refused.assert_refused("SignatureInvalid");
    assert!(refused.stdout.contains("it verifies over `spec841`, which the policy does not allow"));
    assert_eq!(with(&["--profile", "kagenti-go,jcs-raw"]).assert_verified()["profile"], "jcs-raw");
    assert_eq!(with(&["--all-profiles"]).assert_verified()["profile"], "spec841");
    with(&["--all-profiles", "--profile", "jcs-raw"]).assert_unusable("--all-profiles");
    with(&["--profile", "jcs"]).assert_unusable("the profiles are spec841, jcs-raw");
}

#[test]
fn each_trust_domain_has_its_own_bundle() {
    let (folder, _) = world("domains");
    let other = Authority::new("other.org");
    folder.write("other.pem", other.pem());
    let both = ["--bundle", "other.org=other.pem", "--bundle", "example.org=bundle.pem", "-o", "json"];
    let with = |domain| {
        folder.run(
            &[&["verify", "signed.json", "--any-workload", "--trust-domain", domain][..], &both].concat(),
        )
    };
    let run = with("example.org");
    run.assert_verified();
    let unused = "warning: --bundle other.org=\"other.pem\" is not used: the signer must be of the trust domain example.org\n";
    assert_eq!(run.stderr, unused);
    let refused = with("other.org");
    refused.assert_refused("TrustDomainMismatch");
    let json = refused.json();
    let told = format!("{} {}", json["message"], json["fix"]);
    for says in ["the signer is of the trust domain example.org", "of other.org alone", "--bundle TD=FILE"] {
        assert!(told.contains(says), "{says}: {told}");
    }
    with("third.org").assert_unusable(
        "no bundle is given for the trust domain third.org, only for example.org and other.org; add --bundle third.org=FILE",
    );
    // An authority that names its own domain cannot be given to another one.
    let foreign = [
        "verify",
        "signed.json",
        "--any-workload",
        "--bundle",
        "other.pem",
        "--trust-domain",
        "example.org",
        "-o",
        "json",
    ];
    let run = folder.run(&foreign);
    run.assert_unusable("those in it are of the trust domain other.org");
    run.assert_unusable("If its authorities are of another trust domain");
    folder.write("other.pem", Authority::new("example.org").pem());
    folder.run(&foreign).assert_refused("AnchorUnknown");
    folder
        .run(&verify("signed.json", &["--bundle", "example.org=other.pem"]))
        .assert_unusable("never pooled");
}

#[test]
fn a_bundle_map_serves_many_domains() {
    let (folder, authority) = world("map");
    let other = Authority::new("other.org");
    let keys = |pem: &str| {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let [x, y] = ["x", "y"].map(|_| "A".repeat(43));
        json!({ "keys": [{ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": x, "y": y, "x5c": [body] }] })
    };
    let map =
        json!({ "trust_domains": { "example.org": keys(authority.pem()), "other.org": keys(other.pem()) } });
    folder.write("map.json", map.to_string());
    let run = folder.run(&[
        "verify",
        "signed.json",
        "--any-workload",
        "--bundle",
        "map.json",
        "--bundle",
        "other.org=map.json",
        "--trust-domain",
        "example.org",
        "-o",
        "json",
    ]);
    run.assert_verified();
}

#[test]
fn an_unusable_bundle_entry_is_named_and_an_unusable_bundle_is_an_error() {
    let (folder, authority) = world("bundles");
    let leaf = folder.read("svid.pem");
    folder.write("bundle.pem", format!("{}{leaf}", authority.pem()));
    let run = folder.run(&verify("signed.json", &[]));
    run.assert_verified();
    assert!(run.stderr.starts_with("warning: bundle \"bundle.pem\": certificate "), "{}", run.stderr);
    for (content, says) in [(leaf.as_str(), "BundleEmpty"), ("{}", "Bundle"), ("nonsense", "Bundle")] {
        folder.write("bundle.pem", content);
        folder.run(&verify("signed.json", &[])).assert_unusable(says);
    }
}

#[test]
fn a_card_over_the_limit_is_refused_and_not_cut_off() {
    let (folder, _) = world("large");
    folder.write("signed.json", format!("{}{}", folder.read("signed.json"), " ".repeat(256 * 1024)));
    folder.run(&verify("signed.json", &[])).assert_refused("BodyTooLarge");
}

/// Answers one request with `answer`.
fn serve_once(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    format!("http://{address}")
}

#[test]
fn a_card_is_fetched_from_its_well_known_address() {
    let (folder, _) = world("fetched");
    let card = folder.read("signed.json");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    let url = serve_once(format!("{head} {}\r\n\r\n{card}", card.len()));
    folder.run(&verify(&url, &[])).assert_verified();
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n".to_owned();
    let run = folder.run(&verify(&serve_once(redirect), &[]));
    run.assert_refused("FetchRedirected");
    assert_shape(&run.stdout);
    // What could not be fetched is not what was tampered with.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned();
    for (url, reason) in [(format!("http://{gone}"), "FetchFailed"), (serve_once(error), "FetchStatus")] {
        let run = folder.run(&verify(&url, &[]));
        assert_eq!((run.code, run.json()["reason"].as_str().unwrap()), (3, reason));
    }
    folder.run(&verify("ftp://127.0.0.1/card", &[])).assert_unusable("only http and https");
    folder.run(&verify("http://user:secret@127.0.0.1/", &[])).assert_unusable("user name");
}

/// Answers requests with a version with `versioned` and others with `other`, and says so.
fn serve_by_version(versioned: String, other: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_ascii_lowercase();
            let card = if request.contains("\r\na2a-version: 1.0\r\n") { &versioned } else { &other };
            let head = "content-type: application/json\r\nvary: A2A-Version\r\nconnection: close";
            write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: {}\r\n\r\n{card}", card.len())
                .unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn where_clients_get_two_cards_both_must_be_good() {
    let (folder, _) = world("versions");
    let first = folder.read("signed.json");
    let mut card = card();
    card["description"] = "for clients of 0.3".into();
    folder.write("card.json", card.to_string());
    let sign = ["sign", "card.json", "--key", "svid.key", "--chain", "svid.pem", "-o", "signed.json"];
    assert_eq!(folder.run(&sign).code, 0);
    let second = folder.read("signed.json");
    let tampered = with_member(&folder, "description", json!("other"));
    let url = serve_by_version(first.clone(), second.clone());
    let memory = ["--expect-id", WEATHER, "--memory", "memory.json"];
    let both = ["with A2A-Version: 1.0", "without A2A-Version"];
    // Each is remembered, so neither is a replay of the other in the next run.
    for _ in 0..2 {
        let run = folder.run(&verify(&url, &memory));
        assert_eq!(run.assert_verified()["representations"], json!(both));
    }
    for (versioned, other, which) in
        [(&first, &tampered, "without A2A-Version: "), (&tampered, &first, "with A2A-Version: 1.0: ")]
    {
        let run = folder.run(&verify(&serve_by_version(versioned.clone(), other.clone()), &[]));
        run.assert_refused("SignatureInvalid");
        let message = run.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("in the answer to requests {which}")), "{message}");
    }
    let one = folder.run(&verify(&serve_by_version(first.clone(), first), &[])).assert_verified();
    assert_eq!(one["representations"], json!(both[..1]));
    let text = folder.run(&[&["verify", &url, "--any-workload"][..], &TRUST].concat());
    assert!(text.stdout.contains("with A2A-Version: 1.0, and another one to those"), "{}", text.stdout);
    let explained = folder.run(&[&["explain", &url][..], &TRUST].concat());
    assert_eq!(explained.stdout.matches("receive the card").count(), 2, "{}", explained.stdout);
}

#[test]
fn sarif_names_the_rule_and_the_file() {
    let (folder, _) = world("sarif");
    let sarif = [&["verify", "signed.json", "--any-workload"][..], &TRUST, &["-o", "sarif"]].concat();
    let run = folder.run(&sarif);
    assert_eq!(run.code, 0);
    assert_eq!(run.json()["runs"][0]["results"], json!([]));
    let checked = run.json()["runs"][0]["artifacts"].clone();
    assert_eq!(checked.as_array().unwrap().len(), 1, "{checked}");
    assert_eq!(checked[0]["location"]["uri"], "signed.json");
    assert_eq!(checked[0]["properties"]["verdict"], "verified");
    assert_eq!(checked[0]["hashes"]["sha-256"].as_str().unwrap().len(), 64);
    folder.write("signed.json", with_member(&folder, "description", json!("other")));
    let run = folder.run(&sarif);
    assert_eq!(run.code, 1);
    let json = run.json();
    assert_eq!(json["version"], "2.1.0");
    let tool = &json["runs"][0]["tool"]["driver"];
    let result = &json["runs"][0]["results"][0];
    assert_eq!((&tool["name"], &result["level"]), (&json!("countersign"), &json!("error")));
    let rule = &tool["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
    assert_eq!((&rule["id"], &result["ruleId"]), (&json!("SignatureInvalid"), &json!("SignatureInvalid")));
    let location = &result["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!((&location["uri"], &location["index"]), (&json!("signed.json"), &json!(0)));
    let checked = &json["runs"][0]["artifacts"][0]["properties"];
    assert_eq!((&checked["verdict"], &checked["reason"]), (&json!("refused"), &json!("SignatureInvalid")));
    assert!(result["message"]["text"].as_str().unwrap().contains("does not verify"));
}

#[test]
fn text_is_plain_in_a_pipe_and_fits_80_columns() {
    let (folder, _) = world("text");
    let text = [&["verify", "signed.json", "--any-workload"][..], &TRUST].concat();
    let run = folder.run(&text);
    run.assert_plain_80_columns();
    assert!(run.stdout.starts_with("verified  \"signed.json\"\n"), "{}", run.stdout);
    let coloured = folder.run_with(&[("CLICOLOR_FORCE", "1"), ("TERM", "xterm")], &text);
    assert!(coloured.stdout.contains("\u{1b}["), "{}", coloured.stdout);
    folder.run_with(&[("NO_COLOR", "1"), ("TERM", "xterm")], &text).assert_plain_80_columns();
    folder.write("signed.json", with_member(&folder, "description", json!("other")));
    let run = folder.run(&text);
    run.assert_plain_80_columns();
    assert!(run.stdout.contains("SignatureInvalid") && run.stdout.contains("fix"), "{}", run.stdout);
}

#[test]
fn the_sample_of_the_tree_counts_in_the_minutes_that_the_readme_names() {
    let (folder, _) = world("sample");
    let file = |name: &str| format!("{}/tests/fixtures/doc/{name}", env!("CARGO_MANIFEST_DIR"));
    let [card, bundle] = [file("card.json"), file("bundle.json")];
    let id = "spiffe://example.org/ns/demo/sa/weather";
    let at = |time: &str| {
        folder.run(&["verify", &card, "--bundle", &bundle, "--expect-id", id, "--at", time, "-o", "json"])
    };
    for time in ["2026-11-20T23:59:00Z", "2026-11-21T00:10:00Z", "2026-11-21T00:30:00Z"] {
        at(time).assert_verified();
    }
    at("2026-11-20T23:57:00Z").assert_refused("SignatureTimes");
    at("2026-11-21T00:32:00Z").assert_refused("CertificateExpired");
    assert!(include_str!("../../README.md").contains("a time between 23:59 and 00:30"));
}

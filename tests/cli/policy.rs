//! `--policy` and `countersign policy`: one file for CI and the cluster.

use crate::authority::{WEATHER, verify, world};
use countersign_core::encoding::sha256;

#[test]
fn a_policy_file_decides_what_is_accepted() {
    let (folder, _) = world("policy-file");
    let judged = |text: &str, more: &[&str]| {
        folder.write("policy.yaml", text);
        let flags = [&["--expect-id", WEATHER, "--policy", "policy.yaml"], more].concat();
        folder.run(&verify("signed.json", &flags))
    };
    judged("version: 1", &[]).assert_verified();
    // What docs/operator.md says about denying a card in any spelling.
    let form = folder.run(&["canonicalize", "--profile", "spec841", "signed.json"]);
    let form = sha256(form.stdout.as_bytes());
    for (text, reason) in [
        (format!("version: 1\ndefaults: {{ deny: {{ spiffeIds: [\"{WEATHER}\"] }} }}"), "Denied"),
        (
            "version: 1\ntrustDomains: { example.org: { maxSvidLifetime: 1s, svidBackdating: 0s } }"
                .to_owned(),
            "SvidLifetime",
        ),
        ("version: 1\ntrustDomains: { partner.example: { maxSvidLifetime: 1s } }".to_owned(), ""),
        ("version: 1\ndefaults: { algorithms: [RS256] }".to_owned(), "AlgorithmNotAllowed"),
        ("version: 1\ndefaults: { signers: { threshold: 2 } }".to_owned(), "SignerPolicy"),
        (
            format!(
                "version: 1\ndefaults: {{ deny: {{ cards: [\"{}\"] }} }}",
                sha256(folder.read("signed.json").as_bytes())
            ),
            "Denied",
        ),
        (format!("version: 1\ndefaults: {{ deny: {{ cards: [\"{form}\"] }} }}"), "Denied"),
    ] {
        let run = judged(&text, &[]);
        if reason.is_empty() {
            run.assert_verified();
        } else {
            run.assert_refused(reason);
        }
    }
}

#[test]
fn a_policy_file_and_the_flags_for_it_exclude_each_other_and_a_bad_one_is_named() {
    let (folder, _) = world("policy-errors");
    folder.write("policy.yaml", b"version: 1");
    folder.write("bad.yaml", b"version: 1\ndefaults:\n  coverige: strict\n");
    for (flag, member) in [
        (["--coverage", "report"], "coverage"),
        (["--profile", "jcs-raw"], "profiles"),
        (["--max-svid-lifetime", "1h"], "maxSvidLifetime"),
        (["--skew", "5s"], "clockSkew"),
        (["--freshness", "live"], "freshness"),
        (["--max-age", "1h"], "maxWitnessAge"),
    ] {
        let run = folder.run(&verify("signed.json", &[&["--policy", "policy.yaml"][..], &flag].concat()));
        run.assert_unusable("--policy");
        run.assert_unusable(&format!(
            "; write `{member}` into the policy file instead; see `countersign verify --help`"
        ));
    }
    folder.write(
        "worse.yaml",
        b"version: 1\ndefaults:\n  coverige: strict\n  freshness: live\n  numbers: lax\n",
    );
    let told = [
        "\"worse.yaml\": line 3 column 3: defaults.coverige: there is no such key; did you mean coverage?",
        "also line 5 column 12: defaults.numbers: \"lax\" is none of strict, binary64",
    ];
    for run in [
        folder.run(&verify("signed.json", &["--policy", "worse.yaml"])),
        folder.run(&["policy", "worse.yaml"]),
    ] {
        for says in told {
            run.assert_unusable(says);
        }
    }
    folder.run(&verify("signed.json", &["--policy", "bad.yaml"])).assert_unusable("line 3");
    folder.run(&["policy", "bad.yaml"]).assert_unusable("coverige");
    let absent = folder.run(&["policy", "absent.yaml"]);
    absent.assert_unusable("cannot read \"absent.yaml\": no such file");
    assert_eq!(absent.stderr.matches("absent.yaml").count(), 1, "{}", absent.stderr);
    for (text, told) in [
        ("version: 1", "nothing is set, so the built-in policy counts"),
        ("version: 1\ndefaults: { coverage: strict }", "defaults for every trust domain"),
        ("version: 1\ntrustDomains: { a.org: {}, b.org: {} }", "settings of its own for a.org, b.org"),
        (
            "version: 1\ndefaults: { deny: { spiffeIds: [\"spiffe://a.org/x\"] } }\ntrustDomains: { a.org: {} }",
            "defaults for every trust domain; settings of its own for a.org",
        ),
    ] {
        folder.write("policy.yaml", text);
        let checked = folder.run(&["policy", "policy.yaml"]);
        assert_eq!((checked.code, checked.stdout), (0, format!("ok: {told}\n")));
    }
}

#[test]
fn a_policy_on_standard_input_is_checked_like_a_file_and_the_help_says_so() {
    let (folder, _) = world("policy-stdin");
    let checked = folder.run_fed(b"version: 1", &["policy", "-"]);
    assert_eq!(
        (checked.code, checked.stdout.as_str()),
        (0, "ok: nothing is set, so the built-in policy counts\n")
    );
    folder.run_fed(b"version: 2", &["policy", "-"]).assert_unusable("standard input: line 1");
    let help = folder.run(&["policy", "--help"]);
    assert!(help.stdout.contains("`-` for standard input"), "{}", help.stdout);
}

#[test]
fn what_the_schema_refuses_is_refused_and_what_it_takes_is_taken() {
    let schema = countersign_api::policy_file::policy_file_schema();
    let schema = jsonschema::draft202012::new(schema.as_value()).unwrap();
    for (text, is_good) in [
        (r#"{"version":1}"#, true),
        (r#"{"version":"1"}"#, false),
        (r#"{"version":2}"#, false),
        (r#"{"version":1,"defaults":{"requireKeyId":false}}"#, true),
        (r#"{"version":1,"defaults":{"requireKeyId":"no"}}"#, false),
        (r#"{"version":1,"defaults":{"requireKeyId":"false"}}"#, false),
        (r#"{"version":1,"defaults":{"maxSvidLifetime":"0"}}"#, true),
        (r#"{"version":1,"defaults":{"maxSvidLifetime":0}}"#, false),
        (r#"{"version":1,"defaults":{"signers":"allOf"}}"#, true),
        (r#"{"version":1,"defaults":{"signers":{"allOf":null}}}"#, false),
        (r#"{"version":1,"defaults":{"signers":{"threshold":4}}}"#, true),
        (r#"{"version":1,"defaults":{"signers":{"threshold":"2"}}}"#, false),
        (r#"{"version":1,"defaults":{"signers":{"threshold":5}}}"#, false),
        (r#"{"version":1,"defaults":{"profiles":"jcs-raw"}}"#, false),
    ] {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let read = countersign_api::policy_file::parse_policy_file(text.as_bytes());
        assert_eq!((schema.is_valid(&value), read.is_ok()), (is_good, is_good), "{text}: {read:?}");
    }
}

#[test]
fn the_document_explains_every_member() {
    let (document, schema) =
        (include_str!("../../docs/policy.md"), countersign_api::policy_file::policy_file_schema());
    let schema = schema.as_value();
    let of = |pointer: &str| {
        schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let members = [of("/$defs/Settings/properties"), of("/$defs/Deny/properties")].concat();
    assert!(members.len() > 10, "{members:?}");
    let headings: Vec<&str> = document.lines().filter(|line| line.starts_with("##")).collect();
    for member in members.iter().filter(|member| *member != "deny") {
        let is_explained = headings.iter().any(|line| line.contains(&format!("`{member}`")));
        assert!(
            is_explained && document.contains(&format!("  {member}:")),
            "{member} is not in docs/policy.md"
        );
    }
}

//! The verdicts on cards that other implementations signed, on attack documents and on odd chains.
//! Expected verdicts stand below `tests/interop_fixtures/`; the fixtures are described in `tests/fixtures/README.md`.

#![expect(clippy::unwrap_used, reason = "a test stops at a fixture that cannot be read")]

mod support;
#[path = "support/tables.rs"]
mod tables;

use countersign_core::budget::WorkBudget;
use countersign_core::bundle::{Bundle, parse_bundle};
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::card::Card;
use countersign_core::json::Numbers;
use countersign_core::policy::{Coverage, Policy};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, SignedCard, verify_card};
use countersign_core::x509::{Moments, parse_pem_chain, verify_chain};
use serde::Deserialize;
use std::collections::BTreeMap;
use support::{Disagreements, in_tests, read, read_json};
use tables::read_toml;

/// 2026-11-21T00:00:00Z, the moment for which the fixtures were made.
const NOW: i64 = 1_795_219_200;
const SIGNER: &str = "spiffe://example.org/ns/a/sa/b";

#[derive(Deserialize)]
struct Signed {
    file: String,
    card: String,
    signer: String,
    accepted_by: Vec<String>,
}

#[derive(Deserialize)]
struct Tampered {
    file: String,
    bundle: String,
}

#[derive(Deserialize)]
struct OddChain {
    chain: String,
    bundle: String,
    expected: String,
}

impl Signed {
    fn has_url(&self) -> bool {
        let document: serde_json::Value = read_json(&in_tests(&format!("fixtures/signed/{}", self.file)));
        document.get("url").is_some()
    }

    /// JavaScript serves unknown members as it got them, so the second spelling of a name is still in its document.
    fn has_alias(&self) -> bool {
        self.card == "43-kag-case-key" && self.signer.starts_with("js")
    }
}

fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn signer() -> SpiffeId {
    SpiffeId::parse(SIGNER).unwrap()
}

fn bundle(path: &str) -> Bundle {
    parse_bundle(&trust_domain(), read(&in_tests(&format!("fixtures/{path}")))).unwrap()
}

/// The defaults, but for the year that the fixtures' leaf lives.
fn defaults() -> Policy {
    let mut policy = Policy::new(trust_domain());
    policy.chain.max_svid_lifetime = None;
    policy
}

/// Everything that helps to verify what an SDK signed; what is not covered is only reported.
fn permissive(profiles: ProfileSet) -> Policy {
    let mut policy = defaults();
    policy.profiles = profiles;
    policy.numbers = Numbers::Binary64;
    policy.coverage = Coverage::Report;
    policy
}

fn verify(path: &str, bundle: &Bundle, policy: &Policy) -> Result<SignedCard, &'static str> {
    let expected = signer();
    let card = Card::parse(read(&in_tests(&format!("fixtures/{path}"))), policy.numbers)
        .map_err(|refusal| refusal.reason().code())?;
    let against =
        Against { bundle, policy, expected: Some(&expected), history: None, now: Timestamp::from_unix(NOW) };
    verify_card(&card, against).map_err(|rejection| rejection.refusal.reason().code())
}

/// One line for the tables: the profile and the coverage, or the reason code.
fn told(outcome: Result<SignedCard, &'static str>) -> String {
    match outcome {
        Ok(signed) => format!("{} {}", signed.profile().id(), signed.coverage().id()),
        Err(code) => code.to_owned(),
    }
}

fn signed_documents() -> Vec<Signed> {
    read_json(&in_tests("fixtures/signed/manifest.json"))
}

/// Compares a table of expected verdicts with what was found; both ways, so that neither can have more rows.
fn compare(name: &str, table: &str, found: impl IntoIterator<Item = (String, String)>) {
    let mut expected: BTreeMap<String, String> = read_toml(&in_tests(&format!("interop_fixtures/{table}")));
    let mut disagreements = Disagreements::default();
    for (row, verdict) in found {
        disagreements.check(&row, &expected.remove(&row), &Some(verdict));
    }
    for row in expected.keys() {
        disagreements.note(format_args!("{row} is expected but does not exist"));
    }
    disagreements.finish(name);
}

#[test]
fn every_signed_card_gets_its_reviewed_verdict_under_the_defaults() {
    let root = bundle("pki/root.pem");
    let policy = defaults();
    let found = signed_documents().into_iter().map(|signed| {
        let verdict = told(verify(&format!("signed/{}", signed.file), &root, &policy));
        (signed.file, verdict)
    });
    compare("verdicts under the defaults", "defaults.toml", found);
}

#[test]
fn every_signed_card_verifies_once_all_profiles_and_partial_coverage_are_allowed() {
    let root = bundle("pki/root.pem");
    let policy = permissive(ProfileSet::ALL);
    let mut found = Disagreements::default();
    for signed in signed_documents() {
        let outcome = verify(&format!("signed/{}", signed.file), &root, &policy);
        // The one document that still carries two spellings of a member: refused before anything is tried.
        let expected = if signed.has_alias() { Err("CardMemberAlias") } else { Ok(SIGNER.to_owned()) };
        found.check(&signed.file, &expected, &outcome.map(|signed| signed.spiffe_id().to_string()));
    }
    found.finish("verdicts with everything allowed");
}

/// A profile stands for an implementation only if it accepts exactly what that one accepted when it was run.
#[test]
fn every_profile_accepts_exactly_what_its_implementation_accepted() {
    let root = bundle("pki/root.pem");
    let mut found = Disagreements::default();
    for signed in signed_documents().iter().filter(|signed| !signed.has_alias()) {
        for (implementation, profile) in [
            ("py1.3.0", Profile::ProtoFoldedJcs),
            ("py1.1.0", Profile::PyLegacy),
            ("py0.3.26", Profile::Py03),
            ("js1.3.0", Profile::ProtoCleanJcs),
            ("kagenti", Profile::KagentiGo),
            ("rawJCS", Profile::JcsRaw),
            ("spec841", Profile::Spec841),
        ] {
            // This SDK refuses a card without `url` before it looks at the signature; its canonical form does not.
            if implementation == "py0.3.26" && !signed.has_url() {
                continue;
            }
            let policy = permissive(ProfileSet::NONE.with(profile));
            let outcome = verify(&format!("signed/{}", signed.file), &root, &policy);
            let theirs = signed.accepted_by.iter().any(|name| name == implementation);
            found.check(format_args!("{} under {}", signed.file, profile.id()), &theirs, &outcome.is_ok());
            if let Err(code) = outcome {
                found.check(
                    format_args!("{} under {}", signed.file, profile.id()),
                    &"SignatureInvalid",
                    &code,
                );
            }
        }
    }
    found.finish("profiles against measured verdicts");
}

#[test]
fn every_attack_document_is_refused_for_its_reason_and_the_controls_are_not() {
    let policy = defaults();
    let documents: Vec<Tampered> = read_json(&in_tests("fixtures/tampered/manifest.json"));
    let found = documents.into_iter().map(|tampered| {
        let bundle = bundle(&format!("pki/{}", tampered.bundle));
        let verdict = told(verify(&format!("tampered/{}", tampered.file), &bundle, &policy));
        (tampered.file, verdict)
    });
    compare("attack documents", "tampered.toml", found);
}

#[test]
fn every_odd_chain_is_judged_as_its_manifest_says() {
    let chains: Vec<OddChain> = read_json(&in_tests("fixtures/chains/manifest.json"));
    let now = Timestamp::from_unix(NOW);
    let mut found = Disagreements::default();
    for case in chains {
        let pem = String::from_utf8(read(&in_tests(&format!("fixtures/chains/{}", case.chain)))).unwrap();
        let certificates = parse_pem_chain(&pem).unwrap();
        let bundle = bundle(&format!("chains/{}", case.bundle));
        let mut budget = WorkBudget::default();
        let proof = verify_chain(
            &certificates,
            &trust_domain(),
            &bundle,
            &defaults().chain,
            Moments { now, leaf_at: now },
            &mut budget,
        );
        let told = proof.as_ref().map_or_else(|refusal| refusal.reason().code(), |_| "verified");
        found.check(&case.chain, &case.expected.as_str(), &told);
    }
    found.finish("odd chains");
}

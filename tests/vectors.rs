//! Public test vectors: where they come from and what is checked is told in `tests/vectors/README.md`.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test lists the files of a folder")]

#[path = "support/jwk.rs"]
mod jwk;
mod support;
#[path = "support/tables.rs"]
mod tables;

use countersign_core::bundle::parse_bundle;
use countersign_core::json::{Document, JsonLimits, Numbers, canonical_bytes};
use countersign_core::spiffe::TrustDomain;
use jwk::{Code, verify_compact, verify_parts};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::{Disagreements, in_tests, read, read_json};
use tables::read_toml;

/// What a vector says about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Accepted,
    Refused,
    /// Left to the implementation: the exceptions say what ours does.
    Open,
}

#[derive(Deserialize)]
struct Exceptions {
    exception: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    suite: String,
    cases: Vec<String>,
    /// "accepted", or the code of the refusal.
    found: String,
    why: String,
}

/// One suite of vectors: where it lies, its exceptions, and what was found so far.
struct Suite {
    name: &'static str,
    dir: PathBuf,
    exceptions: BTreeMap<String, (String, bool)>,
    found: Disagreements,
    cases: usize,
    out_of_scope: usize,
}

impl Suite {
    /// `None`, and a line that says so, if no vectors were given.
    fn open(name: &'static str, folder: &str) -> Option<Self> {
        let Some(root) = std::env::var_os("VECTORS_DIR") else {
            println!("{name}: did not run; set VECTORS_DIR, see tests/vectors/README.md");
            return None;
        };
        let listed: Exceptions = read_toml(&in_tests("vectors/exceptions.toml"));
        let mut found = Disagreements::default();
        let mut exceptions = BTreeMap::new();
        for exception in listed.exception.into_iter().filter(|exception| exception.suite == name) {
            found.check(
                format_args!("{:?} has a reason", exception.cases),
                &true,
                &(exception.why.len() > 10),
            );
            for case in exception.cases {
                let twice = exceptions.insert(case.clone(), (exception.found.clone(), false));
                found.check(format_args!("{case} is listed once"), &true, &twice.is_none());
            }
        }
        Some(Self { name, dir: Path::new(&root).join(folder), exceptions, found, cases: 0, out_of_scope: 0 })
    }

    fn files(&self, folder: &str, extension: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.dir.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        files.sort();
        files
    }

    fn case(&mut self, case: &str, says: Says, found: Result<(), Code>) {
        self.cases = self.cases.saturating_add(1);
        let found = found.err().unwrap_or("accepted");
        let agrees = match says {
            Says::Accepted => found == "accepted",
            Says::Refused => found != "accepted",
            Says::Open => false,
        };
        let listed = self.exceptions.get_mut(case).map(|(code, met)| {
            *met = true;
            code.clone()
        });
        match listed {
            Some(_) if agrees => {
                self.found.note(format_args!("{case}: agrees with its vector, so its exception must go"));
            }
            Some(code) => self.found.check(case, &code.as_str(), &found),
            None => self.found.check(
                format_args!("{case} is {found}, which the vector does not say"),
                &true,
                &agrees,
            ),
        }
    }

    fn finish(mut self) {
        for (case, (code, met)) in &self.exceptions {
            if !met {
                self.found
                    .note(format_args!("{case}: the exception {code:?} is for a case that does not exist"));
            }
        }
        println!(
            "{}: {} cases, {} exceptions, {} out of scope",
            self.name,
            self.cases,
            self.exceptions.len(),
            self.out_of_scope
        );
        assert!(self.cases > 0, "{}: no cases in {}", self.name, self.dir.display());
        self.found.finish(self.name);
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn parse(bytes: Vec<u8>, numbers: Numbers) -> Result<Document, Code> {
    Document::parse(bytes, &JsonLimits::CARD, numbers).map_err(|refusal| refusal.reason().code())
}

fn run_json_test_suite(name: &'static str, numbers: Numbers) {
    let Some(mut suite) = Suite::open(name, "json-test-suite") else { return };
    for file in suite.files("", "json") {
        let case = stem(&file);
        let says = match case.chars().next() {
            Some('y') => Says::Accepted,
            Some('n') => Says::Refused,
            _ => Says::Open,
        };
        suite.case(&case, says, parse(read(&file), numbers).map(drop));
    }
    suite.finish();
}

#[test]
fn json_is_read_as_the_test_suite_says_with_numbers_as_doubles() {
    run_json_test_suite("json-test-suite", Numbers::Binary64);
}

#[test]
fn json_is_read_as_the_test_suite_says_with_strict_numbers() {
    run_json_test_suite("json-test-suite-strict", Numbers::Strict);
}

#[test]
fn rfc_8785_examples_come_out_byte_for_byte() {
    let Some(mut suite) = Suite::open("rfc8785", "rfc8785") else { return };
    for file in suite.files("input", "json") {
        let name = stem(&file);
        let expected = read(&suite.dir.join(format!("output/{name}.json")));
        let hex = String::from_utf8(read(&suite.dir.join(format!("outhex/{name}.txt")))).unwrap();
        let found = parse(read(&file), Numbers::Binary64).map(|document| canonical_bytes(document.root()));
        let again = found
            .clone()
            .and_then(|bytes| parse(bytes, Numbers::Binary64))
            .map(|d| canonical_bytes(d.root()));
        suite.found.check(
            format_args!("{name}: as hexadecimal"),
            &to_hex(&expected),
            &hex.split_whitespace().collect(),
        );
        suite.found.check(format_args!("{name}: canonical form of the canonical form"), &found, &again);
        suite.case(
            &name,
            Says::Accepted,
            if found.as_ref() == Ok(&expected) { Ok(()) } else { Err("OtherBytes") },
        );
    }
    suite.finish();
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wycheproof {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    comment: String,
    public: Option<Value>,
    private: Option<Value>,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    tc_id: u32,
    comment: String,
    /// A compact JWS, or an object where the vector tries the JSON serialisation.
    jws: Value,
    result: String,
}

/// The keys of a group: one key, or a set of them.
fn keys(group: &Group) -> Vec<Value> {
    let key = group.public.as_ref().or(group.private.as_ref()).unwrap();
    key.get("keys").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![key.clone()])
}

fn run_wycheproof(name: &'static str, file: &str) {
    let Some(mut suite) = Suite::open(name, "wycheproof") else { return };
    let vectors: Wycheproof = read_json(&suite.dir.join(file));
    let mut tests = 0_usize;
    for group in &vectors.test_groups {
        let keys = keys(group);
        tests = tests.saturating_add(group.tests.len());
        if keys.iter().all(|key| key.get("kty").is_some_and(|kty| kty == "oct")) {
            suite.out_of_scope = suite.out_of_scope.saturating_add(group.tests.len());
            continue;
        }
        for test in &group.tests {
            let says = match test.result.as_str() {
                "valid" => Says::Accepted,
                "invalid" => Says::Refused,
                _ => Says::Open,
            };
            // Any of several keys may verify; a card's signature names exactly one.
            let found = match test.jws.as_str() {
                Some(jws) => {
                    keys.iter().map(|key| verify_compact(jws, key)).reduce(Result::or).unwrap_or(Err("NoKey"))
                }
                None => Err("NotCompact"),
            };
            suite.case(&format!("{} {} {}", test.tc_id, group.comment, test.comment), says, found);
        }
    }
    suite.found.check("number of tests in the file", &vectors.number_of_tests, &tests);
    suite.finish();
}

#[test]
fn wycheproof_signatures_are_judged_as_it_says() {
    run_wycheproof("wycheproof-jws", "json_web_signature_test.json");
}

#[test]
fn wycheproof_keys_are_judged_as_it_says() {
    run_wycheproof("wycheproof-jwk", "json_web_key_test.json");
}

#[test]
fn jose_cookbook_signatures_are_judged_as_the_rfcs_say() {
    let Some(mut suite) = Suite::open("jose-cookbook", "jose-cookbook") else { return };
    for folder in ["jws", "rfc7797", "curve25519"] {
        for file in suite.files(folder, "json") {
            let vector: Value = read_json(&file);
            let one_or_many =
                |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            let input = &vector["input"];
            let keys = one_or_many(&input["key"]);
            for (index, signing) in one_or_many(&vector["signing"]).iter().enumerate() {
                let text = |name: &str| signing.get(name).and_then(Value::as_str).unwrap_or_default();
                let (protected, payload) = text("sig-input").split_once('.').unwrap();
                let hmac = keys[index].get("kty").is_some_and(|kty| kty == "oct");
                let says = if hmac || folder == "rfc7797" { Says::Refused } else { Says::Accepted };
                let found = verify_parts(protected, payload, text("sig"), &keys[index]);
                suite.case(&format!("{} {index}", stem(&file)), says, found);
            }
        }
    }
    suite.finish();
}

#[test]
fn spiffe_bundles_give_anchors_only_where_they_are_sound() {
    let Some(mut suite) = Suite::open("spiffe-bundles", "spiffe-bundles") else { return };
    for file in suite.files("", "json") {
        let name = stem(&file);
        let says = match name.as_str() {
            "spiffebundle" | "spiffebundle2" | "spiffebundle_match_client_spiffe" | "spiffe_test" => {
                Says::Accepted
            }
            _ => Says::Refused,
        };
        for domain in trust_domains(&file) {
            let found =
                TrustDomain::parse(&domain).and_then(|domain| parse_bundle(&domain, read(&file))).map(drop);
            suite.case(&format!("{name} {domain}"), says, found.map_err(|refusal| refusal.reason().code()));
        }
    }
    suite.finish();
}

/// The trust domains of a bundle map; `example.com` for a bundle that names none, as SPIFFE bundles do.
fn trust_domains(file: &Path) -> Vec<String> {
    let value: Value = serde_json::from_slice(&read(file)).unwrap_or_default();
    match value.get("trust_domains").and_then(Value::as_object) {
        Some(domains) => domains.keys().cloned().collect(),
        None => vec!["example.com".to_owned()],
    }
}

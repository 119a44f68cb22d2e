//! An attacker who may edit honest cards, splice their signatures and sign with every key but the honest ones
//! never gets a card accepted that the honest workload did not sign; and what is accepted, OpenSSL accepts.
#![no_main]

use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::card::Card;
use countersign_core::encoding::sha256;
use countersign_core::json::Numbers;
use countersign_core::jws::{Algorithm, AlgorithmSet};
use countersign_core::policy::{Coverage, Policy, SignerRule};
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, CoverageLevel, SignedCard, verify_card};
use countersign_fuzz::authority::{DOMAIN, FOREIGN, NEIGHBOUR, NOW, WORKLOAD};
use countersign_fuzz::cards::{CardCase, EXAMPLES, Edit, apply};
use countersign_fuzz::case::{BUNDLE, CERTIFICATES, HONEST, NEIGHBOUR_ID, payload, sign};
use countersign_fuzz::rules::{Terms, judge};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use josekit::jws::{ES256, ES384, EdDSA, JwsVerifier, PS256, PS384, PS512, RS256, RS384, RS512};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Arbitrary, Debug)]
struct Case {
    base: Base,
    entries: Vec<Entry>,
    /// Changes to the finished text: place and new byte.
    bytes: Vec<(u16, u8)>,
    profiles: Option<u8>,
    report: bool,
    binary64: bool,
    expect_workload: bool,
    all_of: bool,
}

/// The card that is sent.
#[derive(Arbitrary, Debug)]
enum Base {
    /// The card of an honest signature, with edits.
    Honest {
        which: u8,
        edits: Vec<Edit>,
        keep_signature: bool,
    },
    Free(CardCase),
}

/// One entry of `signatures`.
#[derive(Arbitrary, Debug)]
enum Entry {
    Spliced { protected: u8, signature: u8 },
    Signed(Forgery),
    Malleated { which: u8, how: u8 },
    Free(String, String),
}

/// A signature by an attacker over the card that is sent.
#[derive(Arbitrary, Debug)]
struct Forgery {
    foreign_key: bool,
    profile: u8,
    alg: u8,
    chain: Vec<u8>,
    more: Option<(u8, String)>,
}

fuzz_target!(init: check_setting(), |case: Case| {
    let mut card = match &case.base {
        Base::Honest { which, edits, .. } => {
            let mut card = EXAMPLES[honest(*which).example].clone();
            apply(edits, &mut card);
            card
        }
        Base::Free(card) => card.build(),
    };
    let mut entries = Vec::new();
    if let Base::Honest { which, keep_signature: true, .. } = &case.base {
        let signed = honest(*which);
        entries.push(json!({"protected": signed.protected, "signature": signed.signature}));
    }
    entries.extend(case.entries.iter().take(4).map(|entry| entry.build(&card)));
    if let Some(object) = card.as_object_mut() {
        object.insert("signatures".to_owned(), Value::Array(entries));
    }
    let mut text = serde_json::to_vec(&card).expect("a text");
    for (place, byte) in case.bytes.iter().take(8) {
        let place = usize::from(*place) % text.len();
        text[place] = *byte;
    }
    // A refusal is never wrong here; `check` panics if an acceptance is.
    drop(check(text, &case.policy(), case.expect_workload));
});

fn honest(which: u8) -> &'static countersign_fuzz::case::Signed {
    &HONEST[usize::from(which) % HONEST.len()]
}

/// Without this a verifier that refuses everything would pass.
fn check_setting() {
    for signed in HONEST.iter() {
        let mut card = EXAMPLES[signed.example].clone();
        card["signatures"] = json!([{"protected": signed.protected, "signature": signed.signature}]);
        let text = serde_json::to_vec(&card).expect("a text");
        let case = Case {
            base: Base::Honest { which: 0, edits: Vec::new(), keep_signature: true },
            entries: Vec::new(),
            bytes: Vec::new(),
            profiles: None,
            report: true,
            binary64: true,
            expect_workload: true,
            all_of: false,
        };
        assert_eq!(check(text, &case.policy(), true), Ok(()), "an honest card is refused");
    }
}

impl Case {
    fn policy(&self) -> Policy {
        let mut policy = Policy::new(TrustDomain::parse(DOMAIN).expect("a trust domain"));
        policy.profiles = match self.profiles {
            None => ProfileSet::ALL,
            Some(which) => {
                let profile = Profile::ALL[usize::from(which) % Profile::ALL.len()];
                ProfileSet::NONE.with(profile)
            }
        };
        // Seven forms with a P-384 key cost more than the default allows.
        policy.budget = 2000;
        policy.algorithms = Algorithm::ALL.into_iter().collect::<AlgorithmSet>();
        policy.coverage = if self.report { Coverage::Report } else { Coverage::Strict };
        policy.numbers = if self.binary64 { Numbers::Binary64 } else { Numbers::Strict };
        policy.signers = if self.all_of { SignerRule::AllOf } else { SignerRule::AnyOf };
        policy
    }
}

impl Entry {
    fn build(&self, card: &Value) -> Value {
        let (protected, signature) = match self {
            Self::Spliced { protected, signature } => {
                (honest(*protected).protected.clone(), honest(*signature).signature.clone())
            }
            Self::Signed(forgery) => forgery.sign(card),
            Self::Malleated { which, how } => malleate(*which, *how),
            Self::Free(protected, signature) => (protected.clone(), signature.clone()),
        };
        json!({"protected": protected, "signature": signature})
    }
}

impl Forgery {
    fn sign(&self, card: &Value) -> (String, String) {
        let algs = ["ES256", "ES384", "RS256", "PS256", "none", "HS256", "es256", "EdDSA"];
        let alg = algs[usize::from(self.alg) % algs.len()];
        let certificate = |which: &u8| BASE64.encode(&CERTIFICATES[usize::from(*which) % CERTIFICATES.len()]);
        let chain: Vec<String> = self.chain.iter().take(4).map(certificate).collect();
        let mut header = json!({"alg": alg, "kid": "k1", "x5c": chain});
        if let Some((which, value)) = &self.more {
            let names = ["jwk", "jku", "x5u", "crit", "b64", "typ", "kid", "exp", "x5t#S256", "alg "];
            header[names[usize::from(*which) % names.len()]] = json!(value);
        }
        let profile = Profile::ALL[usize::from(self.profile) % Profile::ALL.len()];
        let payload = payload(card, profile).unwrap_or_default();
        let key = if self.foreign_key { FOREIGN } else { NEIGHBOUR };
        sign(&header.to_string(), &payload, "ES256", key)
    }
}

/// Other texts and other bytes for an honest signature.
fn malleate(which: u8, how: u8) -> (String, String) {
    let signed = honest(which);
    let mut bytes = BASE64URL_NOPAD.decode(signed.signature.as_bytes()).expect("base64url");
    match how % 5 {
        0 => bytes.insert(0, 0),
        1 => bytes.fill(0),
        2 => bytes.truncate(bytes.len() / 2),
        3 => return (signed.protected.clone(), format!("{}=", signed.signature)),
        _ => return (signed.protected.replace('A', "A\n"), signed.signature.clone()),
    }
    (signed.protected.clone(), BASE64URL_NOPAD.encode(&bytes))
}

/// The refusal, or nothing if the card was accepted.
fn check(text: Vec<u8>, policy: &Policy, expect_workload: bool) -> Result<(), Refusal> {
    let received = text.clone();
    let card = Card::parse(text, policy.numbers)?;
    let workload = SpiffeId::parse(WORKLOAD).expect("a SPIFFE ID");
    let now = Timestamp::from_unix(NOW);
    let expected = expect_workload.then_some(&workload);
    let against = Against { bundle: &BUNDLE, policy, expected, history: None, now };
    let signed = verify_card(&card, against).map_err(|rejection| rejection.refusal)?;

    let content = signed.document().text().as_bytes();
    let is_honest = HONEST.iter().any(|honest| honest.payload == content);
    let signer = signed.spiffe_id().as_str();
    assert!(signer == WORKLOAD || (signer == NEIGHBOUR_ID && !expect_workload), "{signer}");
    assert!(signer != WORKLOAD || is_honest, "{WORKLOAD} never signed {}", signed.document().text());
    check_proof(&received, &signed);
    check_coverage(&received, &signed, policy);
    Ok(())
}

/// One of the received signatures proves it: its chain by the rules, its bytes by OpenSSL.
fn check_proof(received: &[u8], signed: &SignedCard) {
    let card: Value = serde_json::from_slice(received).expect("JSON");
    let payload = BASE64URL_NOPAD.encode(signed.document().text().as_bytes());
    let proves = card["signatures"].as_array().expect("an array").iter().any(|entry| {
        let text = |name: &str| entry[name].as_str().expect("a string");
        let Ok(header) = BASE64URL_NOPAD.decode(text("protected").as_bytes()) else { return false };
        let Ok(signature) = BASE64URL_NOPAD.decode(text("signature").as_bytes()) else { return false };
        let Ok(header) = serde_json::from_slice::<Value>(&header) else { return false };
        let chain = header["x5c"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let chain: Vec<_> = chain.filter_map(|text| BASE64.decode(text.as_bytes()).ok()).collect();
        let Some(leaf) = chain.first().filter(|leaf| sha256(leaf) == signed.leaf()) else { return false };
        let terms = Terms { now: NOW, skew: 60, max_lifetime: 86_400 };
        let id = judge(&chain, &[CERTIFICATES[4].clone()], DOMAIN, terms);
        let input = format!("{}.{payload}", text("protected"));
        header["alg"] == signed.algorithm().name()
            && id.as_deref() == Ok(signed.spiffe_id().as_str())
            && verifier(signed.algorithm(), leaf).verify(input.as_bytes(), &signature).is_ok()
    });
    assert!(proves, "OpenSSL finds no proof in {card}");
}

fn verifier(algorithm: Algorithm, leaf: &[u8]) -> Box<dyn JwsVerifier> {
    let leaf = openssl::x509::X509::from_der(leaf).expect("a certificate");
    let key = leaf.public_key().and_then(|key| key.public_key_to_der()).expect("a key");
    match algorithm {
        Algorithm::Es256 => Box::new(ES256.verifier_from_der(key).expect("a P-256 key")),
        Algorithm::Es384 => Box::new(ES384.verifier_from_der(key).expect("a P-384 key")),
        Algorithm::Rs256 => Box::new(RS256.verifier_from_der(key).expect("an RSA key")),
        Algorithm::Rs384 => Box::new(RS384.verifier_from_der(key).expect("an RSA key")),
        Algorithm::Rs512 => Box::new(RS512.verifier_from_der(key).expect("an RSA key")),
        Algorithm::Ps256 => Box::new(PS256.verifier_from_der(key).expect("an RSA key")),
        Algorithm::Ps384 => Box::new(PS384.verifier_from_der(key).expect("an RSA key")),
        Algorithm::Ps512 => Box::new(PS512.verifier_from_der(key).expect("an RSA key")),
        Algorithm::EdDsa => Box::new(EdDSA.verifier_from_der(key).expect("an Ed25519 key")),
        algorithm => panic!("{algorithm} has no oracle here"),
    }
}

fn check_coverage(received: &[u8], signed: &SignedCard, policy: &Policy) {
    let hidden = signed.uncovered();
    if signed.coverage() == CoverageLevel::Full {
        assert!(hidden.is_empty(), "{hidden:?}");
    }
    if policy.coverage == Coverage::Strict && hidden.iter().any(|member| member.decides_security()) {
        let read = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("JSON");
        check_twins(&read(received), &read(signed.document().text().as_bytes()));
    }
    assert!(policy.profiles.contains(signed.profile()));
}

/// What decides about security and is not signed repeats what is signed (rules 61 to 64).
fn check_twins(received: &Value, signed: &Value) {
    assert!(urls(received).is_subset(&urls(signed)), "{received}");
    let names = |card: &Value| -> BTreeSet<String> {
        card["securitySchemes"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    assert!(names(received).is_subset(&names(signed)), "{received}");
    let scopes = |card: &Value| -> BTreeSet<(String, String)> {
        let newer =
            card["securityRequirements"].as_array().into_iter().flatten().map(|entry| &entry["schemes"]);
        let all = card["security"].as_array().into_iter().flatten().chain(newer);
        all.filter_map(Value::as_object)
            .flatten()
            .flat_map(|(name, scopes)| {
                let list = scopes.as_array().or(scopes["list"].as_array()).into_iter().flatten();
                list.filter_map(Value::as_str).map(|scope| (name.clone(), scope.to_owned()))
            })
            .collect()
    };
    assert_eq!(scopes(received), scopes(signed), "{received}");
    let extended = |card: &Value| {
        [&card["supportsAuthenticatedExtendedCard"], &card["capabilities"]["extendedAgentCard"]]
            .contains(&&Value::Bool(true))
    };
    assert!(!extended(received) || extended(signed), "{received}");
}

/// Every address that a reader of any version may call.
fn urls(card: &Value) -> BTreeSet<&str> {
    let lists = ["supportedInterfaces", "additionalInterfaces"];
    let listed = lists.iter().filter_map(|list| card[*list].as_array()).flatten().map(|entry| &entry["url"]);
    listed.chain([&card["url"]]).filter_map(Value::as_str).filter(|url| !url.is_empty()).collect()
}

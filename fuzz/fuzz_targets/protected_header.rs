//! An accepted JWS header, read a second time with `serde_json`, has nothing that must not be there, and the
//! values that we read from it are the ones that stand in it.
#![no_main]

use countersign_core::json::{Document, JsonLimits, Numbers};
use countersign_core::jws::{Algorithm, AlgorithmSet, Header, parse_header};
use countersign_fuzz::json::Facts;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const FORBIDDEN: [&str; 3] = ["crit", "b64", "jwk"];
const PROTECTED_ONLY: [&str; 14] = [
    "alg",
    "kid",
    "typ",
    "x5c",
    "jku",
    "jwk",
    "x5u",
    "x5t",
    "x5t#S256",
    "crit",
    "b64",
    "iat",
    "exp",
    "countersign.dev/form",
];

fuzz_target!(|data: &[u8]| {
    // The input is the protected header, and, behind a zero byte, the unprotected one.
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let protected = parts.next().unwrap_or_default();
    let unprotected = parts.next();
    let everything: AlgorithmSet = Algorithm::ALL.into_iter().collect();
    let (text, open) =
        (BASE64URL_NOPAD.encode(protected), std::str::from_utf8(protected).unwrap_or_default());
    for (allowed, require_key_id) in [(AlgorithmSet::DEFAULT, true), (everything, false)] {
        check(&text, unprotected, allowed, require_key_id);
        // The same bytes as the encoded text itself.
        check(open, None, allowed, require_key_id);
    }
});

fn check(text: &str, unprotected: Option<&[u8]>, allowed: AlgorithmSet, require_key_id: bool) {
    let document =
        match unprotected.map(|bytes| Document::parse(bytes.to_vec(), &JsonLimits::CARD, Numbers::Strict)) {
            Some(Err(_)) => return,
            Some(Ok(document)) => Some(document),
            None => None,
        };
    let shadow = document.as_ref().and_then(|document| document.root().as_object());
    if document.is_some() && shadow.is_none() {
        return;
    }
    let Ok(header) = parse_header(text, shadow, allowed, require_key_id) else { return };
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).expect("strict base64url");
    assert!(bytes.len() <= 16 * 1024);
    let facts = Facts::of(&bytes).expect("JSON");
    assert!(!facts.duplicates && !facts.nul, "{facts:?}");
    let members: Map<String, Value> = serde_json::from_slice(&bytes).expect("an object");
    assert!(members.len() <= 32);
    check_forbidden(&members);
    check_values(&header, &members, allowed, require_key_id);
    if let Some(bytes) = unprotected {
        let shadow: Map<String, Value> = serde_json::from_slice(bytes).expect("an object");
        for name in shadow.keys() {
            assert!(!PROTECTED_ONLY.contains(&name.as_str()) && !members.contains_key(name), "{name}");
        }
    }
}

fn check_forbidden(members: &Map<String, Value>) {
    for name in FORBIDDEN {
        assert!(!members.contains_key(name), "{name}");
    }
    for name in ["jku", "x5u"] {
        assert!(members.get(name).is_none_or(|value| value.is_null() || value.is_string()));
    }
    let types = ["JOSE", "JOSE+JSON", "JWT"];
    assert!(members.get("typ").is_none_or(|typ| typ.as_str().is_some_and(|typ| types.contains(&typ))));
}

fn check_values(header: &Header, members: &Map<String, Value>, allowed: AlgorithmSet, require_key_id: bool) {
    let alg = members["alg"].as_str().expect("a string");
    assert!(!alg.eq_ignore_ascii_case("none") && !alg.to_ascii_uppercase().starts_with("HS"));
    assert!(header.algorithm.name() == alg || (alg == "Ed25519" && header.algorithm == Algorithm::EdDsa));
    assert!(allowed.contains(header.algorithm));

    let kid = members.get("kid").map(|kid| kid.as_str().expect("a string"));
    assert_eq!(header.key_id.as_deref(), kid);
    assert!(kid.is_some() || !require_key_id);
    let is_seen =
        |kid: &str| kid.chars().all(|c| !c.is_control()) && (1..=256).contains(&kid.chars().count());
    assert!(kid.is_none_or(is_seen));

    let chain = members.get("x5c").map(|list| {
        let texts = list.as_array().expect("an array").iter().map(|text| text.as_str().expect("a string"));
        texts.map(|text| BASE64.decode(text.as_bytes()).expect("strict base64")).collect::<Vec<_>>()
    });
    assert_eq!(header.chain, chain);
    assert!(chain.is_none_or(|chain| (1..=5).contains(&chain.len())));

    let thumbprint = members.get("x5t#S256").map(|text| {
        BASE64URL_NOPAD.decode(text.as_str().expect("a string").as_bytes()).expect("strict base64url")
    });
    assert_eq!(header.thumbprint.map(|digest| digest.as_bytes().to_vec()), thumbprint);
    let seconds = |name| members.get(name).map(|time| time.as_f64().expect("a number") as i64);
    assert_eq!(header.issued_at.map(|time| time.as_unix()), seconds("iat"));
    assert_eq!(header.expires_at.map(|time| time.as_unix()), seconds("exp"));
}

//! A token that is accepted is accepted by josekit under the same key, and says what `serde_json` reads in it: the
//! issuer, us as audience, an end that has not come, and no other kind.
#![no_main]

use countersign_authbridge::jwt::{KeySet, TokenPolicy, parse_key_set, unverified_expiry, verify_token};
use countersign_core::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;
use josekit::jws::{ES256, JwsHeader, deserialize_compact, serialize_compact};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::sync::LazyLock;

const NOW: i64 = 1_795_000_000;

struct Issuer {
    key: josekit::jwk::alg::ec::EcKeyPair,
    keys: KeySet,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let key =
        josekit::jwk::alg::ec::EcKeyPair::generate(josekit::jwk::alg::ec::EcCurve::P256).expect("a key");
    let mut public: Value = serde_json::to_value(key.to_jwk_public_key().as_ref()).expect("a JWK");
    public["kid"] = json!("k1");
    let keys = parse_key_set(json!({ "keys": [public] }).to_string().into_bytes()).expect("a key set");
    Issuer { key, keys }
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let text = match choice % 3 {
        // Signed as it is: whatever claims the input has.
        0 => sign(br#"{"alg":"ES256","kid":"k1"}"#, rest),
        // The input is the header; the claims are good.
        1 => {
            let claims = json!({ "iss": "i", "aud": "a", "exp": NOW + 60 }).to_string();
            sign_with(rest, claims.as_bytes())
        }
        // The input is the token.
        _ => std::str::from_utf8(rest).ok().map(str::to_owned),
    };
    let Some(text) = text else { return };
    let policy = TokenPolicy::new("i", vec!["a".to_owned()]);
    let now = Timestamp::from_unix(NOW);
    let end = unverified_expiry(&text);
    let Ok(verified) = verify_token(&text, &ISSUER.keys, &policy, now) else { return };
    let verifier = ES256.verifier_from_jwk(&ISSUER.key.to_jwk_public_key()).expect("a verifier");
    let (payload, _) = deserialize_compact(&text, &verifier).expect("josekit refuses what we accept");
    let claims: Value = serde_json::from_slice(&payload).expect("claims");
    assert_eq!(claims["iss"], "i");
    let audiences = match &claims["aud"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    assert!(audiences.contains(&json!("a")));
    let expires = claims["exp"].as_f64().expect("a number");
    assert!(expires + 30.0 > NOW as f64, "{expires}");
    assert!(
        claims.get("typ").is_none_or(|kind| ["Bearer", "bearer", "DPoP"].iter().any(|known| kind == known))
    );
    assert_eq!(end, Some(verified.claims().expires_at));
});

fn sign(header: &[u8], payload: &[u8]) -> Option<String> {
    let signer = ES256.signer_from_jwk(&ISSUER.key.to_jwk_private_key()).ok()?;
    serialize_compact(payload, &JwsHeader::from_bytes(header).ok()?, &signer).ok()
}

/// Signs under a header that josekit might not write.
fn sign_with(header: &[u8], payload: &[u8]) -> Option<String> {
    let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(payload));
    let signer = ES256.signer_from_jwk(&ISSUER.key.to_jwk_private_key()).ok()?;
    let signature = josekit::jws::JwsSigner::sign(&signer, signed.as_bytes()).ok()?;
    Some(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}

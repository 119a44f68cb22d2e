//! JSON Web Keys and compact JWS, the forms in which the public vectors come, on top of the functions that judge an
//! agent's signature. Countersign itself takes keys from X.509 chains only.

use countersign_core::encoding::decode_base64url;
use countersign_core::jws::parse_header;
use countersign_core::jws::{Algorithm, AlgorithmSet, PublicKey, verify_signature};
use serde_json::Value;

/// The code of a refusal, or why the adapter could not ask.
pub(crate) type Code = &'static str;

/// Verifies `protected.payload.signature` with a JSON Web Key.
pub(crate) fn verify_compact(jws: &str, key: &Value) -> Result<(), Code> {
    let mut parts = jws.split('.');
    let (Some(protected), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("NotCompact");
    };
    verify_parts(protected, payload, signature, key)
}

/// Verifies one signature given by its three base64url texts.
pub(crate) fn verify_parts(protected: &str, payload: &str, signature: &str, key: &Value) -> Result<(), Code> {
    let algorithms = Algorithm::ALL.into_iter().fold(AlgorithmSet::default(), AlgorithmSet::with);
    // The vectors' headers have no `x5c`, and not all a `kid`; everything else is judged as in a card's signature.
    let header =
        parse_header(protected, None, algorithms, false).map_err(|refusal| refusal.reason().code())?;
    let algorithm = header.algorithm;
    decode(payload)?;
    let signature = decode(signature)?;
    let key = public_key(key)?;
    verify_signature(algorithm, &key, format!("{protected}.{payload}").as_bytes(), &signature)
        .map_err(|refusal| refusal.reason().code())
}

fn decode(text: &str) -> Result<Vec<u8>, Code> {
    decode_base64url(text).map_err(|refusal| refusal.reason().code())
}

/// The key, if it may verify signatures (RFC 7517 §4.2 and §4.3).
fn public_key(jwk: &Value) -> Result<PublicKey, Code> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    if member("use").is_some_and(|usage| usage != "sig") {
        return Err("KeyUse");
    }
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return Err("KeyUse");
    }
    PublicKey::from_spki(&spki(jwk)?).map_err(|refusal| refusal.reason().code())
}

/// The DER SubjectPublicKeyInfo of a JSON Web Key.
fn spki(jwk: &Value) -> Result<Vec<u8>, Code> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let number = |name: &str| decode(text(name).ok_or("KeyMember")?);
    let (algorithm, bits) = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let key = [integer(&number("n")?), integer(&number("e")?)].concat();
            ([oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]].concat(), tlv(0x30, &key))
        }
        (Some("EC"), Some(curve)) => {
            let curve: &[u8] = match curve {
                "P-256" => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
                "P-384" => &[0x2b, 0x81, 4, 0, 0x22],
                "P-521" => &[0x2b, 0x81, 4, 0, 0x23],
                _ => return Err("KeyCurve"),
            };
            let point = [vec![4], number("x")?, number("y")?].concat();
            ([oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), oid(curve)].concat(), point)
        }
        (Some("OKP"), Some("Ed25519")) => (oid(&[0x2b, 0x65, 0x70]), number("x")?),
        _ => return Err("KeyType"),
    };
    let bit_string = tlv(3, &[vec![0], bits].concat());
    Ok(tlv(0x30, &[tlv(0x30, &algorithm), bit_string].concat()))
}

fn oid(content: &[u8]) -> Vec<u8> {
    tlv(6, content)
}

/// A positive INTEGER with the shortest content.
fn integer(magnitude: &[u8]) -> Vec<u8> {
    let start = magnitude.iter().position(|byte| *byte != 0).unwrap_or(magnitude.len());
    let magnitude = magnitude.get(start..).unwrap_or_default();
    let sign = if magnitude.first().is_none_or(|byte| *byte >= 0x80) { &[0][..] } else { &[] };
    tlv(2, &[sign, magnitude].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = length.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    let mut out = vec![tag];
    match length.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

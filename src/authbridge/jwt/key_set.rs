//! JSON Web Key Sets (RFC 7517), of which only public signature keys are used.
//! A key that cannot be used is skipped and counted; a malformed set is refused as a whole.

use super::der;
use crate::limits::{KEY_SET, KEY_SET_KEYS};
use countersign_core::encoding::{Digest, decode_base64url, sha256};
use countersign_core::json::{Document, Numbers, Object, Value};
use countersign_core::jws::{Algorithm, KeyKind, PublicKey};
use countersign_core::limits::KEY_ID_CHARS;
use countersign_core::refusal::{Reason, Refusal};

/// Usable keys of one document, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    skipped: usize,
    digest: Digest,
}

/// Public key, with the ID and algorithm that the set gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VerificationKey {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    public: PublicKey,
}

impl KeySet {
    /// Number of usable keys; at least one.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Always false, since a set without a usable key is refused; `len` wants this beside it.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of skipped entries: encryption keys, unknown types, malformed ones.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// SHA-256 of the document. Tokens verified under another digest have to be verified again.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Keys that may verify a signature with this algorithm and key ID. A token without an ID has a key only if exactly
    /// one fits, so that a forged token costs one verification and not one per key.
    pub(super) fn find(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &PublicKey> {
        let fits = move |key: &&VerificationKey| {
            algorithm.fits(key.public.kind()) && key.algorithm.is_none_or(|named| named == algorithm)
        };
        let only = key_id.is_none() && self.keys.iter().filter(fits).count() == 1;
        self.keys
            .iter()
            .filter(fits)
            .filter(move |key| only || (key_id.is_some() && key.id.as_deref() == key_id))
            .map(|key| &key.public)
    }
}

/// Parses a key set.
///
/// `KeySetMalformed` when the document is not a key set, has more than [`KEY_SET_KEYS`] entries, or holds no key
/// that may verify a signature.
pub fn parse_key_set(bytes: Vec<u8>) -> Result<KeySet, Refusal> {
    let digest = sha256(&bytes);
    let document = Document::parse(bytes, &KEY_SET, Numbers::Binary64)
        .map_err(|refusal| malformed(refusal.message()))?;
    let entries = document.root().as_object().and_then(|set| set.get("keys")).and_then(Value::as_array);
    let entries = entries.ok_or_else(|| malformed("it is not an object with an array `keys`"))?;
    if entries.len() > KEY_SET_KEYS {
        return Err(malformed(&format!("it has {} keys, the limit is {KEY_SET_KEYS}", entries.len())));
    }
    let keys: Vec<VerificationKey> =
        entries.iter().filter_map(|entry| entry.as_object().and_then(read_key)).collect();
    if keys.is_empty() {
        return Err(malformed(&format!("none of its {} keys may verify a signature here", entries.len())));
    }
    let skipped = entries.len().saturating_sub(keys.len());
    Ok(KeySet { keys, skipped, digest })
}

fn malformed(problem: &str) -> Refusal {
    Refusal::new(Reason::KeySetMalformed, format!("the key set is not usable: {problem}"))
}

/// Parses one signature key; `None` for any other entry, which RFC 7517 §5 says to ignore.
fn read_key(key: Object<'_>) -> Option<VerificationKey> {
    let may_verify = key.get("use").is_none_or(|usage| usage.as_str() == Some("sig"))
        && key.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some("verify")))
        });
    // A published private or symmetric key lets anybody sign, so it verifies nothing.
    let is_public = ["d", "k", "p", "q"].iter().all(|name| key.get(name).is_none());
    if !may_verify || !is_public {
        return None;
    }
    let id = match key.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().filter(|id| id.chars().count() <= KEY_ID_CHARS)?.to_owned()),
    };
    let algorithm = match key.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::parse(name.as_str()?).ok()?),
    };
    let public = PublicKey::from_spki(&subject_public_key_info(key)?).ok()?;
    algorithm.is_none_or(|named| named.fits(public.kind())).then_some(VerificationKey {
        id,
        algorithm,
        public,
    })
}

/// DER `SubjectPublicKeyInfo` of a JSON Web Key (RFC 7518 §6, RFC 8037 §2).
fn subject_public_key_info(key: Object<'_>) -> Option<Vec<u8>> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let number = |name: &str| decode_base64url(text(name)?).ok();
    let (algorithm, bits) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let both = [der::unsigned(&number("n")?)?, der::unsigned(&number("e")?)?].concat();
            (KeyKind::Rsa { bits: 0 }, der::write(der::SEQUENCE, &both)?)
        }
        ("EC", Some("P-256")) => (KeyKind::P256, point(&number("x")?, &number("y")?, 32)?),
        ("EC", Some("P-384")) => (KeyKind::P384, point(&number("x")?, &number("y")?, 48)?),
        ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, number("x")?),
        _ => return None,
    };
    let algorithm = der::write(der::SEQUENCE, algorithm.algorithm_id())?;
    let bits = der::write(der::BIT_STRING, &[&[0], bits.as_slice()].concat())?;
    der::write(der::SEQUENCE, &[algorithm, bits].concat())
}

/// Uncompressed point; each coordinate must have exactly the length of the curve (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256_KEY: &str = r#"{"kty":"EC","crv":"P-256","kid":"a","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn set(keys: &str) -> Result<KeySet, Refusal> {
        parse_key_set(format!("{{\"keys\":[{keys}]}}").into_bytes())
    }

    #[test]
    fn a_key_is_found_by_its_id_and_by_nothing_else() {
        let keys = set(P256_KEY).unwrap();
        assert_eq!(keys.find(Some("a"), Algorithm::Es256).count(), 1);
        assert_eq!(keys.find(Some("b"), Algorithm::Es256).count(), 0);
        assert_eq!(keys.find(Some("a"), Algorithm::Es384).count(), 0);
        assert_eq!(keys.find(None, Algorithm::Es256).count(), 1, "the only one needs no name");
        let two = set(&format!("{P256_KEY},{}", P256_KEY.replace("\"a\"", "\"b\""))).unwrap();
        assert_eq!(two.find(None, Algorithm::Es256).count(), 0, "keys are not tried in turn");
    }

    #[test]
    fn what_is_no_public_signature_key_is_passed_over() {
        for other in [
            P256_KEY.replace("\"sig\"", "\"enc\""),
            P256_KEY.replace("\"use\":\"sig\"", "\"key_ops\":[\"sign\"]"),
            P256_KEY.replace("\"use\":\"sig\"", "\"d\":\"AA\""),
            P256_KEY.replace("\"use\":\"sig\"", "\"alg\":\"ES384\""),
            P256_KEY.replace("\"use\":\"sig\"", "\"alg\":\"HS256\""),
            P256_KEY.replace("P-256", "P-521"),
            P256_KEY.replace("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "f83O"),
            r#"{"kty":"oct","k":"AAAA","kid":"x"}"#.to_owned(),
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        ] {
            let keys = set(&format!("{other},{P256_KEY}")).expect(&other);
            assert_eq!((keys.len(), keys.skipped()), (1, 1), "{other}");
            assert_eq!(set(&other).unwrap_err().reason(), Reason::KeySetMalformed, "{other}");
        }
    }

    #[test]
    fn a_set_that_two_readers_could_read_differently_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[],"keys":[]}"#,
            &format!("{{\"keys\":[{}]}}", vec!["{}"; KEY_SET_KEYS + 1].join(",")),
        ] {
            let refusal = parse_key_set(text.as_bytes().to_vec()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::KeySetMalformed, "{text}");
        }
    }
}

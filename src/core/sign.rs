//! The signer: puts a card into the form on which all current readers agree, and signs that.
//! Pure but for the randomness that is passed in.

use super::canon::{Profile, canonicalize, uncovered};
use super::card::Card;
use super::encoding::{encode_base64_standard_into, encode_base64url_into, sha256};
use super::json::{Document, JsonLimits, Numbers};
use super::jws::{Algorithm, verify_signature};
use super::limits::{CHAIN_CERTIFICATES, SHORT_KEY_ID_DIGITS};
use super::refusal::{Reason, Refusal};
use super::text::Quoted;
use super::time::{Seconds, Timestamp};
use super::x509::leaf_facts;
use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use std::fmt;

/// A private key for signing cards: P-256, P-384 or RSA.
pub struct SigningKey(Private);

enum Private {
    Ecdsa(EcdsaKeyPair, Algorithm),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ***)", self.algorithm())
    }
}

impl SigningKey {
    /// Reads a PKCS#8 private key.
    pub fn from_pkcs8(der: &[u8], random: &dyn SecureRandom) -> Result<Self, Refusal> {
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, random);
        let p384 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der, random);
        let rsa = || RsaKeyPair::from_pkcs8(der);
        p256.map(|key| Private::Ecdsa(key, Algorithm::Es256))
            .or_else(|_| p384().map(|key| Private::Ecdsa(key, Algorithm::Es384)))
            .or_else(|_| rsa().map(Private::Rsa))
            .map(Self)
            .map_err(|_| {
                Refusal::new(
                    Reason::SigningKeyUnusable,
                    "the key is not a PKCS#8 P-256, P-384 or RSA private key",
                )
            })
    }

    /// The algorithm that this key signs with.
    pub const fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Private::Ecdsa(_, algorithm) => *algorithm,
            Private::Rsa(_) => Algorithm::Rs256,
        }
    }

    fn sign(&self, input: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, Refusal> {
        let failed = |_| Refusal::new(Reason::SigningKeyUnusable, "the key could not sign");
        match &self.0 {
            Private::Ecdsa(key, _) => {
                key.sign(random, input).map(|made| made.as_ref().to_vec()).map_err(failed)
            }
            Private::Rsa(key) => {
                let mut made = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, random, input, &mut made).map_err(failed)?;
                Ok(made)
            }
        }
    }
}

/// What a signature is made with besides the card.
#[derive(Clone, Copy, Debug)]
pub struct SignOptions<'a> {
    /// The certificates of the key, DER, leaf first.
    pub chain: &'a [Vec<u8>],
    /// How long the signature lasts; `None` as long as the leaf. Past the leaf's end it counts only where
    /// `witnessed` freshness is allowed.
    pub lifetime: Option<Seconds>,
    /// Adds a second signature, over kagenti's projection, for its existing verifier.
    pub also_kagenti: bool,
    /// The moment of signing.
    pub now: Timestamp,
}

/// Returns the card, in compact JSON, with new signatures in place of any old ones.
///
/// The form is the one on which `spec841`, `jcs-raw` and `proto-clean-jcs` coincide, so that every current
/// reader verifies it and everything received is covered. A card that cannot be put into it is refused.
pub fn sign_card(
    bytes: Vec<u8>,
    key: &SigningKey,
    options: SignOptions<'_>,
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, Refusal> {
    let card = Card::parse(without_signatures(bytes)?, Numbers::Strict)?;
    let form = common_form(&card)?;
    let header = protected_header(key, options)?;
    let mut signatures = vec![entry(&header, &form, key, options, random)?];
    if options.also_kagenti {
        let served = Document::parse(form.clone(), &JsonLimits::CARD, Numbers::Strict)?;
        let projection = canonicalize(&served, Profile::KagentiGo)?;
        signatures.push(entry(&header, &projection, key, options, random)?);
    }
    // The form is an object that is not empty, so its last byte is the closing brace.
    let mut signed = form;
    signed.pop();
    signed.extend_from_slice(b",\"signatures\":[");
    signed.extend_from_slice(signatures.join(",").as_bytes());
    signed.extend_from_slice(b"]}");
    Ok(signed)
}

/// Old signatures go before the card is judged: they are replaced, whatever they were.
fn without_signatures(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let document = Document::parse(bytes, &JsonLimits::CARD, Numbers::Strict)?;
    if document.root().as_object().is_none_or(|root| root.get("signatures").is_none()) {
        return Ok(document.text().as_bytes().to_vec());
    }
    canonicalize(&document, Profile::JcsRaw)
}

/// The form on which profiles 1, 2 and 3 coincide, or why the card has none.
fn common_form(card: &Card) -> Result<Vec<u8>, Refusal> {
    let refuse = |found: String| Err(Refusal::new(Reason::CardNotSignable, found));
    let lost = uncovered(card.document(), Profile::ProtoCleanJcs)?;
    if let Some(first) = lost.listed().first() {
        let place = Quoted(first.pointer());
        return refuse(format!(
            "{place} is not a 1.0 member with content, so stripping readers do not see it"
        ));
    }
    let form = canonicalize(card.document(), Profile::ProtoCleanJcs)?;
    let stripped = Document::parse(form.clone(), &JsonLimits::CARD, Numbers::Strict)?;
    let root = stripped.root().as_object();
    let required = [
        "name",
        "description",
        "version",
        "supportedInterfaces",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
    ];
    let missing = required.into_iter().find(|name| root.and_then(|root| root.get(name)).is_none());
    if let Some(missing) = missing {
        return refuse(format!("the required member `{missing}` is absent or empty"));
    }
    let differs = [Profile::Spec841, Profile::JcsRaw]
        .into_iter()
        .find(|profile| canonicalize(&stripped, *profile).ok().as_ref() != Some(&form));
    match differs {
        Some(profile) => refuse(format!("the forms {profile} and {} differ", Profile::ProtoCleanJcs)),
        None => Ok(form),
    }
}

fn protected_header(key: &SigningKey, options: SignOptions<'_>) -> Result<String, Refusal> {
    let chain = options.chain;
    let Some(leaf) = chain.first().filter(|_| chain.len() <= CHAIN_CERTIFICATES) else {
        let found = format!("the chain has {} certificates, not 1 to {CHAIN_CERTIFICATES}", chain.len());
        return Err(Refusal::new(Reason::ChainTooLarge, found));
    };
    let facts = leaf_facts(leaf)?;
    if options.now > facts.not_after || options.now < facts.not_before {
        let found = format!(
            "the leaf is valid from {} to {}, now is {}",
            facts.not_before, facts.not_after, options.now
        );
        return Err(Refusal::new(Reason::CertificateExpired, found));
    }
    let expires_at = match options.lifetime {
        Some(lifetime) => options.now.plus(lifetime),
        None => facts.not_after,
    };
    let mut fingerprint = sha256(leaf).to_string();
    fingerprint.truncate(SHORT_KEY_ID_DIGITS);
    let mut certificates = String::new();
    for der in chain {
        certificates.push_str(if certificates.is_empty() { "\"" } else { "\",\"" });
        encode_base64_standard_into(der, &mut certificates);
    }
    let header = format!(
        r#"{{"alg":"{}","exp":{},"iat":{},"kid":"{fingerprint}","typ":"JOSE","x5c":[{certificates}"]}}"#,
        key.algorithm(),
        expires_at.as_unix(),
        options.now.as_unix(),
    );
    let mut protected = String::new();
    encode_base64url_into(header.as_bytes(), &mut protected);
    Ok(protected)
}

/// One entry of `signatures`, checked with the leaf's key before it leaves.
fn entry(
    protected: &str,
    payload: &[u8],
    key: &SigningKey,
    options: SignOptions<'_>,
    random: &dyn SecureRandom,
) -> Result<String, Refusal> {
    let mut input = format!("{protected}.");
    encode_base64url_into(payload, &mut input);
    let made = key.sign(input.as_bytes(), random)?;
    let leaf = options.chain.first().map(|leaf| leaf_facts(leaf)).transpose()?;
    let matches = leaf
        .is_some_and(|leaf| verify_signature(key.algorithm(), &leaf.key, input.as_bytes(), &made).is_ok());
    if !matches {
        let found = "the private key does not belong to the first certificate of the chain";
        return Err(Refusal::new(Reason::SigningKeyUnusable, found));
    }
    let mut signature = String::new();
    encode_base64url_into(&made, &mut signature);
    Ok(format!(r#"{{"protected":"{protected}","signature":"{signature}"}}"#))
}

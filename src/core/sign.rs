//! Signing of cards: writes a card in the form on which all current readers agree, and signs that form.
//! The private key may live in a KMS or an HSM, so every signature is verified before a card carries it.

use super::canon::{Profile, canonicalize, uncovered};
use super::card::Card;
use super::encoding::{encode_base64_standard_into, encode_base64url_into, sha256};
use super::json::{Document, JsonLimits, Numbers};
use super::jws::{Algorithm, KeyKind, PublicKey, verify_signature};
use super::limits::{CHAIN_CERTIFICATES, SHORT_KEY_ID_DIGITS};
use super::refusal::{Reason, Refusal};
use super::text::Quoted;
use super::time::{Seconds, Timestamp};
use super::x509::leaf_facts;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use std::fmt;

/// A private key that signs cards: a [`SigningKey`], or a key that stays in a KMS or an HSM.
///
/// The matching public key is that of the first certificate in [`SignOptions::chain`].
///
/// ```
/// # use countersign_core::{jws::Algorithm, refusal::Refusal, sign::Signer};
/// # struct Hsm;
/// # impl Hsm { fn sign_p256(&self, _: &[u8]) -> Result<[u8; 64], Refusal> { Ok([1; 64]) } }
/// impl Signer for Hsm {
///     fn algorithm(&self) -> Algorithm {
///         Algorithm::Es256
///     }
///     fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, Refusal> {
///         Ok(self.sign_p256(signing_input)?.to_vec())
///     }
/// }
/// ```
pub trait Signer {
    /// The algorithm of the signatures that [`Self::sign`] returns.
    fn algorithm(&self) -> Algorithm;

    /// Signs `signing_input` and returns the signature in the form of RFC 7518 §3: for ECDSA r and s, each of the
    /// length of the curve, not DER. Fails with [`Reason::SigningKeyUnusable`].
    fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, Refusal>;
}

/// A private key in memory: P-256, P-384 or RSA.
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
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Refusal> {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
        let p384 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der, &random);
        let rsa = || RsaKeyPair::from_pkcs8(der);
        p256.map(|key| Private::Ecdsa(key, Algorithm::Es256))
            .or_else(|_| p384().map(|key| Private::Ecdsa(key, Algorithm::Es384)))
            .or_else(|_| rsa().map(Private::Rsa))
            .map(Self)
            .map_err(|_| unusable("the key is not a PKCS#8 P-256, P-384 or RSA private key"))
    }
}

impl Signer for SigningKey {
    fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Private::Ecdsa(_, algorithm) => *algorithm,
            Private::Rsa(_) => Algorithm::Rs256,
        }
    }

    fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, Refusal> {
        let failed = |_| unusable("the key could not sign");
        let random = SystemRandom::new();
        match &self.0 {
            Private::Ecdsa(key, _) => {
                key.sign(&random, signing_input).map(|made| made.as_ref().to_vec()).map_err(failed)
            }
            Private::Rsa(key) => {
                let mut made = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signing_input, &mut made).map_err(failed)?;
                Ok(made)
            }
        }
    }
}

fn unusable(found: impl AsRef<str>) -> Refusal {
    Refusal::new(Reason::SigningKeyUnusable, found)
}

/// Inputs of a signature besides the card and the key.
#[derive(Clone, Copy, Debug)]
pub struct SignOptions<'a> {
    /// The certificates of the key: DER, leaf first, at most five.
    pub chain: &'a [Vec<u8>],
    /// Lifetime of the signature; `None` ends the signature with the leaf. Past the end of the leaf only verifiers with
    /// `witnessed` freshness accept the card.
    pub lifetime: Option<Seconds>,
    /// Adds a second signature, over kagenti's canonical form, for kagenti's own verifier.
    pub also_kagenti: bool,
    /// The time of signing, written as `iat`.
    pub now: Timestamp,
}

/// Returns the card, in compact JSON, with new signatures instead of any old ones.
///
/// The signed form is the one on which `spec841`, `jcs-raw` and `proto-clean-jcs` coincide, so that every current
/// reader verifies the card and every member is covered. A card without such a form is refused, and so is a
/// signature that the first certificate of the chain does not verify.
///
/// ```
/// # use countersign_core::{sign::{SignOptions, SigningKey, sign_card}, time::Timestamp};
/// # let mut leaf = rcgen::CertificateParams::default();
/// # leaf.subject_alt_names = vec![rcgen::SanType::URI("spiffe://example.org/ns/demo/sa/weather".try_into()?)];
/// # leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
/// # let key = rcgen::KeyPair::generate()?;
/// # let chain = [leaf.self_signed(&key)?.der().to_vec()];
/// # let card = include_bytes!("../../tests/fixtures/doc/card.json").to_vec();
/// # let now = Timestamp::from_unix(1_795_219_200);
/// let key = SigningKey::from_pkcs8(&key.serialize_der())?;
/// let options = SignOptions { chain: &chain, lifetime: None, also_kagenti: false, now };
/// let signed: Vec<u8> = sign_card(card, &key, options)?;
/// # assert!(signed.ends_with(b"\"}]}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sign_card(bytes: Vec<u8>, signer: &dyn Signer, options: SignOptions<'_>) -> Result<Vec<u8>, Refusal> {
    let card = Card::parse(without_signatures(bytes)?, Numbers::Strict)?;
    let form = common_form(&card)?;
    let signing = Signing::begin(signer, options)?;
    let mut signatures = vec![signing.entry(&form)?];
    if options.also_kagenti {
        let served = Document::parse(form.clone(), &JsonLimits::CARD, Numbers::Strict)?;
        signatures.push(signing.entry(&canonicalize(&served, Profile::KagentiGo)?)?);
    }
    // The form is an object that is not empty, so its last byte is the closing brace.
    let mut card = form;
    card.pop();
    card.extend_from_slice(b",\"signatures\":[");
    card.extend_from_slice(signatures.join(",").as_bytes());
    card.extend_from_slice(b"]}");
    Ok(card)
}

/// Removes old signatures before the card is checked: they are replaced, even if they are malformed.
fn without_signatures(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let document = Document::parse(bytes, &JsonLimits::CARD, Numbers::Strict)?;
    if document.root().as_object().is_none_or(|root| root.get("signatures").is_none()) {
        return Ok(document.text().as_bytes().to_vec());
    }
    canonicalize(&document, Profile::JcsRaw)
}

/// The canonical form on which `spec841`, `jcs-raw` and `proto-clean-jcs` coincide, or a refusal if they differ.
fn common_form(card: &Card) -> Result<Vec<u8>, Refusal> {
    let refuse = |found: String| Err(Refusal::new(Reason::CardNotSignable, found));
    let lost = uncovered(card.document(), Profile::ProtoCleanJcs)?;
    if let Some(first) = lost.listed().first() {
        let pointer = Quoted(first.pointer());
        return refuse(format!(
            "{pointer} is not a 1.0 member with content, so stripping readers do not see it"
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

/// The parts that all new signatures of one card share.
struct Signing<'a> {
    signer: &'a dyn Signer,
    algorithm: Algorithm,
    /// The key of the first certificate, the only one that readers verify with.
    leaf_key: PublicKey,
    /// The protected header, in base64url.
    protected: String,
}

impl<'a> Signing<'a> {
    fn begin(signer: &'a dyn Signer, options: SignOptions<'_>) -> Result<Self, Refusal> {
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
        // Read once, so that the `alg` that is written and the one that is checked cannot differ.
        let algorithm = signer.algorithm();
        let kind = facts.key.kind();
        // No reader accepts a chain with an Ed25519 key (rule 39).
        if !algorithm.fits(kind) || kind == KeyKind::Ed25519 {
            let found =
                format!("the key signs with {algorithm}; the first certificate of the chain is for {kind}");
            return Err(unusable(found));
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
            r#"{{"alg":"{algorithm}","exp":{},"iat":{},"kid":"{fingerprint}","typ":"JOSE","x5c":[{certificates}"]}}"#,
            expires_at.as_unix(),
            options.now.as_unix(),
        );
        let mut protected = String::new();
        encode_base64url_into(header.as_bytes(), &mut protected);
        Ok(Self { signer, algorithm, leaf_key: facts.key, protected })
    }

    /// Signs `payload` and returns one entry of `signatures`, after verifying the signature as a reader will.
    fn entry(&self, payload: &[u8]) -> Result<String, Refusal> {
        let protected = &self.protected;
        let mut input = format!("{protected}.");
        encode_base64url_into(payload, &mut input);
        let made = self.signer.sign(input.as_bytes())?;
        verify_signature(self.algorithm, &self.leaf_key, input.as_bytes(), &made).map_err(|refusal| {
            match refusal.reason() {
                Reason::SignatureInvalid => {
                    unusable("the private key does not belong to the first certificate of the chain")
                }
                _ => unusable(refusal.message()),
            }
        })?;
        let mut signature = String::new();
        encode_base64url_into(&made, &mut signature);
        Ok(format!(r#"{{"protected":"{protected}","signature":"{signature}"}}"#))
    }
}

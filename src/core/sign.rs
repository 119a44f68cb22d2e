//! Signing of cards: over the form on which all current readers agree, or over all members and over the SDKs' form.
//! The private key may live in a KMS or an HSM, so every signature is verified before a card carries it.

use super::canon::{Profile, UncoveredMembers, canonicalize, missing_member, uncovered};
use super::card::Card;
use super::encoding::{encode_base64_standard_into, encode_base64url_into, sha256};
use super::json::{Document, JsonLimits, Numbers, Object, ObjectWriter};
use super::jws::{Algorithm, FORM_PARAMETER, KeyKind, PublicKey, verify_signature};
use super::limits::{CHAIN_CERTIFICATES, SHORT_KEY_ID_DIGITS};
use super::refusal::{Reason, Refusal};
use super::text::Quoted;
use super::time::{Seconds, Timestamp};
use super::verify::parse_payload;
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

/// A card with new signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewlySigned {
    /// The card, in compact JSON.
    pub card: Vec<u8>,
    /// The coverage of each signature, in the order of `signatures`.
    pub signatures: Vec<NewSignature>,
    /// The reason why no signature is for the A2A SDKs; `None` if one is.
    pub without_sdks: Option<Refusal>,
}

/// The coverage of a new signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewSignature {
    /// The profiles under which the signature verifies, in the order of trial.
    pub profiles: Vec<Profile>,
    /// The members of the card that the signature does not cover.
    pub uncovered: UncoveredMembers,
}

/// Returns the card with new signatures instead of any old ones. A verifier with the default policy accepts the first.
///
/// Where the forms of `spec841`, `jcs-raw` and `proto-clean-jcs` can be made to coincide without losing a member, the
/// card is written in that form, and one signature serves every current reader. Any other card keeps its members and
/// gets a signature over all of them (`jcs-raw`), and, if the A2A SDKs have a form for it that leaves out nothing that
/// decides about security, a second one over that form (`proto-folded-jcs`, which is `proto-clean-jcs` for a card
/// without 0.3 members). A document that is no card, one
/// that grows beyond the limits of a reader, and a signature that the first certificate of the chain does not verify
/// are refused.
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
/// let signed: Vec<u8> = sign_card(card, &key, options)?.card;
/// # assert!(signed.ends_with(b"\"}]}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sign_card(
    bytes: Vec<u8>,
    signer: &dyn Signer,
    options: SignOptions<'_>,
) -> Result<NewlySigned, Refusal> {
    let received = Card::parse(without_signatures(bytes)?, Numbers::Strict)?;
    let served = common_form(&received).unwrap_or_else(|| received.document().clone());
    let whole = canonicalize(&served, Profile::JcsRaw)?;
    parse_payload(whole.clone())?;
    let mut forms = vec![(Profile::JcsRaw, whole)];
    let mut without_sdks = None;
    match form_of_sdks(&served) {
        Ok(form) if forms.iter().all(|(_, other)| *other != form) => {
            forms.push((Profile::ProtoFoldedJcs, form));
        }
        Ok(_) => {}
        Err(refusal) => without_sdks = Some(refusal),
    }
    if options.also_kagenti {
        forms.push((Profile::KagentiGo, stripped_form(&served, Profile::KagentiGo)?));
    }
    let signing = Signing::begin(signer, options)?;
    let entries =
        forms.iter().map(|(profile, form)| signing.entry(*profile, form)).collect::<Result<Vec<_>, _>>()?;
    let card = with_entries(&served, &entries);
    // The signatures may have made the card larger than readers accept.
    Card::parse(card.clone(), Numbers::Strict)?;
    let signatures = forms
        .into_iter()
        .map(|(profile, form)| NewSignature::of(&served, profile, &form))
        .collect::<Result<_, _>>()?;
    Ok(NewlySigned { card, signatures, without_sdks })
}

impl NewSignature {
    fn of(served: &Document, profile: Profile, form: &[u8]) -> Result<Self, Refusal> {
        let verifies = |profile: &Profile| canonicalize(served, *profile).is_ok_and(|other| other == form);
        Ok(Self {
            profiles: Profile::ALL.into_iter().filter(verifies).collect(),
            uncovered: uncovered(served, profile)?,
        })
    }
}

/// Writes `served`, with number literals as they were received: RFC 8785 spells some so that strict readers refuse them.
fn with_entries(served: &Document, entries: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(served.text().len());
    let mut object = ObjectWriter::open(&mut out);
    for (name, value) in served.root().as_object().into_iter().flat_map(Object::iter) {
        object.value(name, value);
    }
    object.raw("signatures", format!("[{}]", entries.join(",")).as_bytes());
    object.close();
    out
}

/// Removes old signatures before the card is checked: they are replaced, even if they are malformed.
fn without_signatures(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let document = Document::parse(bytes, &JsonLimits::CARD, Numbers::Strict)?;
    let Some(root) = document.root().as_object().filter(|root| root.get("signatures").is_some()) else {
        return Ok(document.text().as_bytes().to_vec());
    };
    let mut out = Vec::with_capacity(document.text().len());
    let mut object = ObjectWriter::open(&mut out);
    for (name, value) in root.iter().filter(|(name, _)| *name != "signatures") {
        object.value(name, value);
    }
    object.close();
    Ok(out)
}

/// The card in the form on which `spec841`, `jcs-raw` and `proto-clean-jcs` coincide; `None` if there is none, or if
/// the form loses a member.
fn common_form(card: &Card) -> Option<Document> {
    let received = card.document();
    if !uncovered(received, Profile::ProtoCleanJcs).ok()?.is_empty() {
        return None;
    }
    let form = canonicalize(received, Profile::ProtoCleanJcs).ok()?;
    let stripped = Document::parse(form.clone(), &JsonLimits::CARD, Numbers::Strict).ok()?;
    // A member that 1.0 requires may be empty, but must not go missing.
    missing_member(stripped.root()).is_none().then_some(())?;
    let coincide = [Profile::Spec841, Profile::JcsRaw]
        .into_iter()
        .all(|profile| canonicalize(&stripped, profile).is_ok_and(|other| other == form));
    coincide.then_some(stripped)
}

/// The form that the A2A SDKs check. Refused if it leaves out a member that decides about security: a signature over it
/// would also be one over a card without that member, which anybody could then serve.
fn form_of_sdks(served: &Document) -> Result<Vec<u8>, Refusal> {
    let form = stripped_form(served, Profile::ProtoFoldedJcs)?;
    let left_out = uncovered(served, Profile::ProtoFoldedJcs)?;
    match left_out.listed().iter().find(|member| member.decides_security()) {
        Some(member) => {
            let found = format!("the form that they check leaves out {}", Quoted(member.pointer()));
            Err(Refusal::new(Reason::UncoveredSecurityMember, found))
        }
        None => Ok(form),
    }
}

/// The form of a profile that leaves members out. Refused if nothing is left in it that makes it a card: a signature
/// over almost nothing would fit too many cards. The refusal of a member with the wrong type names the member.
fn stripped_form(served: &Document, profile: Profile) -> Result<Vec<u8>, Refusal> {
    let named = |refusal| uncovered(served, profile).err().unwrap_or(refusal);
    let form = canonicalize(served, profile).map_err(named)?;
    parse_payload(form.clone())?;
    Ok(form)
}

/// The parts that all new signatures of one card share.
struct Signing<'a> {
    signer: &'a dyn Signer,
    algorithm: Algorithm,
    /// The key of the first certificate, the only one that readers verify with.
    leaf_key: PublicKey,
    /// The parameters of the protected header after `alg` and the name of the form.
    parameters: String,
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
        let parameters = format!(
            r#""exp":{},"iat":{},"kid":"{fingerprint}","typ":"JOSE","x5c":[{certificates}"]"#,
            expires_at.as_unix(),
            options.now.as_unix(),
        );
        Ok(Self { signer, algorithm, leaf_key: facts.key, parameters })
    }

    /// Signs `payload`, the form of `profile`, and returns one entry of `signatures`, after verifying the signature as a
    /// reader will. The header names the form: only then do readers know that nothing was left out (rule 48).
    fn entry(&self, profile: Profile, payload: &[u8]) -> Result<String, Refusal> {
        let Self { algorithm, parameters, .. } = self;
        let header = format!(r#"{{"alg":"{algorithm}","{FORM_PARAMETER}":"{profile}",{parameters}}}"#);
        let mut protected = String::new();
        encode_base64url_into(header.as_bytes(), &mut protected);
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

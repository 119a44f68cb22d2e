//! One thing to measure: received bytes, and what they are verified against.

use super::bare::{Check, issuer_in};
use super::card;
use super::pki::{self, Authority, Ca, Key, Leaf, NOW, Svid, WORKLOAD};
use countersign_core::bundle::Bundle;
use countersign_core::canon::{Profile, ProfileSet, canonicalize};
use countersign_core::card::Card;
use countersign_core::encoding::{encode_base64_standard_into, encode_base64url_into, sha256};
use countersign_core::json::Numbers;
use countersign_core::jws::{Algorithm, KeyKind, PublicKey};
use countersign_core::limits::BODY_BYTES;
use countersign_core::policy::Policy;
use countersign_core::refusal::Reason;
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, Rejection, SignedCard, verify_card};
use std::hint::black_box;

/// One thing to measure.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Size of the card before it was signed.
    pub(crate) size: usize,
    /// The bytes as received.
    pub(crate) bytes: Vec<u8>,
    /// The signature checks that the verification makes.
    pub(crate) checks: Vec<Check>,
    pub(crate) policy: Policy,
    bundle: Bundle,
    expected: SpiffeId,
    outcome: Result<Profile, Reason>,
}

/// The authority above the leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    P256,
    Rsa2048,
}

impl Root {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256 CA",
            Self::Rsa2048 => "RSA-2048 CA",
        }
    }

    fn authority(self) -> Authority {
        let key = match self {
            Self::P256 => Key::P256,
            Self::Rsa2048 => Key::Rsa2048,
        };
        Authority::root(&Ca { key, ..Ca::default() })
    }
}

/// What is built before anything is measured.
struct Plan<'p> {
    unsigned: &'p str,
    signers: &'p [Svid],
    profile: Profile,
    policy: Policy,
    bundle: Bundle,
    tampered: bool,
}

impl Case {
    pub(crate) fn honest(root: Root, size: usize) -> Self {
        let authority = root.authority();
        let signers = [authority.issue(&Leaf::default())];
        let (bundle, policy) = (authority.bundle(), Policy::new(pki::domain()));
        let (profile, tampered) = (Profile::Spec841, false);
        Self::build(
            "honest",
            &Plan { unsigned: &card::current(size), signers: &signers, profile, policy, bundle, tampered },
        )
    }

    /// One letter of the card is changed after signing, so every allowed form is tried.
    pub(crate) fn tampered(root: Root, size: usize) -> Self {
        let authority = root.authority();
        let signers = [authority.issue(&Leaf::default())];
        let (bundle, policy) = (authority.bundle(), Policy::new(pki::domain()));
        let profile = Profile::Spec841;
        Self::build(
            "tampered",
            &Plan {
                unsigned: &card::current(size),
                signers: &signers,
                profile,
                policy,
                bundle,
                tampered: true,
            },
        )
    }

    /// Seven different forms of one card, signed over the last that is tried.
    pub(crate) fn last_profile(root: Root, size: usize) -> Self {
        let authority = root.authority();
        let signers = [authority.issue(&Leaf::default())];
        let mut policy = Policy::new(pki::domain());
        policy.profiles = ProfileSet::ALL;
        let (bundle, profile) = (authority.bundle(), Profile::ProtoFoldedJcs);
        Self::build(
            "last of 7 profiles",
            &Plan {
                unsigned: &card::legacy(size),
                signers: &signers,
                profile,
                policy,
                bundle,
                tampered: false,
            },
        )
    }

    /// 120 authorities of one name, of which one has issued the leaf.
    pub(crate) fn many_roots(root: Root, size: usize) -> Self {
        let authority = root.authority();
        let signers = [authority.issue(&Leaf::default())];
        let others: Vec<_> = (1..120).map(|_| Authority::root(&Ca::default())).collect();
        let mut roots: Vec<_> = others.iter().map(Authority::root_der).collect();
        roots.push(authority.root_der());
        let (bundle, policy) = (pki::bundle_of(&roots), Policy::new(pki::domain()));
        let profile = Profile::Spec841;
        Self::build(
            "120-root bundle",
            &Plan {
                unsigned: &card::current(size),
                signers: &signers,
                profile,
                policy,
                bundle,
                tampered: false,
            },
        )
    }

    /// The largest card, with four genuine SVIDs whose signatures fit none of the four default forms: a workload
    /// of the trust domain makes the verifier do all the work that it can.
    pub(crate) fn hostile(name: &str, text: fn(usize) -> String) -> Self {
        let authority = Authority::root(&Ca::default()).nested(1);
        let signers: Vec<_> = (0..4).map(|_| authority.issue(&Leaf::default())).collect();
        let (bundle, policy) = (authority.bundle(), Policy::new(pki::domain()));
        let unsigned = text(BODY_BYTES - 12_000);
        let profile = Profile::Spec841;
        Self::build(
            name,
            &Plan { unsigned: &unsigned, signers: &signers, profile, policy, bundle, tampered: true },
        )
    }

    /// Four P-384 signatures under P-384 chains of five: the sender asks for 48 checks of ten times the price.
    pub(crate) fn hostile_p384() -> Self {
        let ca = |subject| Ca { key: Key::P384, ..Ca::named(subject) };
        let mut authority = Authority::root(&ca("SPIRE"));
        for subject in ["level 1", "level 2", "level 3", "level 4"] {
            authority = authority.intermediate(&ca(subject));
        }
        let signers: Vec<_> =
            (0..4).map(|_| authority.issue(&Leaf { key: Key::P384, ..Leaf::default() })).collect();
        let (bundle, policy) = (authority.bundle(), Policy::new(pki::domain()));
        let unsigned = card::legacy(200 * 1024);
        let profile = Profile::Spec841;
        Self::build(
            "hostile P-384",
            &Plan { unsigned: &unsigned, signers: &signers, profile, policy, bundle, tampered: true },
        )
    }

    fn build(name: &str, plan: &Plan<'_>) -> Self {
        let signed = sign(plan.unsigned, plan.signers, plan.profile);
        let bytes =
            if plan.tampered { signed.replacen("Journey", "Journay", 1) } else { signed }.into_bytes();
        let is_p256 = plan.signers.iter().all(|svid| algorithm(svid) == Algorithm::Es256);
        let case = Self {
            name: name.to_owned(),
            size: plan.unsigned.len(),
            checks: if is_p256 { checks(&bytes, plan) } else { Vec::new() },
            bytes,
            policy: plan.policy.clone(),
            bundle: plan.bundle.clone(),
            expected: SpiffeId::parse(WORKLOAD).expect("a SPIFFE ID"),
            outcome: match (plan.tampered, is_p256) {
                (false, _) => Ok(plan.profile),
                (true, true) => Err(Reason::SignatureInvalid),
                (true, false) => Err(Reason::WorkBudget),
            },
        };
        case.check_outcome();
        case
    }

    /// Checks that the verification comes out as it should.
    fn check_outcome(&self) {
        let result = self.verify(self.bytes.clone(), &self.policy);
        let found = result.as_ref().map(SignedCard::profile).map_err(|rejection| rejection.refusal.reason());
        assert_eq!(found, self.outcome, "{}: {result:?}", self.name);
    }

    /// One verification from the received bytes, everything that it made dropped again.
    pub(crate) fn run(&self, bytes: Vec<u8>) {
        let result = self.verify(bytes, &self.policy);
        assert_eq!(black_box(&result).is_ok(), self.outcome.is_ok(), "{}", self.name);
    }

    fn verify(&self, bytes: Vec<u8>, policy: &Policy) -> Result<SignedCard, Box<Rejection>> {
        let card = Card::parse(bytes, policy.numbers)?;
        verify_card(&card, self.against(policy))
    }

    /// The units that a verification spends, found as the smallest budget that suffices.
    pub(crate) fn spent(&self) -> u32 {
        let suffices = |budget: &u32| {
            let mut policy = self.policy.clone();
            policy.budget = *budget;
            match self.verify(self.bytes.clone(), &policy) {
                Ok(_) => true,
                Err(rejection) => std::iter::once(&rejection.refusal)
                    .chain(&rejection.others)
                    .all(|refusal| refusal.reason() != Reason::WorkBudget),
            }
        };
        (0..=self.policy.budget).step_by(2).find(suffices).unwrap_or(self.policy.budget)
    }

    fn against<'a>(&'a self, policy: &'a Policy) -> Against<'a> {
        Against { bundle: &self.bundle, policy, expected: Some(&self.expected), history: None, now: now() }
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix(i64::try_from(NOW).expect("a time"))
}

/// Adds one signature over `profile` per signer, with the chain in its header.
fn sign(unsigned: &str, signers: &[Svid], profile: Profile) -> String {
    let card = Card::parse(unsigned.as_bytes().to_vec(), Numbers::Strict).expect("a card");
    let payload = canonicalize(card.document(), profile).expect("a form");
    let entries: Vec<_> = signers
        .iter()
        .map(|svid| {
            let protected = protected(svid);
            let mut signature = String::new();
            encode_base64url_into(&svid.sign(algorithm(svid), &input(&protected, &payload)), &mut signature);
            format!(r#"{{"protected":"{protected}","signature":"{signature}"}}"#)
        })
        .collect();
    let open = unsigned.strip_suffix('}').expect("an object");
    format!(r#"{open},"signatures":[{}]}}"#, entries.join(","))
}

fn protected(svid: &Svid) -> String {
    let chain: Vec<_> = svid
        .chain
        .iter()
        .map(|der| {
            let mut text = String::new();
            encode_base64_standard_into(der, &mut text);
            format!("\"{text}\"")
        })
        .collect();
    let key_id: String = sha256(svid.chain.first().expect("a leaf")).to_string().chars().take(16).collect();
    let header = format!(
        r#"{{"alg":"{}","kid":"{key_id}","typ":"JOSE","x5c":[{}]}}"#,
        algorithm(svid).name(),
        chain.join(",")
    );
    let mut protected = String::new();
    encode_base64url_into(header.as_bytes(), &mut protected);
    protected
}

fn algorithm(svid: &Svid) -> Algorithm {
    match PublicKey::from_spki(&svid.spki()).expect("a key").kind() {
        KeyKind::P384 => Algorithm::Es384,
        _ => Algorithm::Es256,
    }
}

fn input(protected: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = format!("{protected}.");
    encode_base64url_into(payload, &mut text);
    text.into_bytes()
}

/// The signature checks that verifying these bytes needs: each chain once, then each signature over each distinct
/// form, up to the form that was signed.
fn checks(bytes: &[u8], plan: &Plan<'_>) -> Vec<Check> {
    let card = Card::parse(bytes.to_vec(), Numbers::Strict).expect("a card");
    let mut checks = Vec::new();
    for svid in plan.signers {
        let issuers = svid.chain.iter().skip(1);
        checks.extend(
            svid.chain.iter().zip(issuers).map(|(child, issuer)| Check::of_certificate(child, issuer)),
        );
        let top = svid.chain.last().expect("a leaf");
        checks.push(Check::of_certificate(top, issuer_in(&plan.bundle, top)));
    }
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for profile in plan.policy.profiles.iter() {
        // A form that would swell too much is not written.
        let Ok(form) = canonicalize(card.document(), profile) else { continue };
        if forms.contains(&form) {
            continue;
        }
        let matches = !plan.tampered && profile == plan.profile;
        for (svid, raw) in plan.signers.iter().zip(card.signatures()) {
            let signature = countersign_core::encoding::decode_base64url(raw.signature).expect("base64url");
            let leaf = svid.chain.first().expect("a leaf");
            checks.push(Check::of_jws(leaf, input(raw.protected, &form), &signature, matches));
        }
        forms.push(form);
        if matches {
            break;
        }
    }
    checks
}

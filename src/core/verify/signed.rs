//! The proof that a card is signed, made from the outcomes of all its signatures.

use super::against::Against;
use super::coverage::check_coverage;
use super::forms::Forms;
use super::outcome::{Rejection, SignatureOutcome};
use super::payload::parse_payload;
use super::signature::{Candidate, KeySource};
use super::strength::{may_leave_out, possible_forms, weaker_forms};
use crate::canon::{Profile, Uncovered, canonicalize};
use crate::card::Card;
use crate::encoding::{Digest, sha256};
use crate::history::{Accepted, SignedForms};
use crate::json::Document;
use crate::jws::Algorithm;
use crate::policy::SignerRule;
use crate::refusal::{Reason, Refusal};
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;
use crate::x509::VerifiedChain;
use std::collections::BTreeSet;

/// A card with the proof of its signer; made only by [`super::verify_card`].
///
/// The document is parsed again from the signed bytes (rule 46): it lacks members that were received but not
/// signed, which [`Self::uncovered`] lists.
#[derive(Debug)]
pub struct SignedCard {
    document: Document,
    digest: Digest,
    content: Digest,
    signer: SignerFacts,
    coverage: CoverageLevel,
    uncovered: Vec<Uncovered>,
    unlisted: usize,
    signatures: Vec<SignatureOutcome>,
}

/// The part of the received card that the signature protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoverageLevel {
    /// Every received member, and the absence of every other one: the signer says that the whole document was signed,
    /// or no other allowed form gives the same bytes.
    Full,
    /// Not every received member is signed, or a member may have been left out before the card was signed (rule 48).
    Partial,
}

impl CoverageLevel {
    /// The word in status and JSON: `full` or `partial`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

#[derive(Debug)]
struct SignerFacts {
    spiffe_id: SpiffeId,
    profile: Profile,
    /// The form that the signer says was signed.
    named: Option<Profile>,
    algorithm: Algorithm,
    /// Index of the signature in `signatures`, from 0.
    index: usize,
    not_before: Timestamp,
    not_after: Timestamp,
    valid_until: Timestamp,
    issued_at: Option<Timestamp>,
    leaf: Digest,
    anchor: Option<Digest>,
    is_live: bool,
}

impl SignedCard {
    /// The document, parsed from the signed bytes.
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// SHA-256 of the received bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// SHA-256 of the signed canonical form: equal for all signatures over equal content.
    pub const fn content(&self) -> Digest {
        self.content
    }

    /// The SPIFFE ID of the signer.
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.signer.spiffe_id
    }

    /// The profile of the canonical form that the signature covers.
    pub const fn profile(&self) -> Profile {
        self.signer.profile
    }

    /// The JWS algorithm of the signature.
    pub const fn algorithm(&self) -> Algorithm {
        self.signer.algorithm
    }

    /// The `kid` of the signature, if its header has one.
    pub fn key_id(&self) -> Option<&str> {
        self.signatures.get(self.signer.index)?.key_id.as_deref()
    }

    /// First second of the leaf's validity; the smallest time for a pinned key.
    pub const fn not_before(&self) -> Timestamp {
        self.signer.not_before
    }

    /// Last second of the leaf's validity or of the signature (`exp`), whichever is earlier.
    pub const fn not_after(&self) -> Timestamp {
        self.signer.not_after
    }

    /// Last second in which this proof may be reused without verifying again: no certificate of the chain, the anchor
    /// included, and no `exp` ends earlier (rule 59).
    pub const fn valid_until(&self) -> Timestamp {
        self.signer.valid_until
    }

    /// The time at which the signer claims to have signed (`iat`).
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.signer.issued_at
    }

    /// True if the chain was valid at verification; false if the card counts only by a witness (rule 57).
    pub const fn is_live(&self) -> bool {
        self.signer.is_live
    }

    /// Entry of this card for the memory of its workload.
    pub fn accepted(&self) -> Accepted {
        let forms = SignedForms {
            profile: self.profile(),
            names_whole: self.signer.names_whole(),
            possible: possible_forms(&self.document, self.profile(), self.signer.named),
            weaker: weaker_forms(&self.document),
        };
        let leaf_not_before = self.anchor().map(|_| self.not_before());
        Accepted::new(self.content(), forms, self.issued_at(), leaf_not_before, self.is_live())
    }

    /// SHA-256 of the certificate of the authority; `None` for a pinned key.
    pub const fn anchor(&self) -> Option<Digest> {
        self.signer.anchor
    }

    /// SHA-256 of the leaf certificate, or of the pinned key's SubjectPublicKeyInfo.
    pub const fn leaf(&self) -> Digest {
        self.signer.leaf
    }

    /// The part of the received card that the signature protects.
    pub const fn coverage(&self) -> CoverageLevel {
        self.coverage
    }

    /// Received members that are not signed, at most [`crate::limits::UNCOVERED_LISTED`]: those that decide about
    /// security first, each kind sorted.
    pub fn uncovered(&self) -> &[Uncovered] {
        &self.uncovered
    }

    /// Number of uncovered members beyond those that [`Self::uncovered`] lists.
    pub const fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// The outcome of each signature, in the order of the card.
    pub fn signatures(&self) -> &[SignatureOutcome] {
        &self.signatures
    }
}

/// Makes the proof of the good signature with the strongest coverage, or the rejection of the card.
pub(super) fn conclude(
    card: &Card,
    against: Against<'_>,
    candidates: &[Candidate<'_>],
    mut forms: Forms,
) -> Result<SignedCard, Box<Rejection>> {
    let outcomes: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            candidate.outcome(|disallowed| unproven(&forms.profiles(), disallowed), against.expected)
        })
        .collect();
    let mut refusals = forms.take_inapplicable();
    refusals.extend(outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err().cloned()));

    let mut unsatisfied = None;
    // Strongest coverage first, and the order of the card among equals, so that a sender cannot choose a weaker one.
    // A signature that only `jcs-raw` verifies covers members that the form of `spec841` leaves out (rule 49).
    let others = Profile::ALL.into_iter().filter(|profile| *profile != Profile::JcsRaw);
    for profile in [Profile::JcsRaw].into_iter().chain(others) {
        if !outcomes.iter().any(|outcome| outcome.result == Ok(profile)) {
            continue;
        }
        if let Err(refusal) = satisfy(&against.policy.signers, candidates, profile) {
            unsatisfied.get_or_insert(refusal);
            continue;
        }
        let good = candidates.iter().zip(&outcomes).filter(|(_, outcome)| outcome.result == Ok(profile));
        let mut good: Vec<&Candidate<'_>> = good.map(|(candidate, _)| candidate).collect();
        // A stable sort: a signature that says that it covers the whole document comes first.
        good.sort_by_key(|candidate| !candidate.names_whole());
        for candidate in good {
            match prove(card, against, &mut forms, (profile, candidate)) {
                Ok(mut proven) => {
                    proven.signatures = outcomes;
                    return Ok(proven);
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
    }
    if let Some(refusal) = unsatisfied {
        // A good signature exists, so the refusals of the others must not hide that the policy wants more (rule 54).
        return Err(Box::new(Rejection { refusal, others: refusals, signatures: outcomes }));
    }
    Err(Rejection::most_specific(refusals, outcomes)
        .unwrap_or_else(|| Refusal::new(Reason::CardUnsigned, "the card has no signature").into()))
}

fn prove(
    card: &Card,
    against: Against<'_>,
    forms: &mut Forms,
    (profile, candidate): (Profile, &Candidate<'_>),
) -> Result<SignedCard, Refusal> {
    let form = forms.take(card, profile)?;
    let content = sha256(&form.bytes);
    let members = check_coverage(card, &form, against.policy.coverage)?;
    let uncovered = members.listed();
    let unlisted = members.total().saturating_sub(uncovered.len());
    let document = parse_payload(form.bytes)?;
    let signer = SignerFacts::of(candidate, profile, against)?;
    let nothing_left_out = if signer.names_whole() {
        is_whole(card, &document, profile)
    } else {
        // Under any other profile the signed document is a form that leaves members out.
        profile == Profile::JcsRaw && !may_leave_out(&document, against.policy.profiles)
    };
    let is_full = members.is_empty() && nothing_left_out;
    let coverage = if is_full { CoverageLevel::Full } else { CoverageLevel::Partial };
    Ok(SignedCard {
        document,
        digest: card.digest(),
        content,
        signer,
        coverage,
        uncovered,
        unlisted,
        signatures: Vec::new(),
    })
}

/// True if the signed document is all of the received one but `signatures`.
fn is_whole(card: &Card, signed: &Document, profile: Profile) -> bool {
    profile == Profile::JcsRaw
        || canonicalize(card.document(), Profile::JcsRaw).is_ok_and(|whole| whole == signed.text().as_bytes())
}

impl SignerFacts {
    /// True if the signer says that the whole document was signed.
    fn names_whole(&self) -> bool {
        self.named == Some(Profile::JcsRaw)
    }

    fn of(candidate: &Candidate<'_>, profile: Profile, against: Against<'_>) -> Result<Self, Refusal> {
        let Some((_, key, header)) = candidate.verified() else {
            return Err(Refusal::new(Reason::SignatureInvalid, "the signature was not verified"));
        };
        let end_of_time = Timestamp::from_unix(i64::MAX);
        let (not_before, not_after, valid_until, leaf) = match key {
            KeySource::Chain(chain) => {
                (chain.not_before(), chain.not_after(), chain.valid_until(), chain.leaf_sha256())
            }
            KeySource::Pinned(pinned) => {
                (Timestamp::from_unix(i64::MIN), end_of_time, end_of_time, pinned.key.spki_sha256())
            }
        };
        let expires_at = header.expires_at.unwrap_or(end_of_time);
        Ok(Self {
            spiffe_id: key.spiffe_id().clone(),
            profile,
            named: header.form,
            algorithm: header.algorithm,
            index: candidate.index(),
            not_before,
            not_after: not_after.min(expires_at),
            // A witnessed card outlives its leaf, but its proof is never reused: rule 57 checks the witness each time.
            valid_until: valid_until.min(expires_at).max(against.now),
            issued_at: header.issued_at,
            leaf,
            anchor: key.chain().map(VerifiedChain::anchor_sha256),
            is_live: !candidate.is_expired(),
        })
    }
}

/// Refuses a card that lacks signatures that the policy wants beyond one good one (rule 54).
///
/// Whoever signed another form than that of `form` signed another document, which may lack what decides in this one.
/// The whole document contains every form.
fn satisfy(rule: &SignerRule, candidates: &[Candidate<'_>], form: Profile) -> Result<(), Refusal> {
    let refuse = |found: String| Err(Refusal::new(Reason::SignerPolicy, found));
    let verified = || candidates.iter().filter_map(Candidate::verified);
    let signers = || {
        verified()
            .filter(|(over, ..)| *over == form || *over == Profile::JcsRaw)
            .map(|(_, key, _)| key.spiffe_id())
            .collect::<BTreeSet<&SpiffeId>>()
    };
    match rule {
        SignerRule::AnyOf => Ok(()),
        SignerRule::AllOf => match candidates.len().saturating_sub(verified().count()) {
            0 => Ok(()),
            bad => refuse(format!(
                "{bad} of {} signatures are not good; the policy asks for all",
                candidates.len()
            )),
        },
        SignerRule::Threshold(wanted) => match signers().len() {
            found if found < *wanted => {
                refuse(format!("{found} identities signed the form of {form}; the policy asks for {wanted}"))
            }
            _ => Ok(()),
        },
        SignerRule::Named(wanted) => {
            let signers = signers();
            match wanted.iter().find(|id| !signers.contains(id)) {
                Some(missing) => refuse(format!("{missing} has not signed the form of {form}")),
                None => Ok(()),
            }
        }
    }
}

fn unproven(tried: &[Profile], disallowed: Option<Profile>) -> Refusal {
    let mut found = match tried {
        [] => "no profile is allowed, or none has a form for this card".to_owned(),
        tried => {
            let names: Vec<_> = tried.iter().map(|profile| profile.id()).collect();
            format!("the signature does not verify over {}", names.join(", "))
        }
    };
    if let Some(profile) = disallowed {
        found.push_str("; it verifies over `");
        found.push_str(profile.id());
        found.push_str("`, which the policy does not allow");
    }
    Refusal::new(Reason::SignatureInvalid, found)
}

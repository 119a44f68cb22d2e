//! Verification results as plain data for status; nothing secret is kept.
//! The proof of the core is dropped once the planner has used it.

use crate::limits::UNCOVERED;
use countersign_api::agent_card::AgentCardData;
use countersign_core::canon::Profile;
use countersign_core::encoding::Digest;
use countersign_core::history::Accepted;
use countersign_core::jws::Algorithm;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Rejection, SignedCard};

/// Presentation of a verified card.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// SPIFFE ID of the signer.
    pub spiffe_id: SpiffeId,
    /// Key ID (`kid`) of the signature.
    pub key_id: Option<String>,
    /// Canonical form that was signed.
    pub profile: Profile,
    /// JWS algorithm of the signature.
    pub algorithm: Algorithm,
    /// End of the signature: `exp`, or the end of the leaf (rule 56).
    pub not_after: Timestamp,
    /// Last time at which the verdict may be repeated without verifying again (rule 59).
    pub valid_until: Timestamp,
    /// Identifier of the extent to which the signature covers the card.
    pub coverage: &'static str,
    /// Members that the signature does not cover, as JSON Pointers (RFC 6901).
    pub uncovered: Vec<String>,
    /// Number of uncovered members beyond those listed.
    pub uncovered_unlisted: usize,
    /// Entry for the history of accepted cards.
    pub accepted: Accepted,
    /// SHA-256 of the authority's certificate.
    pub anchor: Option<Digest>,
    /// SPIFFE ID of the server, if the card was fetched over SPIFFE mTLS.
    pub attested: Option<SpiffeId>,
}

impl Proof {
    /// Presentation of a signed card; `attested` is the SPIFFE ID of an mTLS server.
    pub fn of(signed: &SignedCard, attested: Option<SpiffeId>) -> Self {
        let members = signed.uncovered();
        let uncovered = members.iter().take(UNCOVERED).map(|member| member.pointer().to_owned());
        let left_out = members.len().saturating_sub(UNCOVERED);
        Self {
            spiffe_id: signed.spiffe_id().clone(),
            key_id: signed.key_id().map(str::to_owned),
            profile: signed.profile(),
            algorithm: signed.algorithm(),
            not_after: signed.not_after(),
            valid_until: signed.valid_until(),
            coverage: signed.coverage().id(),
            uncovered: uncovered.collect(),
            accepted: signed.accepted(),
            anchor: signed.anchor(),
            uncovered_unlisted: left_out.saturating_add(signed.unlisted()),
            attested,
        }
    }
}

/// History entry of the fixture card.
#[cfg(test)]
fn accepted_for_test() -> Accepted {
    use countersign_core::verify::{Against, verify_card};
    use countersign_core::{bundle::parse_bundle, card::Card, policy::Policy, spiffe::TrustDomain};
    let domain = TrustDomain::parse("example.org").unwrap();
    let bundle = include_bytes!("../../../tests/fixtures/doc/bundle.json").to_vec();
    let bundle = parse_bundle(&domain, bundle).unwrap();
    let policy = Policy::new(domain);
    let card = include_bytes!("../../../tests/fixtures/doc/card.json").to_vec();
    let card = Card::parse(card, policy.numbers).unwrap();
    let now = Timestamp::from_unix(1_795_219_200);
    let against = Against { bundle: &bundle, policy: &policy, expected: None, history: None, now };
    verify_card(&card, against).unwrap().accepted()
}

#[cfg(test)]
impl Proof {
    /// Proof that ends at `not_after`.
    pub(crate) fn for_test(not_after: Timestamp) -> Self {
        Self {
            spiffe_id: SpiffeId::parse("spiffe://rig.example/ns/team/sa/weather").unwrap(),
            key_id: None,
            profile: Profile::Spec841,
            algorithm: Algorithm::Es256,
            not_after,
            valid_until: not_after,
            coverage: "full",
            uncovered: Vec::new(),
            uncovered_unlisted: 0,
            accepted: accepted_for_test(),
            anchor: None,
            attested: None,
        }
    }
}

/// Refusal with the signer that was proven before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Reason and message.
    pub refusal: Refusal,
    /// SPIFFE ID of a valid signature of the refused card.
    pub signer: Option<SpiffeId>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, signer: None }
    }
}

impl From<Box<Rejection>> for Refused {
    fn from(rejection: Box<Rejection>) -> Self {
        let good = rejection.signatures.iter().find(|signature| signature.result.is_ok());
        let signer = good.and_then(|signature| signature.spiffe_id.clone());
        Self { refusal: rejection.refusal, signer }
    }
}

/// Content of a received card.
#[derive(Clone, Debug, PartialEq)]
pub struct CardContent {
    /// SHA-256 of the card without `signatures`, so that signing again does not change the digest.
    pub digest: Digest,
    /// Card members that status shows; `None` once status has them.
    pub data: Option<Box<AgentCardData>>,
}

/// Result of one verification.
#[derive(Clone, Debug, PartialEq)]
pub struct VerificationResult {
    /// Content of the card; `None` if no card could be parsed.
    pub content: Option<CardContent>,
    /// Proof or refusal.
    pub outcome: Result<Proof, Refused>,
    /// Replicas that did not answer while others did, each with a reason code.
    pub unreachable: Vec<String>,
}

impl VerificationResult {
    /// Result of a refusal before a card was received.
    pub fn without_card(refusal: Refusal) -> Self {
        Self { content: None, outcome: Err(refusal.into()), unreachable: Vec::new() }
    }

    /// Result without the card members for status.
    #[must_use]
    pub fn slimmed(&self) -> Self {
        let content = self.content.as_ref().map(|content| CardContent { digest: content.digest, data: None });
        Self { content, ..self.clone() }
    }

    /// Digest of the card content as text, as status shows it.
    pub fn card_id(&self) -> Option<String> {
        self.content.as_ref().map(|content| content.digest.to_string())
    }

    /// Reason of the refusal; `None` for a verified card.
    pub fn reason(&self) -> Option<Reason> {
        self.outcome.as_ref().err().map(|refused| refused.refusal.reason())
    }
}

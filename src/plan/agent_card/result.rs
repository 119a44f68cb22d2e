//! What was found about one card, as plain data: enough for its status, and nothing that cannot be shown.
//! The proof itself is dropped once the planner has seen it.

use countersign_api::agent_card::AgentCardData;
use countersign_core::canon::Profile;
use countersign_core::encoding::Digest;
use countersign_core::history::Accepted;
use countersign_core::jws::Algorithm;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Rejection, SignedCard};

/// How many uncovered members status lists; they come with those first that decide about security.
const UNCOVERED: usize = 32;

/// What is worth showing of a card that was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// Who signed.
    pub spiffe_id: SpiffeId,
    /// The key ID of the signature.
    pub key_id: Option<String>,
    /// The canonical form that was signed.
    pub profile: Profile,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// When the signature ends.
    pub not_after: Timestamp,
    /// Until when this may be repeated without verifying again.
    pub valid_until: Timestamp,
    /// How much the signature covers.
    pub coverage: &'static str,
    /// What it does not cover, as JSON Pointers.
    pub uncovered: Vec<String>,
    /// How many more there are.
    pub uncovered_unlisted: usize,
    /// What to remember.
    pub accepted: Accepted,
    /// SHA-256 of the authority's certificate.
    pub anchor: Option<Digest>,
    /// Who served the card, if the connection proved it.
    pub attested: Option<SpiffeId>,
}

impl Proof {
    /// What is worth showing of `signed`.
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
            accepted: Accepted::of(signed),
            anchor: signed.anchor(),
            uncovered_unlisted: left_out.saturating_add(signed.unlisted()),
            attested,
        }
    }
}

/// What is remembered of the card of the documentation.
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
    Accepted::of(&verify_card(&card, against).unwrap())
}

#[cfg(test)]
impl Proof {
    /// A proof that ends with its leaf.
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

/// Why a card was refused, and what was found before.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The reason.
    pub refusal: Refusal,
    /// Who signed, if a signature of the card is good all the same.
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

/// The card as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// SHA-256 of the card without its signatures, which change although the card is the same.
    pub digest: Digest,
    /// What status shows of it; `None` if it is the same card as before.
    pub data: Option<Box<AgentCardData>>,
}

/// Everything found about one card.
#[derive(Clone, Debug, PartialEq)]
pub struct VerificationResult {
    /// The card, if one was received that could be read.
    pub content: Option<Content>,
    /// The outcome.
    pub outcome: Result<Proof, Refused>,
    /// Replicas that did not answer while others did, each with the reason.
    pub unreachable: Vec<String>,
}

impl VerificationResult {
    /// A refusal from before there was a card.
    pub fn without_card(refusal: Refusal) -> Self {
        Self { content: None, outcome: Err(refusal.into()), unreachable: Vec::new() }
    }

    /// The same without what status shows of the card.
    #[must_use]
    pub fn slimmed(&self) -> Self {
        let content = self.content.as_ref().map(|content| Content { digest: content.digest, data: None });
        Self { content, ..self.clone() }
    }

    /// The received card as status names it.
    pub fn card_id(&self) -> Option<String> {
        self.content.as_ref().map(|content| content.digest.to_string())
    }

    /// Why it was refused, if it was.
    pub fn reason(&self) -> Option<Reason> {
        self.outcome.as_ref().err().map(|refused| refused.refusal.reason())
    }
}

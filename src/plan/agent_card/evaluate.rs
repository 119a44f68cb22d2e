//! Evaluation of received bytes to a verdict. Pure: bundle, policy, history and time are arguments.
//! The verdict goes to the planner unchanged; status gets a copy of what may be shown.

use super::result::{CardContent, Proof, Refused, VerificationResult};
use crate::input::identity::{Expected, SignerScope};
use countersign_api::agent_card::{card_data, signed_card_data};
use countersign_core::bind::{BoundCard, Source, WorkloadFacts, bind_card};
use countersign_core::bundle::Bundle;
use countersign_core::canon::{Profile, canonicalize};
use countersign_core::card::Card;
use countersign_core::deliver::card_with_delivered_signatures;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::history::History;
use countersign_core::policy::Policy;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use countersign_core::verdict::Verdict;
use countersign_core::verify::{Against, verify_card};
use std::collections::BTreeSet;

/// Card as received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Body, byte for byte.
    pub bytes: Vec<u8>,
    /// Channel by which the card was received.
    pub source: Source,
}

/// Terms of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Bundle of authorities of the expected trust domain.
    pub bundle: &'a Bundle,
    /// Acceptance policy of the expected trust domain.
    pub policy: &'a Policy,
    /// Digest of the acceptance policy without the trust domain.
    pub rules: Option<Digest>,
    /// Expected signer.
    pub expected: &'a Expected,
    /// DNS names of the workload inside the cluster.
    pub cluster_hosts: &'a BTreeSet<String>,
    /// Ingress hosts that belong to the workload.
    pub ingress_hosts: &'a BTreeSet<String>,
    /// History of accepted cards, against which replays are refused (rule 55).
    pub history: Option<&'a History>,
    /// Time of the evaluation.
    pub now: Timestamp,
}

impl Terms<'_> {
    /// Digest of all terms except time and history. While digest and bytes are unchanged, the verdict is too, until
    /// the proof ends (rule 59).
    pub fn fingerprint(&self, source: &Source) -> Digest {
        let Expected { trust_domain, spiffe_id, scope } = self.expected;
        let names = (self.cluster_hosts, self.ingress_hosts, source);
        let bundle = self.bundle.fingerprint();
        let rules = self.rules;
        sha256(format!("{trust_domain}|{spiffe_id}|{scope:?}|{names:?}|{bundle}|{rules:?}").as_bytes())
    }
}

/// Verdict with its presentation.
#[derive(Debug)]
pub struct Verification {
    /// Verdict for the planner.
    pub verdict: Verdict,
    /// Presentation of the verdict, for status.
    pub result: VerificationResult,
    /// SPIFFE ID that the verdict is about.
    pub spiffe_id: SpiffeId,
}

/// Evaluates a card: verifies its signatures and binds it to the workload.
pub fn evaluate(received: &Received, terms: Terms<'_>) -> Verification {
    let mut content = None;
    let outcome = verify(received, terms, &mut content);
    match outcome {
        Ok((bound, proof)) => Verification {
            spiffe_id: proof.spiffe_id.clone(),
            verdict: Verdict::of(Ok(bound)),
            result: VerificationResult { content, outcome: Ok(proof), unreachable: Vec::new() },
        },
        Err(refused) => Verification {
            spiffe_id: terms.expected.spiffe_id.clone(),
            verdict: Verdict::refused(refused.refusal.clone()),
            result: VerificationResult { content, outcome: Err(refused), unreachable: Vec::new() },
        },
    }
}

fn verify(
    received: &Received,
    terms: Terms<'_>,
    content: &mut Option<CardContent>,
) -> Result<(BoundCard, Proof), Refused> {
    let card = Card::parse(received.bytes.clone(), terms.policy.numbers)?;
    // A card without a canonical form is identified by its bytes.
    let form = canonicalize(card.document(), Profile::JcsRaw);
    let digest = form.map_or_else(|_| card.digest(), |form| sha256(&form));
    *content = Some(CardContent { digest, data: Some(Box::new(card_data(card.document()))) });
    let expected = terms.expected;
    let own = (expected.scope == SignerScope::Workload).then_some(&expected.spiffe_id);
    let against = Against {
        bundle: terms.bundle,
        policy: terms.policy,
        expected: own,
        history: terms.history,
        now: terms.now,
    };
    let proven = verify_card(&card, against)?;
    let signer = proven.spiffe_id().clone();
    let facts = WorkloadFacts {
        expected_id: own.cloned().unwrap_or_else(|| signer.clone()),
        cluster_hosts: terms.cluster_hosts.clone(),
        ingress_hosts: terms.ingress_hosts.clone(),
        source: received.source.clone(),
    };
    let attested = match &received.source {
        Source::Mtls { peer, .. } => Some(peer.clone()),
        Source::File | Source::Http { .. } | Source::ConfigMap { .. } => None,
    };
    let bound = bind_card(proven, &facts, terms.history)
        .map_err(|refusal| Refused { refusal, signer: Some(signer) })?;
    // Beside a verdict only what is signed may stand: an unsigned member would borrow its trust.
    let data = Box::new(signed_card_data(bound.signed().document(), card.document()));
    *content = Some(CardContent { digest, data: Some(data) });
    let proof = Proof::of(bound.signed(), attested);
    Ok((bound, proof))
}

/// Refusal of a card whose history in status cannot be parsed: ignoring the history would accept a replay (rule 55).
pub fn broken_memory(problem: &str) -> Refusal {
    Refusal::new(
        Reason::ReplayOlderCard,
        format!("the memory of the last accepted card is broken: {}", Quoted(problem)),
    )
}

/// Served card with the signatures of the delivered card, which is evaluated in place of an unsigned card (rule 52).
pub fn as_served(live: &Received, delivered: &Received, policy: &Policy) -> Result<Received, Refusal> {
    let bytes = card_with_delivered_signatures(live.bytes.clone(), delivered.bytes.clone(), policy)?;
    Ok(Received { bytes, source: delivered.source.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::bundle::parse_bundle;
    use countersign_core::spiffe::TrustDomain;

    #[test]
    fn rule_59_a_verdict_is_repeated_only_while_everything_that_it_depends_on_is_the_same() {
        let domain = |name: &str| TrustDomain::parse(name).unwrap();
        let bundle = |text: &str| parse_bundle(&domain("example.org"), text.as_bytes().to_vec()).unwrap();
        let one = bundle(include_str!("../../../tests/fixtures/doc/bundle.json"));
        let other = bundle(include_str!("../../../tests/fixtures/chains/same120-root.pem"));
        let expected = |account: &str, trust_domain: &str, scope| Expected {
            trust_domain: domain(trust_domain),
            spiffe_id: SpiffeId::parse(&format!("spiffe://{trust_domain}/ns/demo/sa/{account}")).unwrap(),
            scope,
        };
        let own = expected("weather", "example.org", SignerScope::Workload);
        let policy = Policy::new(domain("example.org"));
        let (none, host) = (BTreeSet::new(), BTreeSet::from(["weather.demo".to_owned()]));
        let terms = Terms {
            bundle: &one,
            policy: &policy,
            rules: Some(sha256(b"rules")),
            expected: &own,
            cluster_hosts: &host,
            ingress_hosts: &none,
            history: None,
            now: Timestamp::from_unix(1_795_219_200),
        };
        let source = Source::Http { host: "weather.demo".to_owned() };
        let later = Terms { now: Timestamp::from_unix(1_795_219_300), ..terms };
        assert_eq!(later.fingerprint(&source), terms.fingerprint(&source));
        let others = [
            expected("maps", "example.org", SignerScope::Workload),
            expected("weather", "example.org", SignerScope::TrustDomain),
            expected("weather", "example.com", SignerScope::Workload),
        ];
        let mut found = BTreeSet::from([terms.fingerprint(&source), terms.fingerprint(&Source::File)]);
        found.extend(others.iter().map(|expected| Terms { expected, ..terms }.fingerprint(&source)));
        for changed in [
            Terms { bundle: &other, ..terms },
            Terms { rules: Some(sha256(b"other")), ..terms },
            Terms { rules: None, ..terms },
            Terms { cluster_hosts: &none, ..terms },
            Terms { ingress_hosts: &host, ..terms },
        ] {
            found.insert(changed.fingerprint(&source));
        }
        assert_eq!(found.len(), 10);
    }
}

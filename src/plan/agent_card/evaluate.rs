//! Received bytes to a verdict, with nothing but arguments: the way of the pure core, in one place.
//! The verdict goes to the planner as it is; what is worth showing of it is copied.

use super::result::{Content, Proof, Refused, VerificationResult};
use crate::input::identity::{Expected, SignerScope};
use countersign_api::agent_card::card_data;
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

/// A card as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Exactly the bytes.
    pub bytes: Vec<u8>,
    /// How it arrived.
    pub source: Source,
}

/// What a card is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The authorities.
    pub bundle: &'a Bundle,
    /// The acceptance rules.
    pub policy: &'a Policy,
    /// A digest of them, but for the trust domain.
    pub rules: Option<Digest>,
    /// Who should have signed.
    pub expected: &'a Expected,
    /// The names of the workload inside the cluster.
    pub cluster_hosts: &'a BTreeSet<String>,
    /// The hosts under which it is reached from outside.
    pub ingress_hosts: &'a BTreeSet<String>,
    /// What is remembered of accepted cards.
    pub history: Option<&'a History>,
    /// The time.
    pub now: Timestamp,
}

impl Terms<'_> {
    /// A digest of everything but time and history: while it and the bytes are the same, so is the verdict,
    /// until the proof ends.
    pub fn fingerprint(&self, source: &Source) -> Digest {
        let Expected { trust_domain, spiffe_id, scope } = self.expected;
        let names = (self.cluster_hosts, self.ingress_hosts, source);
        let bundle = self.bundle.fingerprint();
        let rules = self.rules;
        sha256(format!("{trust_domain}|{spiffe_id}|{scope:?}|{names:?}|{bundle}|{rules:?}").as_bytes())
    }
}

/// A verdict with what is worth showing of it.
#[derive(Debug)]
pub struct Verification {
    /// For the planner.
    pub verdict: Verdict,
    /// For people.
    pub result: VerificationResult,
    /// The identity of the workload that the verdict is about.
    pub spiffe_id: SpiffeId,
}

/// Judges a card.
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
    content: &mut Option<Content>,
) -> Result<(BoundCard, Proof), Refused> {
    let card = Card::parse(received.bytes.clone(), terms.policy.numbers)?;
    // A card that has no such form is another one whenever its bytes are.
    let form = canonicalize(card.document(), Profile::JcsRaw);
    let digest = form.map_or_else(|_| card.digest(), |form| sha256(&form));
    *content = Some(Content { digest, data: Some(Box::new(card_data(card.document()))) });
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
    let proof = Proof::of(bound.signed(), attested);
    Ok((bound, proof))
}

/// Says that a card's memory in status cannot be read: forgetting it would accept a replay.
pub fn broken_memory(problem: &str) -> Refusal {
    Refusal::new(
        Reason::ReplayOlderCard,
        format!("the memory of the last accepted card is broken: {}", Quoted(problem)),
    )
}

/// What is judged of a card that is served without signatures, with those that were delivered for it.
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

//! Evaluation of the card of one replica, and the terms that it was made under.

use super::evaluate::{Received, Terms, Verification};
use super::replica::Replica;
use super::result::VerificationResult;
use crate::input::identity::Expected;
use crate::input::{CardOutcome, CardRef};
use countersign_core::bundle::Bundle;
use countersign_core::card::Card;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::endpoint::Endpoint;
use countersign_core::json::{Array, Object};
use countersign_core::policy::Policy;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verdict::Verdict;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Terms of an evaluation, kept for evaluating again; time and history are left out.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Digest of the terms, see [`Terms::fingerprint`].
    pub terms: Digest,
    /// UID of the evaluated AgentCard, so that a recreated one of that name is evaluated anew.
    pub card_uid: String,
    /// Hosts of the workload; `None` for the names of its own Service, which follow from the workload's.
    hosts: Option<Box<Hosts>>,
    /// Expected signer.
    pub expected: Expected,
}

/// Hosts of a workload beyond the names of its own Service.
#[derive(Clone, Debug)]
struct Hosts {
    /// DNS names inside the cluster: those of its own Service, and of others those that the card names.
    cluster: BTreeSet<String>,
    /// Ingress hosts that belong to the workload and that the card names.
    ingress: BTreeSet<String>,
}

static NO_HOSTS: BTreeSet<String> = BTreeSet::new();

impl Basis {
    /// Basis of the evaluation of a card under `terms`, for a workload whose Service has the names `own`. A namespace may have
    /// thousands of Services and Ingresses, and a basis lasts as long as its evaluation, so hosts that the card does not
    /// name, which cannot decide about it, are left out.
    pub fn of(received: &Received, terms: &Terms<'_>, card_uid: String, own: &BTreeSet<String>) -> Self {
        let Terms { cluster_hosts, ingress_hosts, .. } = *terms;
        let is_own = cluster_hosts.is_subset(own) && ingress_hosts.is_empty();
        let named = if is_own { BTreeSet::new() } else { named_hosts(received, terms.policy) };
        let kept = |hosts: &BTreeSet<String>| -> BTreeSet<String> {
            hosts.iter().filter(|host| own.contains(*host) || named.contains(*host)).cloned().collect()
        };
        let digest = terms.fingerprint(&received.source);
        let hosts = (kept(cluster_hosts), kept(ingress_hosts));
        Self::new(digest, card_uid, hosts, own, terms.expected.clone())
    }

    /// Basis with these hosts inside the cluster and of Ingresses, for a workload whose Service has the names `own`.
    pub fn new(
        terms: Digest,
        card_uid: String,
        (cluster, ingress): (BTreeSet<String>, BTreeSet<String>),
        own: &BTreeSet<String>,
        expected: Expected,
    ) -> Self {
        let is_own = cluster == *own && ingress.is_empty();
        let hosts = (!is_own).then(|| Box::new(Hosts { cluster, ingress }));
        Self { terms, card_uid, hosts, expected }
    }

    /// Basis of another evaluation with the same hosts and signer.
    #[must_use]
    pub fn under(&self, terms: Digest) -> Self {
        Self { terms, ..self.clone() }
    }

    /// True if the card was evaluated with the names of the workload's own Service alone. Hosts of other Services and of
    /// Ingresses may lead elsewhere by now.
    pub const fn has_own_hosts(&self) -> bool {
        self.hosts.is_none()
    }

    /// Hosts inside the cluster and of Ingresses.
    pub(super) fn hosts<'a>(
        &'a self,
        own: &'a BTreeSet<String>,
    ) -> (&'a BTreeSet<String>, &'a BTreeSet<String>) {
        self.hosts.as_deref().map_or((own, &NO_HOSTS), |hosts| (&hosts.cluster, &hosts.ingress))
    }

    /// Terms with the kept host names and another bundle, policy, signer and time; `own` are the names of the workload's own
    /// Service. The history is empty, because the card was accepted before.
    pub fn terms<'a>(
        &'a self,
        own: &'a BTreeSet<String>,
        bundle: &'a Bundle,
        (policy, rules): (&'a Policy, Option<Digest>),
        expected: &'a Expected,
        now: Timestamp,
    ) -> Terms<'a> {
        let (cluster_hosts, ingress_hosts) = self.hosts(own);
        Terms { bundle, policy, rules, expected, cluster_hosts, ingress_hosts, history: None, now }
    }
}

/// Hosts of all URLs of a card, in whatever member: more than its endpoints, and no fewer. None of a card that cannot be
/// parsed, which is refused under any terms.
fn named_hosts(received: &Received, policy: &Policy) -> BTreeSet<String> {
    let Ok(card) = Card::parse(received.bytes.clone(), policy.numbers) else { return BTreeSet::new() };
    let mut hosts = BTreeSet::new();
    let mut values = vec![card.document().root()];
    while let Some(value) = values.pop() {
        if let Some(Ok(url)) = value.as_str().map(Endpoint::parse) {
            hosts.insert(url.host().to_owned());
        }
        values.extend(value.as_array().into_iter().flat_map(Array::iter));
        values.extend(value.as_object().into_iter().flat_map(Object::iter).map(|(_, member)| member));
    }
    hosts
}

/// Evaluation of one card.
#[derive(Clone, Debug)]
pub struct CardEvaluation {
    /// SPIFFE ID that the verdict is about; `None` if no signer could be expected.
    pub spiffe_id: Option<SpiffeId>,
    /// Outcome for the planner.
    pub card: CardOutcome,
    /// Presentation of the verdict, for status.
    pub result: Arc<VerificationResult>,
    /// SHA-256 of the served bytes; `None` if the next fetch must evaluate again.
    pub bytes: Option<Digest>,
    /// Evaluated card, if kept.
    pub received: Option<Arc<Received>>,
    /// Terms of the evaluation.
    pub basis: Option<Arc<Basis>>,
}

impl CardEvaluation {
    /// Evaluation that was refused before a card was received.
    pub fn refused(reference: &CardRef, refusal: Refusal) -> Self {
        Self {
            spiffe_id: None,
            card: CardOutcome::new(reference.clone(), &Verdict::refused(refusal.clone())),
            result: Arc::new(VerificationResult::without_card(refusal)),
            bytes: None,
            received: None,
            basis: None,
        }
    }

    /// Evaluation of a received card from its verification.
    pub fn of(reference: &CardRef, verification: Verification, received: Received, basis: Basis) -> Self {
        Self {
            spiffe_id: Some(verification.spiffe_id),
            card: CardOutcome::new(reference.clone(), &verification.verdict),
            result: Arc::new(verification.result),
            bytes: Some(sha256(&received.bytes)),
            received: Some(Arc::new(received)),
            basis: Some(Arc::new(basis)),
        }
    }

    /// Evaluation whose refusal says in its message which card it is about; a verified one is unchanged.
    #[must_use]
    pub fn named(self, reference: &CardRef, which: &str) -> Self {
        self.saying(reference, |found| format!("{which}: {found}"))
    }

    /// Evaluation whose refusal has another message; a verified one is unchanged.
    #[must_use]
    pub fn saying(self, reference: &CardRef, say: impl FnOnce(&str) -> String) -> Self {
        let mut result = (*self.result).clone();
        let Err(refused) = &mut result.outcome else { return self };
        refused.refusal = Refusal::new(refused.refusal.reason(), say(refused.refusal.message()));
        let card = CardOutcome::new(reference.clone(), &Verdict::refused(refused.refusal.clone()));
        Self { card, result: Arc::new(result), ..self }
    }
}

/// Evaluation of the card of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaEvaluation {
    /// Replica that was asked for its card.
    pub replica: Replica,
    /// Time of the fetch.
    pub at: Instant,
    /// Evaluation of the card, or the reason why none was received.
    pub evaluation: CardEvaluation,
}

impl ReplicaEvaluation {
    pub(super) fn is_good(&self) -> bool {
        self.evaluation.result.outcome.is_ok()
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.evaluation.result.reason().is_some_and(is_unreachable)
    }
}

/// True for reasons that mean that no card was received.
pub const fn is_unreachable(reason: Reason) -> bool {
    matches!(reason, Reason::FetchFailed | Reason::FetchTimeout | Reason::FetchStatus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::bind::Source;
    use countersign_core::bundle::parse_bundle;

    #[test]
    fn of_a_thousand_hosts_those_are_kept_that_the_card_names() {
        let expected = Expected::exactly(SpiffeId::parse("spiffe://example.org/ns/demo/sa/weather").unwrap());
        let bundle = include_bytes!("../../../tests/fixtures/doc/bundle.json").to_vec();
        let bundle = parse_bundle(&expected.trust_domain, bundle).unwrap();
        let policy = Policy::new(expected.trust_domain.clone());
        let hosts =
            |names: &[&str]| -> BTreeSet<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let own = hosts(&["weather", "weather.demo"]);
        let mut cluster: BTreeSet<String> = (0..1000).map(|one| format!("other-{one}.demo")).collect();
        cluster.extend(own.clone());
        let ingress = hosts(&["weather.example", "mail.example"]);
        let of = |body: &str, cluster: &BTreeSet<String>, ingress: &BTreeSet<String>| {
            let received = Received { bytes: body.as_bytes().to_vec(), source: Source::File };
            let terms = Terms {
                bundle: &bundle,
                policy: &policy,
                rules: None,
                expected: &expected,
                cluster_hosts: cluster,
                ingress_hosts: ingress,
                history: None,
                now: Timestamp::from_unix(1_795_219_200),
            };
            let basis = Basis::of(&received, &terms, "uid".to_owned(), &own);
            assert_eq!(basis.terms, terms.fingerprint(&received.source), "all hosts were terms");
            let again = basis.terms(&own, &bundle, (&policy, None), &expected, terms.now);
            (again.cluster_hosts.clone(), again.ingress_hosts.clone(), basis.has_own_hosts())
        };
        let card = r#"{ "name": "a", "supportedInterfaces": [{ "url": "http://Other-7.demo:80/" },
            { "url": "https://weather.\u0065xample/" }], "url": "https://elsewhere.example/" }"#;
        let named = hosts(&["other-7.demo", "weather", "weather.demo"]);
        assert_eq!(of(card, &cluster, &ingress), (named, hosts(&["weather.example"]), false));
        assert_eq!(of("no card", &cluster, &ingress), (own.clone(), hosts(&[]), true));
        assert_eq!(of(card, &own, &hosts(&[])), (own.clone(), hosts(&[]), true));
        let fewer = hosts(&["weather"]);
        assert_eq!(of(card, &fewer, &hosts(&[])), (fewer.clone(), hosts(&[]), false));
    }
}

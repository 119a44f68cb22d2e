//! Plan of a workload of a kind that cannot be listed: what its AgentCards say by themselves still closes it, and how long
//! that lasts is told. Nothing opens, and nothing else is changed, because the workload is not known.

use crate::StoredPolicy;
use crate::agent_card::transition::Transition;
use crate::input::pod::Pod;
use crate::input::workload::WorkloadRef;
use crate::limits::SETTLING;
use crate::workload::{Mark, ObservedCard, StoredProof};
use countersign_api::ObjectRef;
use countersign_api::agent_card::ConditionReason;
use std::collections::BTreeMap;
use std::time::Duration;

/// Observation of a workload that cannot be listed.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// Reference to the workload, as its AgentCards name it.
    pub reference: &'a WorkloadRef,
    /// AgentCards that target the workload and are not being deleted.
    pub cards: &'a [ObservedCard],
    /// Stored policies that carry the label of the workload.
    pub policies: &'a BTreeMap<ObjectRef, StoredPolicy>,
    /// Pods of the namespace with a peer mark.
    pub marked: &'a [(ObjectRef, Pod)],
}

/// Planned writes for a workload that cannot be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnlistedPlan {
    /// Peer marks to remove.
    pub unmark: Vec<Mark>,
    /// Policies to delete. They select Pods with a peer mark alone, and the policies of the namespace isolate those.
    pub remove: Vec<ObjectRef>,
}

/// Plans the writes that close a workload of which an AgentCard is refused, or has a proof in status that has ended.
///
/// The policy that opened the workload says which mark its Pods have.
pub fn plan_unlisted(observed: &Observed<'_>) -> UnlistedPlan {
    let is_refused = |one: &ObservedCard| match &one.evaluated {
        Some((about, outcome)) if about.as_ref() == Some(observed.reference) => !outcome.is_verified(),
        _ => one.stored == StoredProof::Ended,
    };
    if !observed.cards.iter().any(is_refused) {
        return UnlistedPlan::default();
    }
    let opened =
        || observed.policies.iter().filter_map(|(object, policy)| Some((object, policy.opens.as_ref()?)));
    let is_own = |pod: &Pod| opened().any(|(_, mark)| pod.mark().as_ref() == Some(mark));
    let own = observed.marked.iter().filter(|(_, pod)| is_own(pod));
    UnlistedPlan {
        unmark: own
            .map(|(object, pod)| Mark { pod: object.clone(), uid: pod.uid.clone(), value: None })
            .collect(),
        remove: opened().map(|(object, _)| object.clone()).collect(),
    }
}

/// Event about an AgentCard that waits for the list of its workload's kind, once that has lasted for longer than an API
/// server needs to start.
pub fn notice(reference: &WorkloadRef, waited: Duration) -> Option<Transition> {
    let kind = reference.kind.as_str();
    (waited >= SETTLING).then(|| {
        Transition::warning(
            ConditionReason::WorkloadError.as_str(),
            &format!(
                "the card waits for the list of {kind} objects, which the API server does not give: the agent stays as it \
                 is until its proof ends, and is not looked at"
            ),
            &format!(
                "Look into the operator's log for the error; then mend the conversion webhook of the definition of {kind}, or \
                 give the operator the right to list and watch it."
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::IndexedCard;
    use crate::input::Kept;
    use crate::input::pod::{Controller, ControllerKind};
    use crate::input::workload::WorkloadKind;
    use crate::{CardOutcome, CardRef};
    use countersign_api::keys::{PEER_MARK_LABEL, WORKLOAD_LABEL};
    use countersign_core::refusal::{Reason, Refusal};
    use countersign_core::verdict::Verdict;
    use serde_json::json;

    fn reference() -> WorkloadRef {
        WorkloadRef { kind: WorkloadKind::Sandbox, object: ObjectRef::new("team", "boxed") }
    }

    fn card(stored: StoredProof, is_refused: bool) -> ObservedCard {
        let object = json!({
            "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": "boxed", "namespace": "team", "uid": "uid-1", "resourceVersion": "1",
                "creationTimestamp": "2026-11-20T00:00:00Z" },
            "spec": { "targetRef": { "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": "boxed" } },
        });
        let verdict = Verdict::refused(Refusal::new(Reason::CertificateExpired, "as found"));
        let outcome = CardOutcome::new(CardRef::new("boxed", Some("uid-1")).unwrap(), &verdict);
        ObservedCard {
            object: ObjectRef::new("team", "boxed"),
            card: IndexedCard::of(serde_json::from_value(object).unwrap()).unwrap(),
            evaluated: is_refused.then(|| (Some(reference()), outcome)),
            stored,
        }
    }

    fn policy(selector: &serde_json::Value) -> StoredPolicy {
        let labels = json!({ WORKLOAD_LABEL: reference().label() });
        let object =
            json!({ "metadata": { "name": "x", "labels": labels }, "spec": { "podSelector": selector } });
        StoredPolicy::of(&serde_json::from_value(object).unwrap())
    }

    fn pod(name: &str, mark: &str) -> (ObjectRef, Pod) {
        let pod = Pod {
            uid: format!("uid-{name}"),
            labels: Kept::of(&BTreeMap::from([(PEER_MARK_LABEL.to_owned(), mark.to_owned())])).unwrap(),
            has_too_many_labels: false,
            controller: Some(Controller { kind: ControllerKind::Sandbox, uid: "u".to_owned() }),
            service_account: "boxed".to_owned(),
            addresses: Vec::new(),
            host_network: false,
            can_serve: true,
        };
        (ObjectRef::new("team", name), pod)
    }

    #[test]
    fn a_proof_that_ends_closes_what_it_opened_and_nothing_else() {
        let [opening, closing] = ["opens", "closes"].map(|name| ObjectRef::new("team", name));
        let policies = BTreeMap::from([
            (opening.clone(), policy(&json!({ "matchLabels": { PEER_MARK_LABEL: "mine" } }))),
            (closing, policy(&json!({ "matchLabels": { "app": "boxed" } }))),
        ]);
        let marked = [pod("boxed", "mine"), pod("other", "another")];
        let (holds, none, ended) = (
            card(StoredProof::Holds, false),
            card(StoredProof::None, false),
            card(StoredProof::Ended, false),
        );
        let refused = card(StoredProof::Holds, true);
        let reference = reference();
        for (cards, closes) in [
            (vec![], false),
            (vec![holds.clone()], false),
            (vec![none], false),
            (vec![ended.clone()], true),
            (vec![holds, ended], true),
            (vec![refused], true),
        ] {
            let observed =
                Observed { reference: &reference, cards: &cards, policies: &policies, marked: &marked };
            let plan = plan_unlisted(&observed);
            let expected = if closes {
                let unmark =
                    Mark { pod: ObjectRef::new("team", "boxed"), uid: "uid-boxed".to_owned(), value: None };
                UnlistedPlan { unmark: vec![unmark], remove: vec![opening.clone()] }
            } else {
                UnlistedPlan::default()
            };
            assert_eq!(plan, expected, "{cards:?}");
        }
    }

    #[test]
    fn a_wait_is_told_of_once_it_is_longer_than_a_start() {
        assert_eq!(notice(&reference(), Duration::from_secs(9)), None);
        let told = notice(&reference(), Duration::from_secs(10)).unwrap();
        assert_eq!((told.reason(), told.is_warning()), ("WorkloadError", true));
        assert!(
            told.note().contains("the list of Sandbox objects")
                && told.note().contains("mend the conversion")
        );
    }
}

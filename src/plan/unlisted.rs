//! Plan of a workload of a kind that cannot be listed: what its AgentCards say by themselves still closes it, and how long
//! that lasts is told. Nothing opens, and nothing else is changed, because the workload is not known.

use crate::agent_card::evaluation::Evaluation;
use crate::agent_card::transition::Transition;
use crate::agent_card::unread::and_shown;
use crate::input::Kept;
use crate::input::names::{Role, WorkloadNames};
use crate::input::pod::{ControllerKind, Pod};
use crate::input::workload::WorkloadRef;
use crate::limits::{LONGEST_UNDECIDED, SETTLING};
use crate::workload::{Mark, ObservedCard, StoredProof};
use crate::{Namespace, StoredPolicy};
use countersign_api::ObjectRef;
use countersign_api::agent_card::{AgentCardStatus, ConditionReason};
use countersign_core::refusal::{Reason, Refusal};
use std::collections::BTreeMap;
use std::time::Duration;

/// Observation of a workload that cannot be listed and that must close.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// Reference to the workload, as its AgentCards name it.
    pub reference: &'a WorkloadRef,
    /// Stored policies that carry the label of the workload.
    pub policies: &'a BTreeMap<ObjectRef, StoredPolicy>,
    /// Pods of the namespace that a Sandbox controls.
    pub pods: &'a [(ObjectRef, Pod)],
}

/// Planned writes for a workload that cannot be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnlistedPlan {
    /// Peer marks to remove.
    pub unmark: Vec<Mark>,
    /// Policies to delete, once no Pod carries a mark of the workload. They select Pods with a peer mark alone, and the
    /// policies of the namespace isolate those.
    pub remove: Vec<ObjectRef>,
}

/// What the AgentCards of a workload prove by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// One has a proof that holds, and none is refused.
    Holds,
    /// None has a proof, and none is refused: each is new, or its spec was changed after the proof.
    Missing,
    /// There is none, or one is refused or has a proof in status that has ended.
    Lost,
}

impl Evidence {
    /// Evidence of the AgentCards that target a workload.
    pub fn of(reference: &WorkloadRef, cards: &[ObservedCard]) -> Self {
        let one = |one: &ObservedCard| match (&one.evaluated, one.stored) {
            (Some((about, outcome)), _) if about.as_ref() == Some(reference) => match outcome.is_verified() {
                // A verdict over a deleted AgentCard proves nothing for its successor of one name.
                true if outcome.reference() == &one.card.reference => Self::Holds,
                true => Self::Missing,
                false => Self::Lost,
            },
            (_, StoredProof::Holds) => Self::Holds,
            (_, StoredProof::None) => Self::Missing,
            (_, StoredProof::Ended) => Self::Lost,
        };
        let all: Vec<Self> = cards.iter().map(one).collect();
        if all.is_empty() || all.contains(&Self::Lost) {
            Self::Lost
        } else if all.contains(&Self::Holds) {
            Self::Holds
        } else {
            Self::Missing
        }
    }

    /// True if the workload closes, after its proof has been missing for so long. Whoever changes an AgentCard again and
    /// again keeps nothing open by it.
    pub fn must_close(self, missing_for: Duration) -> bool {
        match self {
            Self::Holds => false,
            Self::Missing => missing_for >= LONGEST_UNDECIDED,
            Self::Lost => true,
        }
    }
}

/// Plans the writes that close a workload.
pub fn plan_unlisted(observed: &Observed<'_>) -> UnlistedPlan {
    let Some(names) = names(observed.reference) else { return UnlistedPlan::default() };
    let own = observed.pods.iter().filter(|(_, pod)| is_own(&names, pod));
    let unmark: Vec<Mark> =
        own.map(|(object, pod)| Mark { pod: object.clone(), uid: pod.uid.clone(), value: None }).collect();
    // Whoever may write policies may copy the label of the workload, but not the name that is planned for it as well.
    let verdict = names.object_name(Role::Verdict);
    let opens =
        |(object, policy): &(&ObjectRef, &StoredPolicy)| policy.opens.is_some() && object.name == verdict;
    let remove = observed.policies.iter().filter(opens).map(|(object, _)| object.clone());
    let remove = if unmark.is_empty() { remove.collect() } else { Vec::new() };
    UnlistedPlan { unmark, remove }
}

/// Names that follow from the reference alone; `None` for one that no object can have.
fn names(reference: &WorkloadRef) -> Option<WorkloadNames> {
    let namespace = Namespace::parse(&reference.object.namespace).ok()?;
    let (kind, name) = (reference.kind.as_str().to_owned(), reference.object.name.clone());
    Some(WorkloadNames::new(namespace, kind, name.to_string()))
}

/// True if a Pod carries the mark of the Sandbox of this name that controls it. The mark is a hash of name and UID, and the
/// Pod has the UID, so that no policy, which others may write or which may be gone, has to tell whose mark it is.
fn is_own(names: &WorkloadNames, pod: &Pod) -> bool {
    let controller = pod.controller.as_ref().filter(|owner| owner.kind == ControllerKind::Sandbox);
    let mark = controller.map(|owner| names.clone().with_uid(owner.uid.clone()).peer_mark());
    mark.is_some() && pod.mark == mark
}

/// Refused evaluations of AgentCards whose proof in status has ended, which nobody evaluates while the workload cannot be
/// read. Status shows them once the workload is closed.
pub fn ended(reference: &WorkloadRef, cards: &[ObservedCard]) -> Vec<(ObjectRef, Evaluation)> {
    let is_ended = |one: &&ObservedCard| one.evaluated.is_none() && one.stored == StoredProof::Ended;
    let refused = |one: &ObservedCard| {
        let kind = reference.kind.as_str();
        let found = format!(
            "the certificate in status has ended, and the card is not evaluated again while {kind} objects cannot be listed"
        );
        let refusal = Refusal::new(Reason::CertificateExpired, found);
        let evaluation = Evaluation::refused(&one.card.reference, Some(reference.clone()), refusal);
        (one.object.clone(), evaluation.at(one.card.generation))
    };
    cards.iter().filter(is_ended).map(refused).collect()
}

/// Event about an AgentCard that waits for the list of its workload's kind, once that has lasted for longer than an API
/// server needs to start. It says since when the verdict in `status` stands.
pub fn notice(
    reference: &WorkloadRef,
    status: &Kept<AgentCardStatus>,
    waited: Duration,
) -> Option<Transition> {
    let kind = reference.kind.as_str();
    (waited >= SETTLING).then(|| {
        let shown = and_shown(status);
        Transition::warning(
            ConditionReason::WorkloadError.as_str(),
            &format!(
                "the card waits for the list of {kind} objects, which the API server does not give: the agent stays as it \
                 is until its proof ends, and is not looked at{shown}"
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
    use crate::input::pod::Controller;
    use crate::input::workload::WorkloadKind;
    use crate::{CardOutcome, CardRef};
    use countersign_api::keys::{PEER_MARK_LABEL, WORKLOAD_LABEL};
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

    /// Mark of the Sandbox of this name whose UID is `uid`.
    fn mark(name: &str, uid: &str) -> String {
        let object = ObjectRef::new("team", name);
        let names = names(&WorkloadRef { object, ..reference() }).unwrap();
        names.with_uid(uid.to_owned()).peer_mark()
    }

    fn pod(name: &str, mark: &str, kind: ControllerKind) -> (ObjectRef, Pod) {
        let pod = Pod {
            uid: format!("uid-{name}"),
            labels: Kept::of(&BTreeMap::from([(PEER_MARK_LABEL.to_owned(), mark.to_owned())])).unwrap(),
            mark: Some(mark.to_owned()),
            has_too_many_labels: false,
            controller: Some(Controller { kind, uid: "u".to_owned() }),
            service_account: "boxed".to_owned(),
            addresses: Vec::new(),
            host_network: false,
            can_serve: true,
        };
        (ObjectRef::new("team", name), pod)
    }

    fn opening(mark: &str) -> (ObjectRef, StoredPolicy) {
        let name = names(&reference()).unwrap().object_name(Role::Verdict);
        (ObjectRef::new("team", &name), policy(&json!({ "matchLabels": { PEER_MARK_LABEL: mark } })))
    }

    fn plan(policies: &[(ObjectRef, StoredPolicy)], pods: &[(ObjectRef, Pod)]) -> UnlistedPlan {
        let (reference, policies) = (reference(), policies.iter().cloned().collect());
        plan_unlisted(&Observed { reference: &reference, policies: &policies, pods })
    }

    fn unmarks(plan: &UnlistedPlan) -> Vec<&str> {
        plan.unmark.iter().map(|mark| mark.pod.name.as_str()).collect()
    }

    #[test]
    fn what_is_not_proven_closes_at_once_or_after_a_while() {
        let (holds, none, ended) = (
            card(StoredProof::Holds, false),
            card(StoredProof::None, false),
            card(StoredProof::Ended, false),
        );
        let refused = card(StoredProof::Holds, true);
        let mut of_others = refused.clone();
        let elsewhere = WorkloadRef { object: ObjectRef::new("team", "elsewhere"), ..reference() };
        of_others.evaluated = of_others.evaluated.map(|(_, outcome)| (Some(elsewhere), outcome));
        for (cards, [at_once, later]) in [
            (vec![], [true, true]),
            (vec![holds.clone()], [false, false]),
            (vec![of_others], [false, false]),
            (vec![none.clone()], [false, true]),
            (vec![none.clone(), holds.clone()], [false, false]),
            (vec![none, ended.clone()], [true, true]),
            (vec![ended.clone()], [true, true]),
            (vec![holds, ended], [true, true]),
            (vec![refused], [true, true]),
        ] {
            let evidence = Evidence::of(&reference(), &cards);
            let short = LONGEST_UNDECIDED.saturating_sub(Duration::from_secs(1));
            let closes = [short, LONGEST_UNDECIDED].map(|missing_for| evidence.must_close(missing_for));
            assert_eq!(closes, [at_once, later], "{cards:?}");
        }
    }

    #[test]
    fn status_tells_of_a_proof_that_ended_and_was_not_evaluated_since() {
        let mut cards = vec![card(StoredProof::Holds, false), card(StoredProof::None, false)];
        cards.extend([card(StoredProof::Ended, true), card(StoredProof::Holds, true)]);
        assert!(ended(&reference(), &cards).is_empty());
        cards.push(card(StoredProof::Ended, false));
        let told = ended(&reference(), &cards);
        let [(object, evaluation)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(*object, cards[4].object);
        assert_eq!(evaluation.result.reason(), Some(Reason::CertificateExpired));
        assert_eq!(
            (&evaluation.workload, evaluation.generation),
            (&Some(reference()), cards[4].card.generation)
        );
    }

    #[test]
    fn what_was_opened_is_closed_and_the_policy_goes_after_the_last_mark() {
        let mine = mark("boxed", "u");
        let closing =
            (ObjectRef::new("team", "closes"), policy(&json!({ "matchLabels": { "app": "boxed" } })));
        let policies = [opening(&mine), closing];
        let pods =
            [pod("boxed", &mine, ControllerKind::Sandbox), pod("other", "another", ControllerKind::Sandbox)];
        let unmark = Mark { pod: ObjectRef::new("team", "boxed"), uid: "uid-boxed".to_owned(), value: None };
        let remove = vec![policies[0].0.clone()];
        assert_eq!(plan(&policies, &pods), UnlistedPlan { unmark: vec![unmark], remove: Vec::new() });
        assert_eq!(plan(&policies, &pods[1..]), UnlistedPlan { unmark: Vec::new(), remove });
    }

    #[test]
    fn a_mark_is_removed_without_the_policy_that_it_was_set_for() {
        let marked = [pod("boxed", &mark("boxed", "u"), ControllerKind::Sandbox)];
        let plan = plan(&[], &marked);
        assert_eq!(unmarks(&plan), ["boxed"]);
    }

    #[test]
    fn a_policy_of_others_takes_no_mark_off_another_workload() {
        let (other, set) = (mark("other", "u"), "mark of a StatefulSet".to_owned());
        let marked = [
            pod("boxed", &mark("boxed", "u"), ControllerKind::Sandbox),
            pod("copied", &mark("boxed", "u"), ControllerKind::StatefulSet),
            pod("later", &mark("boxed", "another UID"), ControllerKind::Sandbox),
            pod("other", &other, ControllerKind::Sandbox),
            pod("set", &set, ControllerKind::StatefulSet),
        ];
        for planted in [other, set] {
            let named = opening(&planted);
            let unnamed = (ObjectRef::new("team", "planted"), named.1.clone());
            let policies = [named.clone(), unnamed];
            assert_eq!(unmarks(&plan(&policies, &marked)), ["boxed"]);
            assert_eq!(plan(&policies, &marked[1..]).remove, [named.0]);
        }
    }

    #[test]
    fn a_wait_is_told_of_once_it_is_longer_than_a_start() {
        let status = Kept::default();
        assert_eq!(notice(&reference(), &status, Duration::from_secs(9)), None);
        let told = notice(&reference(), &status, Duration::from_secs(10)).unwrap();
        assert_eq!((told.reason(), told.is_warning()), ("WorkloadError", true));
        assert!(
            told.note().contains("the list of Sandbox objects")
                && told.note().contains("mend the conversion")
        );
        let verified = serde_json::from_value::<AgentCardStatus>(json!({
            "verdict": { "outcome": "verified", "notAfter": "2026-11-21T11:00:00Z" },
            "conditions": [{ "type": "Verified", "status": "True", "reason": "x", "message": "",
                "lastTransitionTime": "2026-11-21T10:00:00Z" }],
        }));
        let told =
            notice(&reference(), &Kept::of(&verified.unwrap()).unwrap(), Duration::from_secs(10)).unwrap();
        let says = "not looked at; status shows verified since 2026-11-21T10:00:00Z, until 2026-11-21T11:00:00Z at the latest";
        assert!(told.note().contains(says), "{}", told.note());
    }
}

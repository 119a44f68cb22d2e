//! Plan of a workload: its AgentCard, policies and the peer marks of its Pods, from one observation.
//! What closes needs nothing else, and what opens comes last, so that a plan applied in part opens nothing.

use crate::agent_card::enforcement::Enforcement;
use crate::agent_card::transition::Transition;
use crate::agent_card::{IndexedCard, plan_default_card};
use crate::input::identity::{Binding, Expected, IdentityRules};
use crate::input::outcome::Decision;
use crate::input::pod::{Pod, selects};
use crate::input::workload::{Workload, WorkloadRef};
use crate::limits::LONGEST_UNDECIDED;
use crate::{
    CardOutcome, ClusterAccess, EnrolledWorkload, InputError, Isolation, Mode, Namespace, PodInput,
    StoredPolicy, plan_network_policies, plan_peer_mark,
};
use countersign_api::ObjectRef;
use countersign_api::agent_card::AgentCard;
use countersign_api::keys::Family;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::verdict::Verdict;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// SPIFFE ID that no workload can have: `invalid` is reserved (RFC 6761), so no trust domain has that name.
const NOBODY: &str = "spiffe://invalid/nobody";

/// What access waits for while the policies of the namespace are not stored.
const NAMESPACE_ISOLATION: &str = "the NetworkPolicies that isolate the namespace";

/// AgentCard that targets the workload, with its last outcome.
#[derive(Clone, Debug)]
pub struct ObservedCard {
    /// Namespace and name of the AgentCard object.
    pub object: ObjectRef,
    /// Observed AgentCard.
    pub card: IndexedCard,
    /// Last outcome and the workload that it is about; `None` before the first evaluation.
    pub evaluated: Option<(Option<WorkloadRef>, CardOutcome)>,
    /// Proof that status shows.
    pub stored: StoredProof,
}

/// Proof of an AgentCard in its status, by which a process knows a card that it has not evaluated itself yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredProof {
    /// Status shows no proof.
    #[default]
    None,
    /// The proof has not ended.
    Holds,
    /// The proof has ended.
    Ended,
}

/// Observation of a workload, the input of one plan.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// Reference to the workload.
    pub reference: &'a WorkloadRef,
    /// Observed workload object.
    pub workload: &'a Workload,
    /// AgentCards that target the workload and are not being deleted.
    pub cards: Vec<ObservedCard>,
    /// True if an AgentCard may be created: all AgentCards are listed, so that none exists unseen, none has the name of
    /// the default one, and the API server has not refused a creation in this turn.
    pub may_make_card: bool,
    /// True once every kind that a verdict depends on is listed.
    pub is_complete: bool,
    /// Time for which this process has had no decision about the workload, because an AgentCard was not evaluated yet.
    pub undecided_for: Duration,
    /// Pods that the workload controls.
    pub pods: Vec<(ObjectRef, Pod)>,
    /// True if the workload's selector matches a Pod without the agent label of the template's family, which the
    /// namespace policies of that family miss.
    pub has_unlabelled_pods: bool,
    /// Stored policies that carry the label of the workload.
    pub policies: BTreeMap<ObjectRef, StoredPolicy>,
    /// Families whose baseline and minimum of the namespace are both stored.
    pub isolated_families: Vec<Family>,
    /// Network access of the cluster; `None` while the address of the API server is unknown.
    pub cluster: Option<Result<ClusterAccess, InputError>>,
    /// Enforcement mode of the namespace.
    pub mode: Mode,
    /// Rules that assign SPIFFE IDs to workloads.
    pub identity: &'a IdentityRules,
}

impl Observed<'_> {
    /// Family whose agent label every Pod of the workload carries; `None` while a Pod may lack it.
    fn isolating_family(&self) -> Option<Family> {
        let now = || self.workload.labels_its_pods().filter(|_| !self.has_unlabelled_pods);
        self.workload.always_labelled_its_pods().or_else(now)
    }
}

/// Change of the peer mark of a running Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Namespace and name of the Pod to change.
    pub pod: ObjectRef,
    /// UID of the Pod, so that a later Pod of the same name is not marked.
    pub uid: String,
    /// Value of the peer mark; `None` removes the mark.
    pub value: Option<String>,
}

/// Input that a plan lacks, and that calls for another turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is missing: the next change enqueues the next turn.
    Nothing,
    /// Stored isolation of the namespace, which must precede access.
    NamespaceIsolation,
    /// Address of the API server, or the end of Pods of an earlier template.
    Input,
    /// Evaluation of an AgentCard: what is stored stands meanwhile, for [`LONGEST_UNDECIDED`] at most.
    Evaluation,
    /// Workload that can be planned for; the error says what is invalid.
    ValidWorkload(InputError),
    /// Network access of the cluster that can be planned for; the error says what is invalid.
    ValidCluster(InputError),
}

/// Planned writes for a workload, in the order in which to apply them.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadPlan {
    /// AgentCard to create, if the workload has none.
    pub create: Option<AgentCard>,
    /// Operator-made AgentCards to delete, with UIDs, because a user wrote one.
    pub delete: Vec<(ObjectRef, String)>,
    /// Peer marks to remove. Nothing else has to succeed first.
    pub unmark: Vec<Mark>,
    /// Policies that isolate or restrict; policies already stored as planned are left out.
    pub close: Vec<NetworkPolicy>,
    /// Policy that allows what a verdict proves, to apply after all of the above succeeded.
    pub open: Option<NetworkPolicy>,
    /// Policies to delete after `open`: others isolate the Pods by then.
    pub remove: Vec<ObjectRef>,
    /// Peer marks to set, last.
    pub mark: Vec<Mark>,
    /// Input that the plan lacks.
    pub missing: Missing,
    /// Enforcement of the decision once all of the above succeeded.
    pub enforcement: Enforcement,
    /// What to say about the workload in an event, once, while no AgentCard can say it.
    pub notice: Option<Transition>,
}

/// Plans the writes for a workload. Missing input never reduces isolation, and a refusal waits for nothing.
pub fn plan_workload(observed: &Observed<'_>) -> WorkloadPlan {
    let plan = plan_writes(observed);
    let plan = WorkloadPlan { notice: notice(observed, &plan.missing), ..plan };
    match observed.mode {
        Mode::Enforce => plan,
        Mode::Audit => WorkloadPlan { enforcement: Enforcement::Audit, ..plan },
    }
}

fn plan_writes(observed: &Observed<'_>) -> WorkloadPlan {
    let (create, delete) = plan_cards(observed);
    let plan = WorkloadPlan {
        create,
        delete,
        unmark: Vec::new(),
        close: Vec::new(),
        open: None,
        remove: Vec::new(),
        mark: Vec::new(),
        missing: Missing::Nothing,
        enforcement: Enforcement::Undecided,
        notice: None,
    };
    let enrolled = match enrol(observed) {
        Ok(enrolled) => enrolled,
        // A workload that cannot be planned for cannot be a peer either. The policy that opened it selects marked Pods
        // alone, so it isolates nobody that is not isolated without it.
        Err(error) => {
            let enforcement = Enforcement::Invalid(error.explained());
            let missing = Missing::ValidWorkload(error);
            let opens = |(object, stored): (&ObjectRef, &StoredPolicy)| {
                stored.opens.is_some().then(|| object.clone())
            };
            let remove = observed.policies.iter().filter_map(opens).collect();
            return WorkloadPlan { unmark: unmark_all(observed), remove, missing, enforcement, ..plan };
        }
    };
    let outcomes = outcomes(observed, &enrolled, plan.create.is_some());
    let is_open = outcomes.as_ref().is_some_and(|outcomes| Decision::of(&enrolled, outcomes).is_verified());
    let is_refused = outcomes.is_some() && !is_open;
    let unmark = if is_refused { unmark_all(observed) } else { Vec::new() };
    let cluster = match &observed.cluster {
        None => {
            let enforcement = Enforcement::Waiting("the address of the API server".to_owned());
            return WorkloadPlan { unmark, missing: Missing::Input, enforcement, ..plan };
        }
        Some(Err(error)) => {
            let enforcement = Enforcement::Invalid(error.explained());
            return WorkloadPlan {
                unmark,
                missing: Missing::ValidCluster(error.clone()),
                enforcement,
                ..plan
            };
        }
        Some(Ok(cluster)) => cluster,
    };
    let Some(outcomes) = outcomes else {
        // Without outcomes the stored verdict policy stays, and new Pods have the isolation of their namespace.
        let mut isolating = plan_network_policies(&[], &enrolled, cluster, observed.mode);
        // The last policy follows the verdict, which is unknown.
        isolating.pop();
        return WorkloadPlan { close: changed(observed, isolating), missing: Missing::Evaluation, ..plan };
    };
    let lacks_isolation = observed.mode == Mode::Enforce
        && matches!(enrolled.isolation(), Isolation::Namespace(_))
        && !observed.isolating_family().is_some_and(|family| observed.isolated_families.contains(&family));
    if is_open && lacks_isolation {
        let enforcement = Enforcement::Waiting(NAMESPACE_ISOLATION.to_owned());
        return WorkloadPlan { missing: Missing::NamespaceIsolation, enforcement, ..plan };
    }
    let planned = plan_network_policies(&outcomes, &enrolled, cluster, observed.mode);
    let kept: BTreeSet<ObjectRef> = planned.iter().map(|policy| (&policy.metadata).into()).collect();
    let follows_verdict = planned.last().map(|policy| ObjectRef::from(&policy.metadata));
    let mut close = changed(observed, planned);
    let opens =
        |policy: &NetworkPolicy| is_open && Some(ObjectRef::from(&policy.metadata)) == follows_verdict;
    let open = if close.last().is_some_and(opens) { close.pop() } else { None };
    let marks = plan_marks(observed, &outcomes, &enrolled);
    let enforcement = match (lacks_isolation, is_open) {
        (true, _) => Enforcement::Waiting(NAMESPACE_ISOLATION.to_owned()),
        (false, true) if marks.iter().any(|(_, value)| value.is_some()) => Enforcement::Open,
        (false, true) if observed.workload.labels_its_pods().is_some() => Enforcement::Unmarked,
        (false, true) => Enforcement::Unlabelled(observed.workload.family.unwrap_or(Family::Kagenti)),
        (false, false) if enrolled.host_network() => Enforcement::HostNetwork,
        (false, false) => Enforcement::Closed,
    };
    let (mark, unmark) = changed_marks(marks).partition(|mark: &Mark| mark.value.is_some());
    WorkloadPlan {
        enforcement,
        unmark,
        close,
        open,
        remove: observed.policies.keys().filter(|stored| !kept.contains(stored)).cloned().collect(),
        mark,
        missing: match (lacks_isolation, is_settled(observed)) {
            (true, _) => Missing::NamespaceIsolation,
            (false, true) => Missing::Nothing,
            (false, false) => Missing::Input,
        },
        ..plan
    }
}

/// Notice about a workload that cannot be planned for, or that lacks a label and has no AgentCard that would tell of it.
fn notice(observed: &Observed<'_>, missing: &Missing) -> Option<Transition> {
    if let Missing::ValidWorkload(error) = missing {
        return Some(Transition::warning("WorkloadError", &error.to_string(), &error.fix()));
    }
    let lacks = observed.workload.standing().notice().filter(|_| observed.cards.is_empty())?;
    let told = || Transition::warning(Reason::ProtocolMissing.code(), &lacks.found(), &lacks.fix());
    (!observed.workload.is_leaving).then(told)
}

/// AgentCard to create and operator-made AgentCards to delete, so that users' cards replace operator-made ones.
fn plan_cards(observed: &Observed<'_>) -> (Option<AgentCard>, Vec<(ObjectRef, String)>) {
    let Observed { reference, workload, cards, .. } = observed;
    if workload.protocol.is_none() || workload.is_leaving {
        return (None, Vec::new());
    }
    if cards.is_empty() {
        let has_trust_domain = observed.identity.trust_domain.is_some();
        let made = || plan_default_card(reference, workload, has_trust_domain);
        return (observed.may_make_card.then(made), Vec::new());
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = cards.iter().partition(|one| one.card.is_automatic);
    if theirs.is_empty() {
        return (None, Vec::new());
    }
    (None, ours.into_iter().map(|one| (one.object.clone(), one.card.uid.clone())).collect())
}

fn enrol(observed: &Observed<'_>) -> Result<EnrolledWorkload, InputError> {
    let Observed { reference, workload, .. } = observed;
    let too_many = workload.refusal.as_ref().filter(|_| workload.has_too_many_labels());
    if let Some(found) = too_many.filter(|_| workload.selects_nobody()) {
        return Err(InputError::TooManyLabels(found.message().to_owned()));
    }
    let ObjectRef { namespace, name } = &reference.object;
    let expected = expected(observed).ok_or(InputError::Empty("the identity of the workload"))?;
    let selector = workload.selector.read();
    EnrolledWorkload::new(Namespace::parse(namespace)?, reference.kind.as_str(), name, expected, selector)?
        .with_host_network(workload.host_network)
        .with_isolation(isolation(observed))
        .with_open_ports(workload.open_ports.clone())
        .with_uid(&workload.uid)
}

/// Expected signer, from the configuration, the workload and the first card with a valid binding. Without a trust
/// domain it is [`NOBODY`], so that no verdict counts as verified.
fn expected(observed: &Observed<'_>) -> Option<Expected> {
    let rules = observed.identity;
    let expect = |binding: Binding<'_>| {
        let namespace = &observed.reference.object.namespace;
        rules.expect(binding, namespace, &observed.workload.service_account).ok()
    };
    let by_cards = observed.cards.iter().find_map(|one| expect(one.card.binding()));
    let nobody = || SpiffeId::parse(NOBODY).ok().map(Expected::exactly);
    by_cards.or_else(|| expect(Binding::default())).or_else(nobody)
}

/// Outcomes that decide about the workload; `None` while an AgentCard that could decide otherwise has no evaluation.
///
/// One refusal is enough, so that no further AgentCard can hold it up.
fn outcomes(
    observed: &Observed<'_>,
    enrolled: &EnrolledWorkload,
    is_card_new: bool,
) -> Option<Vec<CardOutcome>> {
    let is_overdue = observed.undecided_for >= LONGEST_UNDECIDED;
    let of = |one: &ObservedCard| match &one.evaluated {
        Some((about, outcome)) if about.as_ref() == Some(observed.reference) => {
            // A verdict over a deleted AgentCard opens nothing for its successor of one name, but a refusal stays:
            // recreating the AgentCard would otherwise undo the end of a proof (rule 59).
            let is_this = outcome.reference() == &one.card.reference;
            // Whoever holds a deletion back by a finalizer keeps no access by it.
            let counts = is_this && !observed.workload.is_leaving;
            (counts || !outcome.is_verified()).then(|| outcome.clone())
        }
        _ => None,
    };
    let lapsed = |one: &ObservedCard| {
        let refusal = if observed.workload.is_leaving {
            Refusal::new(Reason::WorkloadNotFound, "the workload is being deleted")
        } else if one.stored == StoredProof::Ended {
            Refusal::new(Reason::CertificateExpired, "the proof in status has ended")
        // Whoever keeps the operator busy after its restart must not close those who were verified before it.
        } else if is_overdue && one.stored == StoredProof::None {
            Refusal::new(Reason::FetchFailed, "the card was not evaluated in time")
        } else {
            return None;
        };
        Some(CardOutcome::new(one.card.reference.clone(), &Verdict::refused(refusal)))
    };
    let all: Vec<Option<CardOutcome>> =
        observed.cards.iter().map(|one| of(one).or_else(|| lapsed(one))).collect();
    let known: Vec<CardOutcome> = all.iter().flatten().cloned().collect();
    let has_refusal = matches!(Decision::of(enrolled, &known), Decision::Refused(_));
    // A card created in this turn has no verdict yet, and planning for no card would close Pods that its first verdict
    // may open.
    let is_known = observed.is_complete && known.len() == all.len() && (!is_card_new || is_overdue);
    (has_refusal || is_known).then_some(known)
}

/// NetworkPolicies that isolate the Pods: those of the namespace only if every Pod carries the agent label.
fn isolation(observed: &Observed<'_>) -> Isolation {
    observed.isolating_family().map_or(Isolation::Own, Isolation::Namespace)
}

/// False while Pods of an earlier template run. They lack the agent label, so no watch reports their end.
fn is_settled(observed: &Observed<'_>) -> bool {
    let workload = observed.workload;
    workload.always_labelled_its_pods().is_some()
        || workload.labels_its_pods().is_none()
        || !observed.has_unlabelled_pods
}

fn changed(observed: &Observed<'_>, mut planned: Vec<NetworkPolicy>) -> Vec<NetworkPolicy> {
    planned.retain(|policy| {
        let stored = observed.policies.get(&ObjectRef::from(&policy.metadata));
        stored.is_none_or(|stored| stored.digest != StoredPolicy::of(policy).digest)
    });
    planned
}

/// Pods of the workload with the peer marks that they should have.
fn plan_marks<'o>(
    observed: &'o Observed<'_>,
    outcomes: &[CardOutcome],
    enrolled: &EnrolledWorkload,
) -> Vec<(&'o (ObjectRef, Pod), Option<String>)> {
    let workload = observed.workload;
    let selector = workload.selector.read();
    let mark = |one: &'o (ObjectRef, Pod)| {
        let pod = &one.1;
        let input = PodInput {
            controlled_by_workload: true,
            runs_as_workload: pod.service_account == workload.service_account,
            matches_selector: !pod.has_too_many_labels && selects(&selector, &pod.labels.read()),
            host_network: pod.host_network,
        };
        (one, plan_peer_mark(outcomes, enrolled, input))
    };
    observed.pods.iter().map(mark).collect()
}

fn changed_marks(marks: Vec<(&(ObjectRef, Pod), Option<String>)>) -> impl Iterator<Item = Mark> {
    marks.into_iter().filter(|((_, pod), value)| pod.mark != *value).map(|((object, pod), value)| Mark {
        pod: object.clone(),
        uid: pod.uid.clone(),
        value,
    })
}

/// Removals of every peer mark of the workload's Pods.
fn unmark_all(observed: &Observed<'_>) -> Vec<Mark> {
    let marked = observed.pods.iter().filter(|(_, pod)| pod.mark.is_some());
    marked.map(|(object, pod)| Mark { pod: object.clone(), uid: pod.uid.clone(), value: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CardRef;
    use crate::agent_card::evaluate::{Received, Terms, evaluate};
    use crate::input::Kept;
    use crate::input::cluster::cluster;
    use crate::input::identity::{AllowedDomains, IdTemplate, SignerScope};
    use crate::input::pod::{Controller, ControllerKind};
    use crate::input::ports::{OpenPorts, Port};
    use crate::input::workload::WorkloadKind;
    use countersign_api::keys::{PEER_MARK_LABEL, REASON_ANNOTATION};
    use countersign_core::bind::Source;
    use countersign_core::bundle::parse_bundle;
    use countersign_core::policy::Policy;
    use countersign_core::spiffe::TrustDomain;
    use countersign_core::time::Timestamp;
    use serde_json::json;

    const CARD: &str = "weather-card";

    fn workload(labels_its_pods: bool, generation: i64) -> Workload {
        let mut labels = json!({ "app": "weather" });
        if labels_its_pods {
            labels["kagenti.io/type"] = "agent".into();
        }
        let enrolled = json!({ "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" });
        let object = json!({
            "metadata": { "name": "weather", "namespace": "demo", "uid": "3f0c6f0e-0000-4000-8000-000000000001",
                "generation": generation, "labels": enrolled },
            "spec": {
                "selector": { "matchLabels": { "app": "weather" } },
                "template": { "metadata": { "labels": labels },
                    "spec": { "serviceAccountName": "weather", "containers": [] } },
            },
            "status": { "conditions": [{ "type": "Available", "status": "True" }] },
        });
        Workload::of_deployment(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn reference() -> WorkloadRef {
        WorkloadRef { kind: WorkloadKind::Deployment, object: ObjectRef::new("demo", "weather") }
    }

    fn rules(scope: SignerScope) -> IdentityRules {
        let template = IdTemplate::parse(IdTemplate::DEFAULT).unwrap();
        let (trust_domain, others) = (TrustDomain::parse("example.org").ok(), AllowedDomains::default());
        IdentityRules { trust_domain, others, template, scope }
    }

    /// Verified outcome of the AgentCard with this UID, from a real evaluation: nothing else makes one.
    fn verified(uid: &str) -> CardOutcome {
        let rules = rules(SignerScope::Workload);
        let expected = rules.expect(Binding::default(), "demo", "weather").unwrap();
        let bundle = include_bytes!("../../tests/fixtures/doc/bundle.json").to_vec();
        let bytes = include_bytes!("../../tests/fixtures/doc/card.json").to_vec();
        let hosts = BTreeSet::from(["weather.demo.svc.cluster.local".to_owned()]);
        let terms = Terms {
            bundle: &parse_bundle(&expected.trust_domain, bundle).unwrap(),
            policy: &Policy::new(expected.trust_domain.clone()),
            rules: None,
            expected: &expected,
            cluster_hosts: &hosts,
            ingress_hosts: &BTreeSet::new(),
            history: None,
            now: Timestamp::from_unix(1_795_219_200),
        };
        let verification = evaluate(&Received { bytes, source: Source::File }, terms);
        assert_eq!(verification.result.reason(), None);
        CardOutcome::new(CardRef::new(CARD, Some(uid)).unwrap(), &verification.verdict)
    }

    fn refused(uid: &str, reason: Reason) -> CardOutcome {
        let verdict = Verdict::refused(Refusal::new(reason, "as found"));
        CardOutcome::new(CardRef::new(CARD, Some(uid)).unwrap(), &verdict)
    }

    fn card(uid: &str, is_automatic: bool, evaluated: Option<CardOutcome>) -> ObservedCard {
        let manager = if is_automatic { "kagenti-operator" } else { "somebody" };
        let object = json!({
            "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": CARD, "namespace": "demo", "uid": uid, "resourceVersion": "1",
                "creationTimestamp": "2026-11-20T00:00:00Z",
                "labels": { "app.kubernetes.io/managed-by": manager } },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } },
        });
        ObservedCard {
            object: ObjectRef::new("demo", CARD),
            card: IndexedCard::of(serde_json::from_value(object).unwrap()).unwrap(),
            evaluated: evaluated.map(|outcome| (Some(reference()), outcome)),
            stored: StoredProof::None,
        }
    }

    #[test]
    fn a_workload_without_a_protocol_is_told_of_until_an_agent_card_tells_it() {
        let (reference, identity) = (reference(), rules(SignerScope::Workload));
        let whole = workload(true, 1);
        let mut lacking = whole.clone();
        lacking.protocol = None;
        let leaving = Workload { is_leaving: true, ..lacking.clone() };
        for (workload, has_card, expected) in [
            (&whole, false, None),
            (&whole, true, None),
            (&lacking, false, Some("ProtocolMissing")),
            (&lacking, true, None),
            (&leaving, false, None),
        ] {
            for mode in [Mode::Enforce, Mode::Audit] {
                let mut observed = verified_workload(&reference, workload, &identity);
                observed.mode = mode;
                if !has_card {
                    observed.cards.clear();
                }
                let plan = plan_workload(&observed);
                let told = plan.notice.as_ref().map(Transition::reason);
                assert_eq!(told, expected, "{has_card} {mode:?}");
                if let Some(notice) = plan.notice {
                    assert!(
                        notice.is_warning()
                            && notice.note().contains(". Add the label protocol.kagenti.io/a2a"),
                        "{notice:?}"
                    );
                    assert_eq!(plan.create, None);
                }
            }
        }
    }

    #[test]
    fn a_workload_that_cannot_be_planned_for_is_told_what_to_do() {
        let (reference, identity) = (reference(), rules(SignerScope::Workload));
        let mut nobody = workload(true, 1);
        nobody.selector = Kept::default();
        let plan = plan_workload(&verified_workload(&reference, &nobody, &identity));
        let notice = plan.notice.expect("a notice");
        assert_eq!((notice.reason(), notice.is_warning()), ("WorkloadError", true));
        assert!(notice.note().ends_with(". Select the workload by at least one label."), "{notice:?}");
        let Enforcement::Invalid(told) = plan.enforcement else { panic!("{:?}", plan.enforcement) };
        assert_eq!(told, notice.note());
    }

    fn pod(name: &str, account: &str, mark: Option<&str>) -> (ObjectRef, Pod) {
        let mut labels = BTreeMap::from([("app".to_owned(), "weather".to_owned())]);
        labels.extend(mark.map(|mark| (PEER_MARK_LABEL.to_owned(), mark.to_owned())));
        let pod = Pod {
            uid: format!("uid-{name}"),
            labels: Kept::of(&labels).unwrap(),
            mark: mark.map(str::to_owned),
            has_too_many_labels: false,
            controller: Some(Controller { kind: ControllerKind::ReplicaSet, uid: "set".to_owned() }),
            service_account: account.to_owned(),
            addresses: Vec::new(),
            host_network: false,
            can_serve: true,
        };
        (ObjectRef::new("demo", name), pod)
    }

    /// Change that a test makes to a verified workload in an isolated namespace.
    type Change = fn(&mut Observed<'_>);

    /// Verified workload in an isolated namespace.
    fn verified_workload<'o>(
        reference: &'o WorkloadRef,
        workload: &'o Workload,
        identity: &'o IdentityRules,
    ) -> Observed<'o> {
        Observed {
            reference,
            workload,
            cards: vec![card("uid-1", false, Some(verified("uid-1")))],
            may_make_card: true,
            is_complete: true,
            undecided_for: Duration::ZERO,
            pods: vec![pod("a", "weather", None), pod("b", "other", None)],
            has_unlabelled_pods: false,
            policies: BTreeMap::new(),
            isolated_families: vec![Family::Kagenti],
            cluster: Some(Ok(cluster())),
            mode: Mode::Enforce,
            identity,
        }
    }

    /// Plan summary: reason codes of applied policies, Pods marked, missing input, cards created and deleted.
    fn planned(change: Change) -> (Vec<String>, usize, Missing, (bool, usize)) {
        let (reference, workload, rules) = (reference(), workload(true, 1), rules(SignerScope::Workload));
        let mut observed = verified_workload(&reference, &workload, &rules);
        change(&mut observed);
        let plan = plan_workload(&observed);
        let code = |policy: &NetworkPolicy| {
            let annotations = policy.metadata.annotations.as_ref().unwrap();
            annotations[REASON_ANNOTATION].clone()
        };
        (
            plan.close.iter().chain(&plan.open).map(code).collect(),
            plan.mark.len(),
            plan.missing,
            (plan.create.is_some(), plan.delete.len()),
        )
    }

    /// Name of the case, change, and expected result of [`planned`].
    type Case = (&'static str, Change, &'static [&'static str], usize, Missing, (bool, usize));

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn isolation_stands_whatever_is_missing_and_only_a_verdict_over_this_card_opens() {
        let nothing = Missing::Nothing;
        let cases: Vec<Case> = vec![
            ("verified", |_| {}, &["Verified"], 1, nothing.clone(), (false, 0)),
            (
                "refused",
                |observed| {
                    let outcome = refused("uid-1", Reason::SignatureInvalid);
                    observed.cards = vec![card("uid-1", false, Some(outcome))];
                },
                &["SignatureInvalid"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "not evaluated yet: nothing opens, nothing more closes",
                |observed| observed.cards = vec![card("uid-1", false, None)],
                &[],
                0,
                Missing::Evaluation,
                (false, 0),
            ),
            (
                "one of two not evaluated yet",
                |observed| observed.cards.push(card("uid-2", false, None)),
                &[],
                0,
                Missing::Evaluation,
                (false, 0),
            ),
            (
                "lists not read yet",
                |observed| observed.is_complete = false,
                &[],
                0,
                Missing::Evaluation,
                (false, 0),
            ),
            (
                "verified before it was deleted and made again",
                |observed| observed.cards = vec![card("uid-2", false, Some(verified("uid-1")))],
                &[],
                0,
                Missing::Evaluation,
                (false, 0),
            ),
            (
                "refused before it was deleted and made again",
                |observed| {
                    let outcome = refused("uid-1", Reason::CertificateExpired);
                    observed.cards = vec![card("uid-2", false, Some(outcome))];
                },
                &["CertificateExpired"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "a verdict about another workload",
                |observed| observed.cards[0].evaluated.as_mut().unwrap().0 = None,
                &[],
                0,
                Missing::Evaluation,
                (false, 0),
            ),
            (
                "one of two refused",
                |observed| {
                    let outcome = refused("uid-2", Reason::CardUnsigned);
                    observed.cards.push(card("uid-2", false, Some(outcome)));
                },
                &["CardUnsigned"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "one of two refused, and the other not evaluated yet: more cards hold up no refusal",
                |observed| {
                    let outcome = refused("uid-1", Reason::SignatureInvalid);
                    observed.cards = vec![card("uid-1", false, Some(outcome)), card("uid-2", false, None)];
                },
                &["SignatureInvalid"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "not evaluated since a restart, and the proof in status has ended",
                |observed| {
                    observed.cards =
                        vec![ObservedCard { stored: StoredProof::Ended, ..card("uid-1", false, None) }];
                },
                &["CertificateExpired"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "not evaluated for too long",
                |observed| {
                    observed.cards = vec![card("uid-1", false, None)];
                    observed.undecided_for = LONGEST_UNDECIDED;
                },
                &["FetchFailed"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "not evaluated for long since a restart, and verified before it",
                |observed| {
                    observed.cards =
                        vec![ObservedCard { stored: StoredProof::Holds, ..card("uid-1", false, None) }];
                    observed.undecided_for = LONGEST_UNDECIDED;
                },
                &[],
                0,
                Missing::Evaluation,
                (false, 0),
            ),
            (
                "deleted and made again for too long",
                |observed| {
                    observed.cards.clear();
                    observed.undecided_for = LONGEST_UNDECIDED;
                },
                &["NoCard"],
                0,
                nothing.clone(),
                (true, 0),
            ),
            (
                "a deletion that a finalizer holds back",
                |observed| {
                    let workload = Workload { is_leaving: true, ..observed.workload.clone() };
                    observed.workload = Box::leak(Box::new(workload));
                },
                &["WorkloadNotFound"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "refused before the namespace is isolated",
                |observed| {
                    let outcome = refused("uid-1", Reason::SignatureInvalid);
                    observed.cards = vec![card("uid-1", false, Some(outcome))];
                    observed.isolated_families = Vec::new();
                },
                &["SignatureInvalid"],
                0,
                Missing::NamespaceIsolation,
                (false, 0),
            ),
            (
                "no card, and one may be made: it has no verdict yet",
                |observed| observed.cards.clear(),
                &[],
                0,
                Missing::Evaluation,
                (true, 0),
            ),
            (
                "no card, and none can be made",
                |observed| {
                    observed.cards.clear();
                    observed.may_make_card = false;
                },
                &["NoCard"],
                0,
                nothing.clone(),
                (false, 0),
            ),
            (
                "somebody's card and ours",
                |observed| observed.cards.push(card("uid-2", true, Some(verified("uid-2")))),
                &["Verified"],
                1,
                nothing.clone(),
                (false, 1),
            ),
            (
                "the namespace is not isolated yet",
                |observed| observed.isolated_families = Vec::new(),
                &[],
                0,
                Missing::NamespaceIsolation,
                (false, 0),
            ),
            (
                "where the API server answers is not known",
                |observed| observed.cluster = None,
                &[],
                0,
                Missing::Input,
                (false, 0),
            ),
            (
                "the cluster cannot be planned with",
                |observed| observed.cluster = Some(Err(InputError::Empty("DNS"))),
                &[],
                0,
                Missing::ValidCluster(InputError::Empty("DNS")),
                (false, 0),
            ),
            (
                "audit cuts nothing off, and the mark follows the verdict",
                |observed| {
                    observed.mode = Mode::Audit;
                    observed.isolated_families = Vec::new();
                },
                &[],
                1,
                nothing,
                (false, 0),
            ),
        ];
        for (case, change, codes, marked, missing, cards) in cases {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            assert_eq!(planned(change), (codes, marked, missing, cards), "{case}");
        }
    }

    #[test]
    fn pods_without_the_label_get_isolation_of_their_own_until_the_last_of_them_is_gone() {
        let (reference, rules) = (reference(), rules(SignerScope::Workload));
        for (labels_its_pods, generation, has_unlabelled_pods, codes, missing) in [
            (true, 1, true, 1, Missing::Nothing),
            (true, 2, false, 1, Missing::Nothing),
            (true, 2, true, 3, Missing::Input),
            (false, 2, true, 3, Missing::Nothing),
        ] {
            let workload = workload(labels_its_pods, generation);
            let observed = Observed {
                reference: &reference,
                workload: &workload,
                cards: vec![card("uid-1", false, Some(verified("uid-1")))],
                may_make_card: true,
                is_complete: true,
                undecided_for: Duration::ZERO,
                pods: Vec::new(),
                has_unlabelled_pods,
                policies: BTreeMap::new(),
                isolated_families: vec![Family::Kagenti],
                cluster: Some(Ok(cluster())),
                mode: Mode::Enforce,
                identity: &rules,
            };
            let plan = plan_workload(&observed);
            let writes: Vec<&NetworkPolicy> = plan.close.iter().chain(&plan.open).collect();
            assert_eq!((writes.len(), plan.missing), (codes, missing), "{generation}");
            // Policies stored as planned are not written again; stored policies without a plan are removed.
            let stored =
                |policy: &NetworkPolicy| (ObjectRef::from(&policy.metadata), StoredPolicy::of(policy));
            let mut policies: BTreeMap<_, _> = writes.iter().copied().map(stored).collect();
            let stale = ObjectRef::new("demo", "stale");
            policies.insert(stale.clone(), StoredPolicy::of(writes[0]));
            let again = plan_workload(&Observed { policies, ..observed });
            assert_eq!((again.close.len(), again.open, again.remove), (0, None, vec![stale]));
        }
    }

    #[test]
    fn a_mark_goes_with_the_verdict_and_one_that_is_right_is_not_written_again() {
        let (reference, workload, rules) = (reference(), workload(true, 1), rules(SignerScope::Workload));
        let observed = |outcome: CardOutcome, pods| Observed {
            reference: &reference,
            workload: &workload,
            cards: vec![card("uid-1", false, Some(outcome))],
            may_make_card: true,
            is_complete: true,
            undecided_for: Duration::ZERO,
            pods,
            has_unlabelled_pods: false,
            policies: BTreeMap::new(),
            isolated_families: vec![Family::Kagenti],
            cluster: Some(Ok(cluster())),
            mode: Mode::Enforce,
            identity: &rules,
        };
        let marks = plan_workload(&observed(verified("uid-1"), vec![pod("a", "weather", None)])).mark;
        let mark = marks[0].value.as_deref().unwrap();
        let pods = || vec![pod("a", "weather", Some(mark)), pod("b", "other", Some(mark))];
        let changes = |outcome| -> Vec<(String, Option<String>)> {
            let plan = plan_workload(&observed(outcome, pods()));
            plan.unmark
                .into_iter()
                .chain(plan.mark)
                .map(|mark| (mark.pod.name.to_string(), mark.value))
                .collect()
        };
        assert_eq!(changes(verified("uid-1")), [("b".to_owned(), None)]);
        let both = [("a".to_owned(), None), ("b".to_owned(), None)];
        assert_eq!(changes(refused("uid-1", Reason::AnchorUnknown)), both);
    }

    #[test]
    fn a_refusal_takes_the_marks_whatever_else_is_missing() {
        let (reference, workload, rules) = (reference(), workload(true, 1), rules(SignerScope::Workload));
        let invalid =
            WorkloadRef { object: ObjectRef::new("not a namespace", "weather"), ..reference.clone() };
        let missing: [(&str, Change); 4] = [
            ("the API server's address", |observed| observed.cluster = None),
            ("DNS", |observed| observed.cluster = Some(Err(InputError::Empty("DNS")))),
            ("isolation", |observed| observed.isolated_families = Vec::new()),
            ("lists", |observed| observed.is_complete = false),
        ];
        let unmarked = |reference: &WorkloadRef, outcome, change: Change| {
            let mut observed = Observed {
                reference,
                workload: &workload,
                cards: vec![card("uid-1", false, Some(outcome))],
                may_make_card: true,
                is_complete: true,
                undecided_for: Duration::ZERO,
                pods: vec![pod("a", "weather", Some("mark")), pod("b", "weather", None)],
                has_unlabelled_pods: false,
                policies: BTreeMap::new(),
                isolated_families: vec![Family::Kagenti],
                cluster: Some(Ok(cluster())),
                mode: Mode::Enforce,
                identity: &rules,
            };
            change(&mut observed);
            let unmark = plan_workload(&observed).unmark;
            unmark.into_iter().map(|mark| (mark.pod.name.to_string(), mark.value)).collect::<Vec<_>>()
        };
        for (what, change) in missing {
            let outcome = refused("uid-1", Reason::SignatureInvalid);
            assert_eq!(unmarked(&reference, outcome, change), [("a".to_owned(), None)], "{what}");
            assert_eq!(unmarked(&reference, verified("uid-1"), change), [], "{what}: our own failure");
        }
        let wrong = unmarked(&invalid, verified("uid-1"), |_| {});
        assert_eq!(wrong, [("a".to_owned(), None)], "a workload that no policy can name is no peer");
    }

    #[test]
    fn who_must_have_signed_comes_from_the_workload_and_never_from_the_verdict() {
        let (reference, mut workload) = (reference(), workload(true, 1));
        // The card is verified for service account `weather`, but the workload runs as another by now.
        workload.service_account = "other".to_owned();
        for (scope, code) in
            [(SignerScope::Workload, "IdentityMismatch"), (SignerScope::TrustDomain, "Verified")]
        {
            let rules = rules(scope);
            let observed = Observed {
                reference: &reference,
                workload: &workload,
                cards: vec![card("uid-1", false, Some(verified("uid-1")))],
                may_make_card: true,
                is_complete: true,
                undecided_for: Duration::ZERO,
                pods: Vec::new(),
                has_unlabelled_pods: false,
                policies: BTreeMap::new(),
                isolated_families: vec![Family::Kagenti],
                cluster: Some(Ok(cluster())),
                mode: Mode::Enforce,
                identity: &rules,
            };
            let plan = plan_workload(&observed);
            let policy = plan.close.last().or(plan.open.as_ref()).unwrap();
            let annotations = policy.metadata.annotations.as_ref().unwrap();
            assert_eq!(annotations[REASON_ANNOTATION], code);
        }
    }

    /// Name of the case, mode, workload unless it is the usual one, changes, and expected enforcement.
    type EnforcementCase<'w> = (&'static str, Mode, Option<&'w Workload>, Vec<Change>, Enforcement);

    #[test]
    fn enforcement_says_whether_something_holds_the_workload_to_the_verdict() {
        let waiting = |awaited: &str| Enforcement::Waiting(awaited.to_owned());
        let refuse: Change = |observed| {
            observed.cards = vec![card("uid-1", false, Some(refused("uid-1", Reason::CardUnsigned)))];
        };
        let unlabelled = workload(false, 1);
        let on_host = Workload { host_network: true, ..workload(true, 1) };
        let cases: Vec<EnforcementCase<'_>> = vec![
            ("verified", Mode::Enforce, None, vec![], Enforcement::Open),
            ("refused", Mode::Enforce, None, vec![refuse], Enforcement::Closed),
            ("audited", Mode::Audit, None, vec![], Enforcement::Audit),
            ("refused and audited", Mode::Audit, None, vec![refuse], Enforcement::Audit),
            ("on the host's network", Mode::Enforce, Some(&on_host), vec![], Enforcement::HostNetwork),
            ("refused there", Mode::Enforce, Some(&on_host), vec![refuse], Enforcement::HostNetwork),
            (
                "a template without the label",
                Mode::Enforce,
                Some(&unlabelled),
                vec![|observed| observed.pods.clear()],
                Enforcement::Unlabelled(Family::Kagenti),
            ),
            // Policies of its own hold it, by the selector of the workload.
            (
                "refused without the label",
                Mode::Enforce,
                Some(&unlabelled),
                vec![refuse, |observed| observed.pods.clear()],
                Enforcement::Closed,
            ),
            (
                "Pods of another service account",
                Mode::Enforce,
                None,
                vec![|observed| observed.pods = vec![pod("b", "other", None)]],
                Enforcement::Unmarked,
            ),
            (
                "not evaluated",
                Mode::Enforce,
                None,
                vec![|observed| observed.cards = vec![card("uid-1", false, None)]],
                Enforcement::Undecided,
            ),
            (
                "a namespace without isolation",
                Mode::Enforce,
                None,
                vec![|observed| observed.isolated_families.clear()],
                waiting(NAMESPACE_ISOLATION),
            ),
            (
                "no API server's address",
                Mode::Enforce,
                None,
                vec![|observed| observed.cluster = None],
                waiting("the address of the API server"),
            ),
        ];
        for (name, mode, of, changes, expected) in cases {
            let (reference, labelled, rules) = (reference(), workload(true, 1), rules(SignerScope::Workload));
            let mut observed = Observed {
                workload: of.unwrap_or(&labelled),
                mode,
                ..verified_workload(&reference, &labelled, &rules)
            };
            for change in changes {
                change(&mut observed);
            }
            assert_eq!(plan_workload(&observed).enforcement, expected, "{name}");
        }
    }

    #[test]
    fn the_policy_of_the_verdict_opens_the_ports_of_a_workload_with_a_sidecar_whatever_the_verdict() {
        let (reference, rules) = (reference(), rules(SignerScope::Workload));
        let open_ports = Some(OpenPorts::new([Port::parse(9000, None)], []));
        let beside = Workload { open_ports, ..workload(true, 1) };
        for (refusal, code) in [(None, "Verified"), (Some(Reason::CardUnsigned), "CardUnsigned")] {
            let mut observed = verified_workload(&reference, &beside, &rules);
            if let Some(reason) = refusal {
                observed.cards = vec![card("uid-1", false, Some(refused("uid-1", reason)))];
            }
            let plan = plan_workload(&observed);
            let policy = plan.open.as_ref().or(plan.close.last()).unwrap();
            assert_eq!(policy.metadata.annotations.as_ref().unwrap()[REASON_ANNOTATION], code);
            let ingress = serde_json::to_value(policy).unwrap()["spec"]["ingress"].clone();
            assert_eq!(ingress.as_array().unwrap().len(), 1);
            assert_eq!(ingress[0]["ports"], json!([{ "protocol": "TCP", "port": 9000 }]), "{code}");
        }
    }

    #[test]
    fn a_workload_that_gets_too_many_labels_after_it_was_verified_is_closed() {
        let (reference, identity) = (reference(), rules(SignerScope::Workload));
        let good = workload(true, 1);
        let observed = verified_workload(&reference, &good, &identity);
        let plan = plan_workload(&observed);
        let open = plan.open.clone().expect("the verified policy");
        let stored: BTreeMap<ObjectRef, StoredPolicy> = plan
            .close
            .iter()
            .chain([&open])
            .map(|policy| (ObjectRef::from(&policy.metadata), StoredPolicy::of(policy)))
            .collect();
        // The selector says which Pods to close; without it, the policy that opened marked Pods goes.
        let found = || Refusal::new(Reason::LabelsTooMany, "the workload has 129 labels, and 128 are read");
        let [many, cut] =
            [good.clone().with_too_many_labels(found()), good.clone().without_selector(found())];
        for (many, reason) in
            [(&many, Reason::LabelsTooMany), (&many, Reason::AnchorUnknown), (&cut, Reason::LabelsTooMany)]
        {
            let mut observed = verified_workload(&reference, many, &identity);
            observed.cards = vec![card("uid-1", false, Some(refused("uid-1", reason)))];
            observed.policies = stored.clone();
            let plan = plan_workload(&observed);
            let name = ObjectRef::from(&open.metadata);
            let closes = plan.close.iter().any(|policy| ObjectRef::from(&policy.metadata) == name)
                || plan.remove.contains(&name);
            assert!(closes, "{reason:?}: the policy that lets it speak stays as it is: {plan:#?}");
            assert!(plan.open.is_none() && plan.mark.is_empty(), "{plan:#?}");
        }
    }
}

//! One turn of a workload: its AgentCard, its policies and the marks of its Pods, from one observation.
//! Isolation comes first, then what closes, then what opens.

use crate::agent_card::{Card, plan_default_card};
use crate::input::identity::{Binding, Expected, IdentityRules};
use crate::input::pod::{Pod, selects};
use crate::input::workload::{Workload, WorkloadRef};
use crate::{
    CardOutcome, ClusterAccess, EnrolledWorkload, InputError, Isolation, Mode, Namespace, PodInput,
    StoredPolicy, plan_network_policies, plan_peer_mark,
};
use countersign_api::ObjectRef;
use countersign_api::agent_card::AgentCard;
use countersign_core::spiffe::SpiffeId;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::collections::{BTreeMap, BTreeSet};

/// An identity that nobody can have: `invalid` is reserved (RFC 6761), so no trust domain has the name.
const NOBODY: &str = "spiffe://invalid/nobody";

/// An AgentCard that points at the workload, and what it was evaluated to.
#[derive(Clone, Debug)]
pub struct ObservedCard {
    /// Namespace and name of the AgentCard.
    pub object: ObjectRef,
    /// The AgentCard.
    pub card: Card,
    /// Its last outcome, with the workload that it was about; `None` before the first look.
    pub evaluated: Option<(Option<WorkloadRef>, CardOutcome)>,
}

/// Everything that one turn of a workload stands on.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is observed on its own")]
pub struct Observed<'a> {
    /// Which workload it is.
    pub reference: &'a WorkloadRef,
    /// The workload.
    pub workload: &'a Workload,
    /// The AgentCards that point at it and are not being deleted.
    pub cards: Vec<ObservedCard>,
    /// True once all AgentCards were listed: a card that is not known may exist until then.
    pub has_all_cards: bool,
    /// True once everything was listed that a verdict stands on.
    pub is_complete: bool,
    /// The Pods that it controls.
    pub pods: Vec<(ObjectRef, Pod)>,
    /// True if a Pod that its selector selects lacks the label by which a namespace isolates agents.
    pub has_unlabelled_pods: bool,
    /// The policies that carry its label.
    pub policies: BTreeMap<ObjectRef, StoredPolicy>,
    /// True if both objects stand that isolate the agents of the namespace.
    pub namespace_is_isolated: bool,
    /// What agents of the cluster may reach; `None` while the API server's address is not known.
    pub cluster: Option<Result<ClusterAccess, InputError>>,
    /// Whether a refusal stops traffic in the namespace.
    pub mode: Mode,
    /// Which identity a workload has.
    pub identity: &'a IdentityRules,
}

/// A mark to put on a running Pod, or to take from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Namespace and name of the Pod.
    pub pod: ObjectRef,
    /// UID of the Pod: a later one of the same name earns nothing.
    pub uid: String,
    /// The value; `None` takes the mark away.
    pub value: Option<String>,
}

/// What is missing for a plan that needs no further turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: the next change brings the next turn.
    Nothing,
    /// The isolation of the namespace, which has to come first.
    NamespaceIsolation,
    /// Where the API server answers, or Pods of an earlier template that still run.
    Facts,
    /// A workload or a cluster that can be planned for; what is wrong.
    Usable(InputError),
    /// The same of the cluster's configuration.
    UsableCluster(InputError),
}

/// The objects that a workload calls for, in the order in which to apply them.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadPlan {
    /// The AgentCard to make.
    pub create: Option<AgentCard>,
    /// AgentCards of ours to delete, with their UIDs: somebody wrote one.
    pub delete: Vec<(ObjectRef, String)>,
    /// Policies to write, what isolates first; those that stand as planned are left out.
    pub apply: Vec<NetworkPolicy>,
    /// Policies to delete after that.
    pub remove: Vec<ObjectRef>,
    /// Marks to change after that.
    pub marks: Vec<Mark>,
    /// What is missing.
    pub missing: Missing,
}

/// Plans one turn of a workload. It never plans less isolation because something is missing.
pub fn plan_workload(observed: &Observed<'_>) -> WorkloadPlan {
    let (create, delete) = plan_cards(observed);
    let plan = WorkloadPlan {
        create,
        delete,
        apply: Vec::new(),
        remove: Vec::new(),
        marks: Vec::new(),
        missing: Missing::Nothing,
    };
    let cluster = match &observed.cluster {
        None => return WorkloadPlan { missing: Missing::Facts, ..plan },
        Some(Err(error)) => return WorkloadPlan { missing: Missing::UsableCluster(error.clone()), ..plan },
        Some(Ok(cluster)) => cluster,
    };
    let enrolled = match enrol(observed) {
        Ok(enrolled) => enrolled,
        Err(error) => return WorkloadPlan { missing: Missing::Usable(error), ..plan },
    };
    // A card that is made now has no verdict yet, which is not the same as having no card.
    let outcomes = if plan.create.is_some() { None } else { outcomes(observed) };
    let Some(outcomes) = outcomes else {
        // Nothing is known yet: what stands, stands, and new Pods have what their namespace gives them.
        let mut isolating = plan_network_policies(&[], &enrolled, cluster, observed.mode);
        // The last one follows the verdict, which is not known.
        isolating.pop();
        return WorkloadPlan { apply: changed(observed, isolating), ..plan };
    };
    if observed.mode == Mode::Enforce
        && enrolled.isolation() == Isolation::Namespace
        && !observed.namespace_is_isolated
    {
        return WorkloadPlan { missing: Missing::NamespaceIsolation, ..plan };
    }
    let planned = plan_network_policies(&outcomes, &enrolled, cluster, observed.mode);
    let kept: BTreeSet<ObjectRef> = planned.iter().map(|policy| (&policy.metadata).into()).collect();
    WorkloadPlan {
        apply: changed(observed, planned),
        remove: observed.policies.keys().filter(|stored| !kept.contains(stored)).cloned().collect(),
        marks: plan_marks(observed, &outcomes, &enrolled),
        missing: if is_settled(observed) { Missing::Nothing } else { Missing::Facts },
        ..plan
    }
}

/// Sees to it that exactly one sort of card points at the workload: somebody's, or else ours.
fn plan_cards(observed: &Observed<'_>) -> (Option<AgentCard>, Vec<(ObjectRef, String)>) {
    let Observed { reference, workload, cards, .. } = observed;
    if workload.protocol.is_none() {
        return (None, Vec::new());
    }
    if cards.is_empty() {
        let has_trust_domain = observed.identity.trust_domain.is_some();
        let made = || plan_default_card(reference, workload, has_trust_domain);
        // A list that is not complete yet would make a card that somebody wrote already.
        return (observed.has_all_cards.then(made), Vec::new());
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = cards.iter().partition(|one| one.card.is_automatic);
    if theirs.is_empty() {
        return (None, Vec::new());
    }
    (None, ours.into_iter().map(|one| (one.object.clone(), one.card.uid.clone())).collect())
}

fn enrol(observed: &Observed<'_>) -> Result<EnrolledWorkload, InputError> {
    let Observed { reference, workload, .. } = observed;
    let ObjectRef { namespace, name } = &reference.object;
    let expected = expected(observed).ok_or(InputError::Empty("the identity of the workload"))?;
    let selector = workload.selector.clone();
    EnrolledWorkload::new(Namespace::parse(namespace)?, reference.kind.as_str(), name, expected, selector)?
        .with_host_network(workload.host_network)
        .with_isolation(isolation(observed))
        .with_uid(&workload.uid)
}

/// Who must have signed, by the configuration, the workload and what its first card asks for. Without a trust domain no
/// verdict can be verified.
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

/// The outcomes of all cards; `None` if one was not looked at yet.
fn outcomes(observed: &Observed<'_>) -> Option<Vec<CardOutcome>> {
    if !observed.is_complete {
        return None;
    }
    let of = |one: &ObservedCard| match &one.evaluated {
        Some((about, outcome)) if about.as_ref() == Some(observed.reference) => {
            // A verdict over a card that was deleted and made again opens nothing for this one. What it closed stays
            // closed: making a card again would otherwise undo the end of a proof.
            let is_this = outcome.reference() == &one.card.reference;
            (is_this || !outcome.is_verified()).then(|| outcome.clone())
        }
        _ => None,
    };
    observed.cards.iter().map(of).collect()
}

/// Which objects isolate the Pods: those of the namespace only if every Pod carries the label by which they select.
fn isolation(observed: &Observed<'_>) -> Isolation {
    let workload = observed.workload;
    if workload.always_labelled_its_pods() || (workload.labels_its_pods() && !observed.has_unlabelled_pods) {
        Isolation::Namespace
    } else {
        Isolation::Own
    }
}

/// False while Pods of an earlier template run, whose end no watch tells of.
fn is_settled(observed: &Observed<'_>) -> bool {
    let workload = observed.workload;
    workload.always_labelled_its_pods() || !workload.labels_its_pods() || !observed.has_unlabelled_pods
}

fn changed(observed: &Observed<'_>, mut planned: Vec<NetworkPolicy>) -> Vec<NetworkPolicy> {
    planned.retain(|policy| {
        let stored = observed.policies.get(&ObjectRef::from(&policy.metadata));
        stored.is_none_or(|stored| stored.digest != StoredPolicy::of(policy).digest)
    });
    planned
}

fn plan_marks(observed: &Observed<'_>, outcomes: &[CardOutcome], enrolled: &EnrolledWorkload) -> Vec<Mark> {
    let workload = observed.workload;
    let mark = |(object, pod): &(ObjectRef, Pod)| {
        let input = PodInput {
            controlled_by_workload: true,
            runs_as_workload: pod.service_account == workload.service_account,
            matches_selector: selects(&workload.selector, &pod.labels),
            host_network: pod.host_network,
        };
        let value = plan_peer_mark(outcomes, enrolled, input);
        (pod.mark() != value.as_deref()).then(|| Mark { pod: object.clone(), uid: pod.uid.clone(), value })
    };
    observed.pods.iter().filter_map(mark).collect()
}

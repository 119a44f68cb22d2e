//! Plan of a namespace: the two NetworkPolicies that isolate all its agents of one family, from one observation.
//! The policies stay while a workload or Pod of an agent exists or the namespace is enrolled as a whole.

use crate::{ClusterAccess, Mode, Namespace, StoredPolicy, network_policy};
use countersign_api::ObjectRef;
use countersign_api::keys::Family;
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Observation of a namespace, the input of one plan.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// Name of the observed namespace.
    pub namespace: &'a Namespace,
    /// Family of names whose agents are isolated; each has two policies of its own.
    pub family: Family,
    /// True if a workload or Pod of an agent of this family exists in the namespace.
    pub has_agents: bool,
    /// True if the label of the namespace enrols it as a whole, so that isolation precedes the first agent.
    pub is_enrolled: bool,
    /// Enforcement mode of the namespace.
    pub mode: Mode,
    /// Network access of the cluster; `None` while unknown or invalid.
    pub cluster: Option<&'a ClusterAccess>,
    /// Stored baseline, the policy that denies everything.
    pub baseline: Option<StoredPolicy>,
    /// Stored minimum, the policy that allows what an agent needs for its card to be evaluated.
    pub minimum: Option<StoredPolicy>,
}

/// Planned writes for a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespacePlan {
    /// Policies to apply, in order; policies already stored as planned are left out.
    pub apply: Vec<NetworkPolicy>,
    /// Policies to delete, in order: the baseline goes last, so that removal never opens more than the minimum.
    pub remove: Vec<ObjectRef>,
    /// False while the plan lacks the minimum, because the network access of the cluster is unknown.
    pub is_whole: bool,
}

/// Plans the isolation of a namespace. While the network access of the cluster is unknown, the baseline alone is
/// planned: agents are closed although no card can be fetched.
pub fn plan_namespace(observed: &Observed<'_>) -> NamespacePlan {
    let Observed { namespace, family, has_agents, is_enrolled, mode, cluster, baseline, minimum } = observed;
    if *mode == Mode::Audit || !(*has_agents || *is_enrolled) {
        let stand = [(family.minimum(), minimum), (family.baseline(), baseline)];
        let gone = stand.into_iter().filter(|(_, stored)| stored.is_some());
        let remove = gone.map(|(name, _)| ObjectRef::new(namespace.as_str(), name)).collect();
        return NamespacePlan { remove, is_whole: true, ..NamespacePlan::default() };
    }
    let mut apply = match cluster {
        Some(cluster) => Vec::from(network_policy::plan_namespace(namespace, *family, cluster)),
        None => vec![network_policy::plan_namespace_baseline(namespace, *family)],
    };
    apply.retain(|policy| {
        let is_baseline = policy.metadata.name.as_deref() == Some(family.baseline());
        let stored = if is_baseline { baseline } else { minimum };
        stored.as_ref().is_none_or(|stored| stored.digest != StoredPolicy::of(policy).digest)
    });
    NamespacePlan { apply, is_whole: cluster.is_some(), ..NamespacePlan::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::cluster::cluster;

    #[test]
    fn isolation_stands_while_there_are_agents_and_is_written_only_where_it_differs() {
        for family in Family::ALL {
            isolation_of(family);
        }
    }

    fn isolation_of(family: Family) {
        let (namespace, cluster) = (Namespace::parse("team").unwrap(), cluster());
        let empty = Observed {
            namespace: &namespace,
            family,
            has_agents: true,
            is_enrolled: false,
            mode: Mode::Enforce,
            cluster: Some(&cluster),
            baseline: None,
            minimum: None,
        };
        let [baseline, minimum] = network_policy::plan_namespace(&namespace, family, &cluster);
        let stands = |policy: &NetworkPolicy| Some(StoredPolicy::of(policy));
        let both = Observed { baseline: stands(&baseline), minimum: stands(&minimum), ..empty.clone() };
        let swapped = Observed { baseline: stands(&minimum), minimum: stands(&baseline), ..empty.clone() };
        let names = |plan: &NamespacePlan| -> Vec<String> {
            plan.apply.iter().filter_map(|policy| policy.metadata.name.clone()).collect()
        };
        let (first, second) = (family.baseline(), family.minimum());
        for (case, observed, written, removed, is_whole) in [
            ("new", empty.clone(), vec![first, second], vec![], true),
            ("as planned", both.clone(), vec![], vec![], true),
            ("changed by another hand", swapped, vec![first, second], vec![], true),
            ("one lost", Observed { baseline: None, ..both.clone() }, vec![first], vec![], true),
            ("cluster not known", Observed { cluster: None, ..empty.clone() }, vec![first], vec![], false),
            ("no agent", Observed { has_agents: false, ..both.clone() }, vec![], vec![second, first], true),
            (
                "no agent yet, and enrolled",
                Observed { has_agents: false, is_enrolled: true, ..empty.clone() },
                vec![first, second],
                vec![],
                true,
            ),
            (
                "enrolled and audited",
                Observed { is_enrolled: true, mode: Mode::Audit, ..both.clone() },
                vec![],
                vec![second, first],
                true,
            ),
            ("audit", Observed { mode: Mode::Audit, ..both.clone() }, vec![], vec![second, first], true),
            (
                "audit, one left",
                Observed { mode: Mode::Audit, minimum: None, ..both },
                vec![],
                vec![first],
                true,
            ),
        ] {
            let plan = plan_namespace(&observed);
            let removed: Vec<_> = removed.into_iter().map(|name| ObjectRef::new("team", name)).collect();
            assert_eq!(
                (names(&plan), &plan.remove, plan.is_whole),
                (written.iter().map(ToString::to_string).collect(), &removed, is_whole),
                "{case}"
            );
        }
    }
}

//! Verdict policy: access between verified agents, or the restrictive form.
//! One object holds either, so that a change of the verdict is one atomic write without a gap.
//! Either lets nobody to a port behind the sidecar.

use super::minimum::minimum_rules;
use super::peer_mark::marked_as;
use super::{Rules, policy, rules};
use crate::input::card_ref::CardRef;
use crate::input::cluster::{ClusterAccess, Egress};
use crate::input::enrolled::EnrolledWorkload;
use crate::input::names::{Role, label_value};
use crate::input::outcome::Decision;
use countersign_api::keys::{AGENT_CARD_API_VERSION, AGENT_CARD_KIND, AGENT_CARD_LABEL};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Verdict policy for a decision. `card` owns the policy, so that garbage collection removes access with the
/// AgentCard, while baseline and minimum stay.
pub(crate) fn plan_verdict(
    workload: &EnrolledWorkload,
    cluster: &ClusterAccess,
    decision: Decision,
    card: Option<&CardRef>,
) -> NetworkPolicy {
    let (pods, mut rules) = if decision.is_verified() {
        (marked_as(workload), verified_rules(cluster))
    } else {
        (workload.selector().clone(), minimum_rules(cluster))
    };
    if let Some(open) = workload.open_ports() {
        for rule in &mut rules.ingress {
            rule.ports = Some(rules::ports(open));
        }
    }
    let mut planned = policy(workload, Role::Verdict, pods, rules, decision.code());
    if let Some(card) = card {
        let labels = planned.metadata.labels.get_or_insert_default();
        labels.insert(AGENT_CARD_LABEL.to_owned(), label_value(card.name()));
        planned.metadata.owner_references = card.uid().map(|uid| vec![controller(card.name(), uid)]);
    }
    planned
}

/// Rules of a verified workload: the minimum, verified agents, and the configured callers and egress.
fn verified_rules(cluster: &ClusterAccess) -> Rules {
    let Rules { ingress: _, mut egress } = minimum_rules(cluster);
    let agents = rules::verified_agents(cluster.agent_namespaces());
    let mut callers = vec![rules::group(cluster.operator())];
    callers.extend(cluster.callers().iter().map(rules::group));
    callers.extend(agents.iter().cloned());
    match cluster.egress() {
        Egress::Anywhere => egress = vec![NetworkPolicyEgressRule::default()],
        Egress::Listed(destinations) => {
            egress.push(rules::egress(agents));
            egress.extend(destinations.iter().map(rules::to_destination));
        }
    }
    Rules { ingress: vec![rules::ingress(callers)], egress }
}

fn controller(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: AGENT_CARD_API_VERSION.to_owned(),
        kind: AGENT_CARD_KIND.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

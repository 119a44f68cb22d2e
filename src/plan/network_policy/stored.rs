//! Digests of the policy fields that the operator writes, which show drift and spare equal writes.
//! Empty and absent lists give one digest, because the API server drops empty lists.

use crate::input::names::is_policy_of;
use crate::input::workload::WorkloadKind;
use countersign_api::ObjectRef;
use countersign_api::keys::{
    AGENT_CARD_LABEL, MANAGED_BY_LABEL, PEER_MARK_LABEL, POLICY_ROLE_LABEL, POLICY_TYPE, POLICY_TYPE_LABEL,
    REASON_ANNOTATION, WORKLOAD_LABEL,
};
use countersign_core::encoding::{Digest, sha256};
use k8s_openapi::api::networking::v1::NetworkPolicy;

const OUR_LABELS: [&str; 5] =
    [MANAGED_BY_LABEL, POLICY_TYPE_LABEL, POLICY_ROLE_LABEL, WORKLOAD_LABEL, AGENT_CARD_LABEL];

/// Policy reduced to digest, workload and UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPolicy {
    /// SHA-256 of the fields that the operator writes.
    pub digest: Digest,
    /// Label value that names the protected workload; `None` for policies of a namespace.
    pub workload: Option<String>,
    /// UID of the stored policy; `None` for a planned one.
    pub uid: Option<String>,
    /// Peer mark of the Pods that the policy opens; it selects no others. `None` for a policy that opens nobody.
    pub opens: Option<String>,
    /// True for a policy that the existing operator left: it follows no verdict any more, and admits every Pod with a
    /// label that any author can write.
    pub is_leftover: bool,
}

impl StoredPolicy {
    /// Digest and references of a policy, planned or stored.
    pub fn of(object: &NetworkPolicy) -> Self {
        let metadata = &object.metadata;
        let labels = metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key));
        let ours: Vec<_> = OUR_LABELS.iter().map(|key| label(key)).collect();
        let reason = metadata.annotations.as_ref().and_then(|all| all.get(REASON_ANNOTATION));
        let owners: Vec<_> =
            metadata.owner_references.iter().flatten().map(|owner| (&owner.kind, &owner.uid)).collect();
        let spec = object.spec.clone().unwrap_or_default();
        let selected = spec.pod_selector.as_ref().and_then(|pods| pods.match_labels.as_ref());
        let opens = selected.and_then(|labels| labels.get(PEER_MARK_LABEL)).cloned();
        let (ingress, egress) = (spec.ingress.unwrap_or_default(), spec.egress.unwrap_or_default());
        let parts = (ours, reason, owners, spec.pod_selector, spec.policy_types, ingress, egress);
        Self {
            // Serialising these types cannot fail; if it did, the digest would match no planned policy.
            digest: sha256(&serde_json::to_vec(&parts).unwrap_or_default()),
            workload: label(WORKLOAD_LABEL).cloned(),
            uid: metadata.uid.clone(),
            opens,
            is_leftover: label(POLICY_TYPE_LABEL).is_some_and(|kind| kind == POLICY_TYPE)
                && label(POLICY_ROLE_LABEL).is_none()
                && label(WORKLOAD_LABEL).is_none(),
        }
    }

    /// True if the stored policy `object` is certainly one of a workload of this kind, whether there still is one or not.
    pub fn is_of(&self, object: &ObjectRef, kind: WorkloadKind) -> bool {
        let ObjectRef { namespace, name } = object;
        self.workload.as_ref().is_some_and(|label| is_policy_of(kind.as_str(), (namespace, name), label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(spec: &serde_json::Value) -> Digest {
        let object = json!({ "metadata": { "name": "x", "labels": { "team": "anything" } }, "spec": spec });
        StoredPolicy::of(&serde_json::from_value(object).unwrap()).digest
    }

    #[test]
    fn a_policy_of_the_existing_operator_is_told_from_ours_and_from_others() {
        let is_leftover = |labels: serde_json::Value| {
            let object = json!({ "metadata": { "name": "x", "labels": labels }, "spec": {} });
            StoredPolicy::of(&serde_json::from_value(object).unwrap()).is_leftover
        };
        let old = json!({ "managed-by": "kagenti-operator", "kagenti.dev/agentcard": "weather-card",
            "kagenti.dev/policy-type": "identity-verification" });
        let mut ours = old.clone();
        ours["agent.kagenti.dev/policy-role"] = "verdict".into();
        assert_eq!([is_leftover(old), is_leftover(ours)], [true, false]);
        assert!(!is_leftover(json!({ "managed-by": "kagenti-operator" })));
    }

    #[test]
    fn what_the_api_server_leaves_out_is_no_drift_and_what_it_opens_is() {
        let types = json!(["Ingress", "Egress"]);
        let planned =
            digest(&json!({ "podSelector": {}, "policyTypes": types, "ingress": [], "egress": [] }));
        assert_eq!(planned, digest(&json!({ "podSelector": {}, "policyTypes": types })));
        assert_ne!(planned, digest(&json!({ "podSelector": {}, "policyTypes": types, "egress": [{}] })));
        assert_ne!(planned, digest(&json!({ "podSelector": {}, "policyTypes": ["Ingress"] })));
    }
}

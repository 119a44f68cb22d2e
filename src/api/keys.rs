//! Names of the API group `agent.kagenti.dev`: kinds, labels, annotations and objects.
//! Existing manifests and dashboards depend on these values, so none of them may change.

/// The API group of AgentCard and `AgentRuntime`.
pub const GROUP: &str = "agent.kagenti.dev";
/// Group and version of `AgentCard` in manifests.
pub const AGENT_CARD_API_VERSION: &str = "agent.kagenti.dev/v1alpha1";
/// The kind `AgentCard` in manifests.
pub const AGENT_CARD_KIND: &str = "AgentCard";

/// Label on workloads and their Pods that says what they are.
pub const TYPE_LABEL: &str = "kagenti.io/type";
/// The value of [`TYPE_LABEL`] that enrols an agent.
pub const AGENT_TYPE: &str = "agent";

/// Label on a Namespace that says whether verdicts stop traffic there. Whoever may label namespaces decides this.
pub const MODE_LABEL: &str = "countersign.dev/mode";
/// The value of [`MODE_LABEL`] with which no NetworkPolicy is planned.
pub const MODE_AUDIT: &str = "audit";
/// The value of [`MODE_LABEL`] with which NetworkPolicies are planned, whatever the operator's own mode.
pub const MODE_ENFORCE: &str = "enforce";

/// Label on a Namespace in which every Pod is an agent's: isolated before the first agent starts, with admission policies
/// that refuse Pods which would not be isolated.
pub const ENROLLED_LABEL: &str = "countersign.dev/enrolled";
/// The value of [`ENROLLED_LABEL`] that enrols.
pub const ENROLLED: &str = "true";

/// Label on AgentCards that the operator made for a workload, with the value [`MANAGED_BY`].
pub const MANAGED_BY_APP_LABEL: &str = "app.kubernetes.io/managed-by";

/// Name of the NetworkPolicy that isolates every labelled agent of a namespace.
pub const NAMESPACE_BASELINE: &str = "countersign-baseline";
/// Name of the NetworkPolicy that opens labelled agents to the operator, DNS and the API server.
pub const NAMESPACE_MINIMUM: &str = "countersign-minimum";

/// Label on generated objects that names the software that owns them.
pub const MANAGED_BY_LABEL: &str = "managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "kagenti-operator";
/// Label on a generated NetworkPolicy that names the AgentCard whose verdict it follows.
pub const AGENT_CARD_LABEL: &str = "kagenti.dev/agentcard";
/// Label on a generated NetworkPolicy that says why it exists.
pub const POLICY_TYPE_LABEL: &str = "kagenti.dev/policy-type";
/// The value of [`POLICY_TYPE_LABEL`] on every NetworkPolicy that is planned from a verdict.
pub const POLICY_TYPE: &str = "identity-verification";

/// Label on a generated NetworkPolicy that says which of a workload's policies it is.
pub const POLICY_ROLE_LABEL: &str = "agent.kagenti.dev/policy-role";
/// Label on a generated NetworkPolicy that names the protected workload, as a hash of kind, namespace and name.
pub const WORKLOAD_LABEL: &str = "agent.kagenti.dev/workload";
/// Annotation on a generated NetworkPolicy with the code of the reason for its rules.
pub const REASON_ANNOTATION: &str = "agent.kagenti.dev/reason";

/// Label on the Pods of verified workloads by which NetworkPolicies select peers (ADR 0007).
///
/// Only the operator may set, change or remove the label: `policies/guard-operator-labels.yaml` refuses others.
pub const PEER_MARK_LABEL: &str = "agent.kagenti.dev/verified-peer";
/// Label that other operators put into Pod templates. The author of a template chooses its value, so no NetworkPolicy
/// of Countersign selects by this label (ADR 0007).
pub const SIGNATURE_VERIFIED_LABEL: &str = "agent.kagenti.dev/signature-verified";

/// Label that the API server sets on every namespace to its name and lets nobody change.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

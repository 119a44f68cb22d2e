//! Names that are part of the API of the `agent.kagenti.dev` group.
//! Existing manifests and dashboards use them, so a value here never changes.

/// The API group of AgentCard and `AgentRuntime`.
pub const GROUP: &str = "agent.kagenti.dev";
/// The API version that `AgentCard` is served under.
pub const AGENT_CARD_API_VERSION: &str = "agent.kagenti.dev/v1alpha1";
/// The kind of an agent card.
pub const AGENT_CARD_KIND: &str = "AgentCard";

/// Label on workloads and their Pods: what they are.
pub const TYPE_LABEL: &str = "kagenti.io/type";
/// The value of [`TYPE_LABEL`] that enrols an agent.
pub const AGENT_TYPE: &str = "agent";

/// Label on a Namespace: whether verdicts stop traffic there. Whoever may label namespaces decides it.
pub const MODE_LABEL: &str = "countersign.dev/mode";
/// The value of [`MODE_LABEL`] that plans no policy.
pub const MODE_AUDIT: &str = "audit";
/// The value of [`MODE_LABEL`] that plans policies whatever the operator's own mode is.
pub const MODE_ENFORCE: &str = "enforce";

/// Label on AgentCards that were made for a workload; its value is [`MANAGED_BY`].
pub const MANAGED_BY_APP_LABEL: &str = "app.kubernetes.io/managed-by";

/// The NetworkPolicy that isolates every labelled agent of a namespace.
pub const NAMESPACE_BASELINE: &str = "countersign-baseline";
/// The NetworkPolicy that lets them be judged, resolve names and ask the API server.
pub const NAMESPACE_MINIMUM: &str = "countersign-minimum";

/// Label on generated objects: which kind of software owns them.
pub const MANAGED_BY_LABEL: &str = "managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "kagenti-operator";
/// Label on a generated NetworkPolicy: the AgentCard it follows.
pub const AGENT_CARD_LABEL: &str = "kagenti.dev/agentcard";
/// Label on a generated NetworkPolicy: why it exists.
pub const POLICY_TYPE_LABEL: &str = "kagenti.dev/policy-type";
/// The value of [`POLICY_TYPE_LABEL`] for everything planned from a verdict.
pub const POLICY_TYPE: &str = "identity-verification";

/// Label on a generated NetworkPolicy: which of a workload's policies it is.
pub const POLICY_ROLE_LABEL: &str = "agent.kagenti.dev/policy-role";
/// Label on a generated NetworkPolicy: the workload it protects, as a hash of its kind, namespace and name.
pub const WORKLOAD_LABEL: &str = "agent.kagenti.dev/workload";
/// Annotation on a generated NetworkPolicy: the code of the reason that justifies its rules.
pub const REASON_ANNOTATION: &str = "agent.kagenti.dev/reason";

/// The mark that the operator alone puts on the Pods of verified workloads; policies select peers by it.
///
/// `policies/guard-operator-labels.yaml` lets nobody else set, change or remove it.
pub const PEER_MARK_LABEL: &str = "agent.kagenti.dev/verified-peer";
/// The label that other operators put into Pod templates. Its value is the template author's word, so no
/// policy of ours reads it.
pub const SIGNATURE_VERIFIED_LABEL: &str = "agent.kagenti.dev/signature-verified";

/// Label that the API server sets on every namespace to its name and lets nobody change.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

//! Names of kinds, labels, annotations and objects, and the two families of names under which agents enrol.
//! Existing manifests and dashboards depend on these values, so none of them may change.

/// The API group of AgentCard and `AgentRuntime`.
pub const GROUP: &str = "agent.kagenti.dev";
/// Group and version of `AgentCard` in manifests.
pub const AGENT_CARD_API_VERSION: &str = "agent.kagenti.dev/v1alpha1";
/// Group and version of `AgentRuntime` in manifests.
pub const AGENT_RUNTIME_API_VERSION: &str = AGENT_CARD_API_VERSION;
/// The kind `AgentRuntime` in manifests.
pub const AGENT_RUNTIME_KIND: &str = "AgentRuntime";
/// The kind `AgentCard` in manifests.
pub const AGENT_CARD_KIND: &str = "AgentCard";

/// The value of a type label ([`Family::type_label`]) that enrols an agent.
pub const AGENT_TYPE: &str = "agent";

/// Family of names under which manifests enrol agents. The project whose manifests are read was renamed, and manifests of
/// both names are in use: either enrols (ADR 0018).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Names of before the renaming, and those of every object that Countersign writes.
    Kagenti,
    /// Names of after the renaming.
    Rossoctl,
}

impl Family {
    /// All families, in the order in which one is chosen where both are present.
    pub const ALL: [Self; 2] = [Self::Kagenti, Self::Rossoctl];

    /// Label on workloads and their Pods that says what they are.
    pub const fn type_label(self) -> &'static str {
        match self {
            Self::Kagenti => "kagenti.io/type",
            Self::Rossoctl => "rossoctl.io/type",
        }
    }

    /// Label on a Namespace in whose Pods sidecars are injected, with the value `true`.
    pub const fn namespace_label(self) -> &'static str {
        match self {
            Self::Kagenti => "kagenti-enabled",
            Self::Rossoctl => "rossoctl-enabled",
        }
    }

    /// Label on a Pod that keeps injection away from it with the value `disabled`.
    pub const fn inject_label(self) -> &'static str {
        match self {
            Self::Kagenti => "kagenti.io/inject",
            Self::Rossoctl => "rossoctl.io/inject",
        }
    }

    /// Annotation on a Namespace that keeps it out of Istio's mesh with the value [`MESH_DISABLED`].
    pub const fn mesh_annotation(self) -> &'static str {
        match self {
            Self::Kagenti => "kagenti.io/istio-mesh",
            Self::Rossoctl => "rossoctl.io/istio-mesh",
        }
    }

    /// Annotation on a workload with the names of skills, as a JSON array.
    pub const fn skills_annotation(self) -> &'static str {
        match self {
            Self::Kagenti => "kagenti.io/skills",
            Self::Rossoctl => "rossoctl.io/skills",
        }
    }

    /// Name of the admission webhook in its configuration.
    pub const fn webhook(self) -> &'static str {
        match self {
            Self::Kagenti => "inject.kagenti.io",
            Self::Rossoctl => "inject.rossoctl.io",
        }
    }

    /// Prefix of the labels that name the protocols of a workload.
    pub const fn protocol_prefix(self) -> &'static str {
        match self {
            Self::Kagenti => "protocol.kagenti.io/",
            Self::Rossoctl => "protocol.rossoctl.io/",
        }
    }

    /// Older labels that name one protocol in their value, in order of precedence. The renamed project never had them.
    pub const fn protocol_labels(self) -> &'static [&'static str] {
        match self {
            Self::Kagenti => &["kagenti.io/protocol", "kagenti.io/agent-protocol"],
            Self::Rossoctl => &[],
        }
    }

    /// API group of `AgentCard` and `AgentRuntime`. AgentCards of [`Family::Kagenti`] alone are served; an `AgentRuntime` of
    /// [`Family::Rossoctl`] has a copy in that group, which counts (ADR 0027).
    pub const fn group(self) -> &'static str {
        match self {
            Self::Kagenti => GROUP,
            Self::Rossoctl => "agent.rossoctl.dev",
        }
    }

    /// Group and version of `AgentCard` in manifests.
    pub const fn agent_card_api_version(self) -> &'static str {
        match self {
            Self::Kagenti => AGENT_CARD_API_VERSION,
            Self::Rossoctl => "agent.rossoctl.dev/v1alpha1",
        }
    }

    /// Group and version of `AgentRuntime` in manifests.
    pub const fn agent_runtime_api_version(self) -> &'static str {
        self.agent_card_api_version()
    }

    /// Finalizer that the existing operator puts on an `AgentRuntime`. Countersign needs none, and removes it from what is
    /// being deleted.
    pub const fn runtime_finalizer(self) -> &'static str {
        match self {
            Self::Kagenti => "kagenti.io/cleanup",
            Self::Rossoctl => "rossoctl.io/cleanup",
        }
    }

    /// Name of the NetworkPolicy that isolates every agent of a namespace with this family's label.
    pub const fn baseline(self) -> &'static str {
        match self {
            Self::Kagenti => "countersign-baseline",
            Self::Rossoctl => "countersign-baseline-rossoctl",
        }
    }

    /// Name of the NetworkPolicy that opens agents with this family's label to the operator, DNS and the API server.
    pub const fn minimum(self) -> &'static str {
        match self {
            Self::Kagenti => "countersign-minimum",
            Self::Rossoctl => "countersign-minimum-rossoctl",
        }
    }

    /// Label selector of agents, in the syntax of list requests.
    pub fn selector(self) -> String {
        format!("{}={AGENT_TYPE}", self.type_label())
    }

    /// Label selector of what is no agent under this family, in the syntax of list requests.
    pub fn others_selector(self) -> String {
        format!("{}!={AGENT_TYPE}", self.type_label())
    }
}

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

/// Labels on a Namespace whose Pods are in the ambient mode of Istio's mesh.
pub const MESH_LABELS: [(&str, &str); 2] =
    [("istio-discovery", "enabled"), ("istio.io/dataplane-mode", "ambient")];
/// The value of [`Family::mesh_annotation`] that keeps a Namespace out of the mesh.
pub const MESH_DISABLED: &str = "disabled";

/// `ClusterRole` with which Pods may use OpenShift's security context constraint for the sidecar. OpenShift makes it with the
/// constraint `kagenti-authbridge`.
pub const SCC_ROLE: &str = "system:openshift:scc:kagenti-authbridge";
/// `RoleBinding` of that role in a namespace of agents.
pub const SCC_BINDING: &str = "agent-authbridge-scc";

/// Label on a workload that names the `AgentRuntime` which enrols it.
pub const RUNTIME_LABEL: &str = "agent.kagenti.dev/runtime";
/// Annotation in the Pod template of an enrolled workload with the hash of what its sidecar is made from.
pub const CONFIG_HASH_ANNOTATION: &str = "kagenti.io/config-hash";
/// Annotation in the Pod template of an enrolled workload with its mode of mTLS.
pub const MTLS_MODE_ANNOTATION: &str = "kagenti.io/mtls-mode";
/// Annotation on an enrolled Sandbox with the UID of a Pod that was made from an earlier Pod template. The operator deletes
/// that Pod, and the controller of Sandboxes makes another.
pub const REPLACED_POD_ANNOTATION: &str = "countersign.dev/replaced-pod";
/// The same on a Sandbox that is not enrolled any more, until that Pod is being deleted.
pub const RELEASED_POD_ANNOTATION: &str = "countersign.dev/released-pod";
/// ConfigMap with the feature gates of the cluster, in the operator's namespace.
pub const FEATURE_GATES: &str = "kagenti-feature-gates";
/// Member of [`FEATURE_GATES`] with the gates.
pub const FEATURE_GATES_KEY: &str = "feature-gates.yaml";
/// ConfigMap with the defaults of the cluster, in the operator's namespace.
pub const PLATFORM_CONFIG: &str = "kagenti-platform-config";
/// ConfigMap with AuthBridge's configuration in a namespace of agents.
pub const RUNTIME_CONFIG: &str = "authbridge-runtime-config";
/// Member of [`RUNTIME_CONFIG`] with the configuration.
pub const RUNTIME_CONFIG_KEY: &str = "config.yaml";
/// Label on a ConfigMap with defaults of its namespace, with the value `true`.
pub const DEFAULTS_LABEL: &str = "kagenti.io/defaults";

/// Annotation in the Pod template of an enrolled workload that asks for a sidecar, with the mode of it. It is there once the
/// configuration of the sidecar is.
pub const SIDECAR_ANNOTATION: &str = "countersign.dev/sidecar";
/// The value of [`SIDECAR_ANNOTATION`] that is injected.
pub const SIDECAR_MODE: &str = "proxy-sidecar";
/// Annotation in the Pod template of an enrolled workload whose sidecar needs SPIRE's socket.
pub const SIDECAR_SPIFFE_ANNOTATION: &str = "countersign.dev/sidecar-spiffe";
/// The value of [`SIDECAR_SPIFFE_ANNOTATION`].
pub const SIDECAR_SPIFFE: &str = "workload-api";
/// Annotation in the Pod template of an enrolled workload that names the ConfigMap with the configuration of its sidecar.
pub const SIDECAR_CONFIG_ANNOTATION: &str = "countersign.dev/sidecar-config";
/// Annotation in a Pod template that names the Secret with the workload's client ID and secret at Keycloak.
pub const CREDENTIALS_ANNOTATION: &str = "kagenti.io/keycloak-client-credentials-secret-name";
/// Annotation on an admitted Pod that says what injection did, or why it did nothing.
pub const INJECTION_ANNOTATION: &str = "countersign.dev/injection";
/// Container of AuthBridge in a Pod.
pub const SIDECAR_CONTAINER: &str = "authbridge-proxy";
/// Start of the name of the ConfigMap with the configuration of a workload's sidecar; the workload's name follows.
pub const SIDECAR_CONFIG_PREFIX: &str = "authbridge-config-";
/// Member of that ConfigMap with the configuration. The existing operator writes `config.yaml` beside it, which Pods that it
/// injected read as long as they run.
pub const SIDECAR_CONFIG_KEY: &str = "countersign.yaml";
/// ConfigMap with Keycloak's settings in a namespace of agents.
pub const AUTHBRIDGE_CONFIG: &str = "authbridge-config";

/// Label on AgentCards that the operator made for a workload, with the value [`MANAGED_BY`].
pub const MANAGED_BY_APP_LABEL: &str = "app.kubernetes.io/managed-by";

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

/// Lease of the operator's leader, shared with the existing operator, so that the two never work at the same time.
pub const LEASE_NAME: &str = "b7c4ae34.kagenti.dev";
/// `MutatingWebhookConfiguration` of the chart.
pub const WEBHOOK_CONFIGURATION: &str = "kagenti-operator-mutating-webhook-configuration";
/// CSI driver that gives Pods the socket of SPIRE's agent.
pub const SPIFFE_CSI_DRIVER: &str = "csi.spiffe.io";
/// Names of the admission policies in `policies/`, each of which has a binding of the same name.
pub const GUARDS: [&str; 14] = [
    "guard-controllers.agent.kagenti.dev",
    "guard-enrolled-pods.agent.kagenti.dev",
    "guard-enrolled-workloads.agent.kagenti.dev",
    "guard-enrolment.agent.kagenti.dev",
    "guard-isolation-rossoctl.agent.kagenti.dev",
    "guard-isolation.agent.kagenti.dev",
    "guard-network-policies.agent.kagenti.dev",
    "guard-operator-labels.agent.kagenti.dev",
    "guard-operator-patches.agent.kagenti.dev",
    "guard-running-sidecars.agent.kagenti.dev",
    "guard-sidecar-configs.agent.kagenti.dev",
    "guard-sidecars.agent.kagenti.dev",
    "guard-signed-cards.agent.kagenti.dev",
    "guard-trust-bundle.agent.kagenti.dev",
];
/// Names of the admission policies in `policies/optional/`, which are installed where somebody asks for them.
pub const OPTIONAL_GUARDS: [&str; 2] =
    ["guard-type-labels.agent.kagenti.dev", "guard-unprotected-agents.agent.kagenti.dev"];

/// Label that the API server sets on every namespace to its name and lets nobody change.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

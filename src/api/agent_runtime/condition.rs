//! Types and reasons of the conditions of an `AgentRuntime`.
//! Users alert on these words, so no spelling may change.

/// Type of a condition of an `AgentRuntime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeCondition {
    /// True if the workload exists, is of a kind that can be enrolled, and no other `AgentRuntime` enrols it.
    TargetResolved,
    /// True if the configuration of cluster and namespace was read.
    ConfigResolved,
    /// True if the AgentCard of the workload is verified; for agents alone.
    Verified,
    /// True if the workload has a configuration for the sidecar, and its new Pods get one; absent where the operator injects
    /// none.
    SidecarConfigured,
    /// True if the namespace has the labels of Istio's ambient mesh; absent where the operator does not set them.
    IstioMeshEnrolled,
    /// True if the skills that the workload names are in the status; absent where it names none, or they are not asked for.
    SkillsLinked,
    /// True if the workload is configured.
    Ready,
}

impl RuntimeCondition {
    /// The word in status; stable across releases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TargetResolved => "TargetResolved",
            Self::ConfigResolved => "ConfigResolved",
            Self::Verified => "Verified",
            Self::SidecarConfigured => "SidecarConfigured",
            Self::IstioMeshEnrolled => "IstioMeshEnrolled",
            Self::SkillsLinked => "SkillsLinked",
            Self::Ready => "Ready",
        }
    }
}

/// Reason of a condition of an `AgentRuntime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeReason {
    /// `TargetResolved`: the workload was found.
    TargetFound,
    /// `TargetResolved`, `Ready`: the workload is missing, or its kind cannot be enrolled.
    TargetNotFound,
    /// `TargetResolved`, `Ready`: an older `AgentRuntime` enrols the workload.
    TargetClaimed,
    /// `ConfigResolved`: the configuration was read.
    ConfigResolved,
    /// `ConfigResolved`: the configuration was read and is ambiguous.
    ConfigWarning,
    /// `Verified`: the workload has no AgentCard yet. All other reasons are those of its verdict.
    CardMissing,
    /// `SidecarConfigured`: the configuration is there, and new Pods get the sidecar.
    SidecarConfigured,
    /// `SidecarConfigured`: injection is not asked for in the namespace.
    NamespaceNotEnabled,
    /// `SidecarConfigured`: a label of the workload keeps injection away.
    InjectionDisabled,
    /// `SidecarConfigured`: nobody is named whose tokens could be checked.
    IssuerMissing,
    /// `SidecarConfigured`: nothing says for whom tokens must be.
    AudienceMissing,
    /// `SidecarConfigured`: mTLS alone is asked for, and the cluster has no SPIRE for Pods.
    SpireUnavailable,
    /// `SidecarConfigured`: the spec asks for what the sidecar cannot do.
    UnsupportedField,
    /// `SidecarConfigured`: the configuration of the namespace cannot be used.
    InvalidSidecarConfig,
    /// `SidecarConfigured`: the configuration could not be written.
    SidecarConfigError,
    /// `SidecarConfigured`: the service account could not be bound to the security context constraint of the sidecar.
    SccBindingError,
    /// `IstioMeshEnrolled`: the namespace has the labels.
    NamespaceLabeled,
    /// `IstioMeshEnrolled`: an annotation of the namespace keeps it out of the mesh.
    OptedOut,
    /// `IstioMeshEnrolled`: the namespace could not be changed.
    PatchFailed,
    /// `SkillsLinked`: the skills are in the status.
    SkillsLinked,
    /// `SkillsLinked`: the annotation that names the skills cannot be read.
    SkillAnnotationParseError,
    /// `Ready`: the workload is configured. Reasons for which the sidecar is not are those of `Ready`, too.
    Configured,
    /// `Ready`: the configuration could not be read.
    ConfigHashError,
    /// `Ready`: the workload could not be changed.
    ConfigApplyError,
}

impl RuntimeReason {
    /// The word in status; stable across releases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TargetFound => "TargetFound",
            Self::TargetNotFound => "TargetNotFound",
            Self::TargetClaimed => "TargetClaimed",
            Self::ConfigResolved => "ConfigResolved",
            Self::ConfigWarning => "ConfigWarning",
            Self::CardMissing => "CardMissing",
            Self::SidecarConfigured => "SidecarConfigured",
            Self::NamespaceNotEnabled => "NamespaceNotEnabled",
            Self::InjectionDisabled => "InjectionDisabled",
            Self::IssuerMissing => "IssuerMissing",
            Self::AudienceMissing => "AudienceMissing",
            Self::SpireUnavailable => "SPIREUnavailable",
            Self::UnsupportedField => "UnsupportedField",
            Self::InvalidSidecarConfig => "InvalidSidecarConfig",
            Self::SidecarConfigError => "SidecarConfigError",
            Self::SccBindingError => "SCCBindingError",
            Self::NamespaceLabeled => "NamespaceLabeled",
            Self::OptedOut => "OptedOut",
            Self::PatchFailed => "PatchFailed",
            Self::SkillsLinked => "SkillsLinked",
            Self::SkillAnnotationParseError => "SkillAnnotationParseError",
            Self::Configured => "Configured",
            Self::ConfigHashError => "ConfigHashError",
            Self::ConfigApplyError => "ConfigApplyError",
        }
    }
}

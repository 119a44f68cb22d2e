//! Flags of `countersign plan`.

use super::cluster::ClusterArgs;
use super::sidecar::SidecarArgs;
use crate::args::{BundleArg, Output, parse_bundle_arg, parse_trust_domain};
use crate::policy::AcceptArgs;
use countersign_core::spiffe::TrustDomain;
use countersign_plan::input::host_suffix::{HostSuffix, HostSuffixes};
use countersign_plan::input::identity::IdTemplate;
use std::path::PathBuf;

/// Enforcement mode: NetworkPolicies are planned, or cards are evaluated and none is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModeArg {
    /// Plan the policies.
    Enforce,
    /// Judge the cards, and plan nothing.
    Audit,
}

/// Print the objects that would be applied for a set of manifests.
///
/// Agents are a `Deployment`, `StatefulSet` or `Sandbox` with the label kagenti.io/type=agent or rossoctl.io/type=agent, as
/// for the operator. Read are also each `AgentCard`, `Service`, `Ingress` and `Namespace` (mode and enrolment), the
/// `ConfigMap` `NAME-card-signed` with the card of the workload `NAME`, and a `ConfigMap` with the trust bundle. Every
/// object follows a comment with the verdict that justifies it. A refused agent is a result, not an error. What the
/// operator does not take for an agent although it is labelled like one, such as a bare `Pod`, is named with the reason.
///
/// For every `Pod`, and every template of Pods whose annotations ask for the sidecar, stands what the admission webhook would
/// decide: what it would change, or why the Pod stays as it is, or why it is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifest file, directory of *.yaml, *.yml and *.json files, or `-` for standard input, as in
    /// `kubectl kustomize DIR | countersign plan -f -`. May be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    pub(super) files: Vec<PathBuf>,
    /// Trust bundle instead of the ConfigMap in the manifests; `TD=FILE` for another trust domain. May be
    /// repeated.
    #[arg(long = "bundle", value_name = "[TD=]FILE", value_parser = parse_bundle_arg)]
    pub(super) bundles: Vec<BundleArg>,
    /// Trust domain of the agents; an AgentCard may name its own.
    #[arg(long, value_name = "TD", value_parser = parse_trust_domain)]
    pub(super) trust_domain: Option<TrustDomain>,
    /// Name of the ConfigMap that carries the trust bundle.
    #[arg(long, value_name = "NAME", default_value = "spire-bundle")]
    pub(super) bundle_config_map: String,
    /// Identity that a workload must sign with, as the operator is told.
    #[arg(long, value_name = "TEMPLATE", default_value = IdTemplate::DEFAULT, value_parser = IdTemplate::parse)]
    pub(super) spiffe_id_template: IdTemplate,
    /// Domain under which an Ingress may name hosts of agents, as endpoints of their cards; with a namespace for its
    /// Ingresses alone. May be repeated.
    #[arg(long = "ingress-host-suffix", value_name = "[NAMESPACE:]DOMAIN", value_parser = HostSuffixes::parse)]
    pub(super) ingress_hosts: Vec<HostSuffix>,
    #[command(flatten)]
    pub(super) accept: AcceptArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(flatten)]
    pub(super) sidecar: SidecarArgs,
    /// Whether policies are planned at all.
    #[arg(long, value_enum, default_value_t = ModeArg::Enforce)]
    pub(super) mode: ModeArg,
    /// YAML documents for people and kubectl, or one JSON object.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

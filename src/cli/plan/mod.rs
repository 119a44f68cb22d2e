//! `countersign plan`: manifests of agents, cards and bundles in, the objects that would be applied out.
//! No cluster is asked: what is not in the manifests or the flags does not exist.

mod authority;
mod cards;
mod cluster;
mod manifests;
mod read;
mod workloads;

use super::args::{BundleArg, Output, parse_bundle_arg, parse_trust_domain};
use super::exit::{Done, Unusable};
use super::planned::Planned;
use super::policy::AcceptArgs;
use authority::Authorities;
use countersign_core::spiffe::TrustDomain;
use countersign_plan::{
    ClusterAccess, Isolation, Mode, Namespace, plan_namespace_policies, plan_network_policies,
};
use manifests::Manifests;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Whether policies are planned at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ModeArg {
    /// Plan the policies.
    Enforce,
    /// Judge the cards, and plan nothing.
    Audit,
}

/// Print the objects that would be applied for a set of manifests.
///
/// Read are workloads (`Deployment`, `StatefulSet`, `DaemonSet`, `Pod`) that are labelled kagenti.io/type=agent
/// or named by an `AgentCard`, each `Service` and `Ingress`, each `AgentCard`, the `ConfigMap`
/// `NAME-card-signed` with the card of the workload `NAME`, and a `ConfigMap` with the trust bundle. Every object follows a comment with the verdict that justifies it. A refused agent is a
/// result, not an error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Manifest file, directory of *.yaml, *.yml and *.json files, or `-` for standard input. May be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Trust bundle instead of the ConfigMap in the manifests; `TD=FILE` for another trust domain. May be
    /// repeated.
    #[arg(long = "bundle", value_name = "[TD=]FILE", value_parser = parse_bundle_arg)]
    bundles: Vec<BundleArg>,
    /// Trust domain of the agents; an AgentCard may name its own.
    #[arg(long, value_name = "TD", value_parser = parse_trust_domain)]
    trust_domain: Option<TrustDomain>,
    /// Name of the ConfigMap that carries the trust bundle.
    #[arg(long, value_name = "NAME", default_value = "spire-bundle")]
    bundle_config_map: String,
    #[command(flatten)]
    accept: AcceptArgs,
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    /// Whether policies are planned at all.
    #[arg(long, value_enum, default_value_t = ModeArg::Enforce)]
    mode: ModeArg,
    /// YAML documents for people and kubectl, or one JSON object.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let mut manifests = Manifests::default();
    for document in &read::documents(&args.files)? {
        manifests.add(document)?;
    }
    let authorities = Authorities::read(args, &manifests)?;
    let (cluster, mut notes) = args.cluster.facts()?;
    notes.extend(authorities.warnings.iter().cloned());
    notes.extend(manifests.ignored.iter().map(|what| format!("note: {what} is not read")));
    notes.extend(manifests.dangling());
    let mode = match args.mode {
        ModeArg::Enforce => Mode::Enforce,
        ModeArg::Audit => Mode::Audit,
    };
    let (mut all, mut shared) = (Vec::new(), BTreeSet::new());
    for workload in manifests.agents() {
        let evaluated = cards::evaluate(workload, &manifests, &authorities, &args.accept)?;
        let enrolled = workload.enrolled(&evaluated.expected)?;
        if enrolled.isolation() == Isolation::Namespace {
            shared.insert(enrolled.namespace().clone());
        }
        all.push(Planned {
            workload: workload.shown(),
            because: Planned::because(&evaluated.verdict),
            policies: plan_network_policies(&evaluated.cards, &enrolled, &cluster, mode),
        });
    }
    if all.is_empty() {
        return Err(Unusable::new(
            "no agent is among the manifests; label its workload kagenti.io/type=agent, or add an AgentCard that \
             names it",
        ));
    }
    let shared: Vec<Planned> = shared.iter().map(|namespace| isolation(namespace, &cluster, mode)).collect();
    Ok(Done::text(write(&shared, &all, args.output)?).with_notes(notes))
}

/// What isolates every labelled agent of a namespace.
fn isolation(namespace: &Namespace, cluster: &ClusterAccess, mode: Mode) -> Planned {
    Planned {
        workload: format!("Namespace {}", namespace.as_str()),
        because: "isolated: every labelled agent in it, verified or not".to_owned(),
        policies: plan_namespace_policies(namespace, cluster, mode),
    }
}

fn write(shared: &[Planned], all: &[Planned], output: Output) -> Result<Vec<u8>, Unusable> {
    if output == Output::Json {
        let workloads: Vec<_> = all
            .iter()
            .map(|planned| json!({ "workload": planned.workload, "because": planned.because }))
            .collect();
        let objects: Vec<_> = shared.iter().chain(all).flat_map(|planned| &planned.policies).collect();
        let mut text = serde_json::to_vec_pretty(&json!({ "workloads": workloads, "objects": objects }))
            .map_err(Unusable::new)?;
        text.push(b'\n');
        return Ok(text);
    }
    let mut text = Vec::new();
    for planned in shared.iter().filter(|planned| !planned.policies.is_empty()).chain(all) {
        if planned.policies.is_empty() {
            text.extend(format!("# {} {}\n", planned.workload, planned.because).into_bytes());
        }
        text.extend(planned.yaml()?);
    }
    Ok(text)
}

//! `countersign plan`: manifests of agents, cards and bundles in, the objects that would be applied out.
//! No cluster is asked: what is not in the manifests or the flags does not exist.

mod arguments;
mod authority;
mod cards;
mod cluster;
mod labels;
mod manifests;
mod member;
mod metadata;
mod namespaces;
mod pods;
mod read;
mod sidecar;
mod standings;
mod workloads;

use super::args::Output;
use super::exit::{Done, Unusable};
use super::planned::Planned;
pub(super) use arguments::Args;
use arguments::ModeArg;
use authority::Authorities;
use countersign_api::keys::Family;
use countersign_core::verdict::Verdict;
use countersign_plan::{ClusterAccess, Mode, Namespace, plan_namespace_policies, plan_network_policies};
use manifests::Manifests;
use pods::{DecidedPod, PodManifest};
use serde_json::json;
use workloads::ManifestWorkload;

/// Most documents that an error lists as not read.
const SHOWN: usize = 5;

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let mut manifests = Manifests::default();
    for document in &read::documents(&args.files)? {
        manifests.add(document)?;
    }
    let (isolated, others) = (manifests.isolated(), manifests.no_agents());
    let has_agents = manifests.agents().next().is_some();
    if !has_agents && isolated.is_empty() && others.is_empty() && manifests.pods.is_empty() {
        return Err(no_agent(&manifests));
    }
    // Without an agent nothing is verified, and no bundle is needed.
    let authorities = has_agents.then(|| Authorities::read(args, &manifests)).transpose()?;
    let (cluster, mut notes) = args.cluster.facts()?;
    if !has_agents && isolated.is_empty() {
        // No policy is planned, so nothing that was assumed for one matters.
        notes.clear();
    }
    notes.extend(authorities.iter().flat_map(|authorities| authorities.warnings.iter().cloned()));
    notes.extend(manifests.ignored.iter().map(|what| format!("note: {what} is not read")));
    notes.extend(manifests.label_notes());
    notes.extend(manifests.kustomization_notes());
    notes.extend(manifests.family_notes());
    notes.extend(manifests.unlabelled_templates());
    notes.extend(manifests.host_network_notes());
    notes.extend(manifests.dangling());
    let mode = match args.mode {
        ModeArg::Enforce => Mode::Enforce,
        ModeArg::Audit => Mode::Audit,
    };
    notes.extend(manifests.namespaces.notes(mode));
    let mode = |namespace: &str| manifests.namespaces.mode(namespace, mode);
    let mut all = Vec::new();
    for (workload, authorities) in manifests.agents().zip(authorities.iter().cycle()) {
        let evaluated = cards::evaluate(workload, &manifests, authorities, &args.accept)?;
        let enrolled = workload.enrolled(&evaluated.expected)?;
        all.push(Planned {
            workload: workload.shown(),
            enrolled_by: workload.family().map(Family::type_label),
            because: because(workload, &evaluated.verdict),
            policies: plan_network_policies(&evaluated.cards, &enrolled, &cluster, mode(&workload.namespace)),
        });
    }
    all.extend(others.into_iter().map(|(workload, why)| Planned {
        workload,
        enrolled_by: None,
        because: format!("no agent: {why}"),
        policies: Vec::new(),
    }));
    let isolate = |(name, family): (&str, Family)| {
        let namespace = Namespace::parse(name).map_err(Unusable::new)?;
        Ok(isolation(&namespace, family, &cluster, mode(name)))
    };
    let shared: Vec<Planned> = isolated.into_iter().map(isolate).collect::<Result<_, Unusable>>()?;
    let (pods, told) = decided(args, &manifests);
    notes.extend(told);
    Ok(Done::text(write(&shared, &all, &pods, args.output)?).with_notes(notes))
}

/// What the webhook would decide about each Pod, and what was assumed for it.
fn decided(args: &Args, manifests: &Manifests) -> (Vec<DecidedPod>, Vec<String>) {
    let (settings, note) = args.sidecar.settings();
    let (namespaces, operator) = (&manifests.namespaces, &args.cluster.operator_namespace);
    let asking = manifests.pods.iter().any(PodManifest::asks_for_sidecar);
    let mut notes: Vec<String> = note.filter(|_| asking).into_iter().collect();
    for told in manifests.pods.iter().filter_map(|pod| pod.note(namespaces)) {
        if !notes.contains(&told) {
            notes.push(told);
        }
    }
    (manifests.pods.iter().map(|pod| pod.decide(namespaces, &settings, operator)).collect(), notes)
}

/// Verdict in words, and why it opens nothing where no policy holds.
fn because(workload: &ManifestWorkload, verdict: &Verdict) -> String {
    let told = Planned::because(verdict);
    if workload.is_on_host_network() {
        return format!("{told}; nothing is opened, because its Pods use the network of their node");
    }
    told
}

/// Says that there is nothing to plan for, and what was passed over, so that a reader sees which file was meant.
fn no_agent(manifests: &Manifests) -> Unusable {
    let [older, newer] = Family::ALL.map(Family::selector);
    let mut found = vec![format!("no agent is among the manifests; label its workload {older} or {newer}")];
    let (shown, more) = manifests.ignored.split_at(manifests.ignored.len().min(SHOWN));
    if !shown.is_empty() {
        found.push(format!("; not read: {}", shown.join(", ")));
    }
    if !more.is_empty() {
        found.push(format!(", and {} more", more.len()));
    }
    found.extend(manifests.kustomization_notes().map(|note| format!("; {note}")));
    Unusable::new(found.concat())
}

/// Plans the NetworkPolicies that isolate every agent of a namespace with the label of a family, verified or not.
fn isolation(namespace: &Namespace, family: Family, cluster: &ClusterAccess, mode: Mode) -> Planned {
    Planned {
        workload: format!("Namespace {}", namespace.as_str()),
        enrolled_by: Some(family.type_label()),
        because: "isolated: every labelled agent in it, verified or not".to_owned(),
        policies: plan_namespace_policies(namespace, family, cluster, mode),
    }
}

fn write(
    shared: &[Planned],
    all: &[Planned],
    pods: &[DecidedPod],
    output: Output,
) -> Result<Vec<u8>, Unusable> {
    if output == Output::Json {
        let workloads: Vec<_> = all
            .iter()
            .map(|planned| json!({ "workload": planned.workload, "because": planned.because, "enrolledBy": planned.enrolled_by }))
            .collect();
        let objects: Vec<_> = shared.iter().chain(all).flat_map(|planned| &planned.policies).collect();
        let mut text =
            serde_json::to_vec_pretty(&json!({ "workloads": workloads, "objects": objects, "pods": pods }))
                .map_err(Unusable::new)?;
        text.push(b'\n');
        return Ok(text);
    }
    let mut text = Vec::new();
    for planned in shared.iter().filter(|planned| !planned.policies.is_empty()).chain(all) {
        if planned.policies.is_empty() {
            text.extend(planned.comment().into_bytes());
        }
        text.extend(planned.yaml()?);
    }
    for pod in pods {
        text.extend(pod.comment()?.into_bytes());
    }
    Ok(text)
}

//! The objects that a plan is made from, by kind. An object of a known kind is read whole or refused.

use super::labels::label_problems;
use super::member::misfit;
use super::metadata::{name, namespace, shown_object};
use super::namespaces::Namespaces;
use super::pods::PodManifest;
use super::read::Manifest;
use super::standings::{OtherObject, kinds_that_run_pods, place_of_labels};
use super::workloads::{ManifestWorkload, Template};
use crate::exit::Unusable;
use countersign_api::keys::{AGENT_CARD_KIND, ENROLLED_LABEL, Family};
use countersign_core::refusal::Reason;
use countersign_core::text::Quoted;
use countersign_plan::input::identity::Binding;
use countersign_plan::input::sandbox::{SANDBOX_KIND, Sandbox};
use countersign_plan::input::standing::{Standing, unlabelled_template};
use countersign_plan::input::workload::WorkloadKind;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Display;

/// Kind of the files of `kubectl kustomize`.
const KUSTOMIZATION_KIND: &str = "Kustomization";

/// Versions and kinds that are read besides those that run Pods.
const KINDS: [(&str, &str); 5] = [
    ("v1", "Namespace"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("networking.k8s.io/v1", "Ingress"),
    ("agent.kagenti.dev/v1alpha1", AGENT_CARD_KIND),
];

/// Least length of a kind for which a misspelt one is taken, in bytes.
const LIKE: usize = 6;

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    workloads: Vec<ManifestWorkload>,
    others: Vec<OtherObject>,
    /// Pods, and templates of Pods that ask for the sidecar.
    pub(super) pods: Vec<PodManifest>,
    pub(super) namespaces: Namespaces,
    pub(super) services: Vec<Service>,
    pub(super) ingresses: Vec<Ingress>,
    pub(super) cards: Vec<CardManifest>,
    pub(super) config_maps: Vec<ConfigMap>,
    /// Shown names of the AgentCards whose API group is not that of the cluster's AgentCards.
    renamed: Vec<String>,
    /// Files with a Kustomization, which changes the manifests beside it.
    kustomizations: Vec<String>,
    /// Kinds, names and files that were passed over.
    pub(super) ignored: Vec<String>,
    /// Kinds, names and files of objects that nothing is planned for, with a label that the API server would refuse.
    mislabelled: Vec<String>,
}

/// The metadata of an object of any kind.
#[derive(Debug, Deserialize)]
struct ObjectManifest {
    metadata: ObjectMeta,
}

/// The part of an AgentCard object that a plan needs.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct CardManifest {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: CardSpecManifest,
}

/// Spec of an AgentCard in a manifest: its workload, and the requirements on the signer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CardSpecManifest {
    #[serde(default)]
    target_ref: Option<TargetManifest>,
    #[serde(default)]
    identity_binding: Option<BindingManifest>,
}

#[derive(Clone, Debug, Deserialize)]
struct TargetManifest {
    kind: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingManifest {
    #[serde(default)]
    trust_domain: Option<String>,
    #[serde(default, rename = "allowedSpiffeIDs")]
    allowed_spiffe_ids: Vec<String>,
    #[serde(default)]
    scope: Option<String>,
}

/// Object that runs Pods and is no agent for the operator.
struct Unenrolled<'m> {
    shown: String,
    namespace: &'m str,
    standing: Standing,
    /// Sentence about labels that look like an agent's.
    mislabelled: Option<String>,
    /// True if its Pods carry the label of agents.
    is_labelled: bool,
}

impl CardManifest {
    /// Returns the requirements on the signer that `spec.identityBinding` adds; without that member there are none.
    pub(super) fn binding(&self) -> Binding<'_> {
        let asked = self.spec.identity_binding.as_ref();
        Binding {
            trust_domain: self.trust_domain(),
            allowed: asked.map(|asked| asked.allowed_spiffe_ids.as_slice()).unwrap_or_default(),
            is_narrowed: asked.and_then(|asked| asked.scope.as_deref()) == Some("workload"),
        }
    }

    /// Returns the trust domain in `spec.identityBinding`; `None` if it is absent or empty.
    pub(super) fn trust_domain(&self) -> Option<&str> {
        self.spec.identity_binding.as_ref()?.trust_domain.as_deref().filter(|name| !name.is_empty())
    }

    /// True if the target is of no kind that the operator watches.
    fn points_at_other_kind(&self) -> bool {
        let target = self.spec.target_ref.as_ref();
        target.is_some_and(|target| !WorkloadKind::ALL.iter().any(|kind| kind.as_str() == target.kind))
    }

    fn points_at(&self, workload: &ManifestWorkload) -> bool {
        let target = self.spec.target_ref.as_ref();
        namespace(&self.metadata) == workload.namespace
            && target.is_some_and(|target| target.kind == workload.kind && target.name == workload.name)
    }
}

impl Manifests {
    /// Puts an object where its kind belongs.
    pub(super) fn add(&mut self, document: &Manifest) -> Result<(), Unusable> {
        let text =
            |member: &str| document.object.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() || version.is_empty() {
            // Kustomize patches and values of Helm lie beside the manifests that they change.
            let lacking = match (version.is_empty(), kind.is_empty()) {
                (true, false) => "`apiVersion`",
                (false, true) => "`kind`",
                _ => "`apiVersion` and `kind`",
            };
            self.ignored.push(format!("a document in {} without {lacking}", Quoted(&document.file)));
            return Ok(());
        }
        match (version.as_str(), kind.as_str()) {
            ("apps/v1", "Deployment") => {
                let object: Deployment = read(document)?;
                let spec = object.spec.unwrap_or_default();
                self.controller(document, &kind, object.metadata, spec.selector, spec.template.into())?;
            }
            ("apps/v1", "StatefulSet") => {
                let object: StatefulSet = read(document)?;
                let spec = object.spec.unwrap_or_default();
                self.controller(document, &kind, object.metadata, spec.selector, spec.template.into())?;
            }
            (version, SANDBOX_KIND) if WorkloadKind::parse(version, SANDBOX_KIND).is_some() => {
                let object: ObjectManifest = read(document)?;
                let sandbox =
                    Sandbox::parse(&document.object).map_err(|error| unreadable(document, &error))?;
                let template = sandbox.template.into();
                self.controller(document, &kind, object.metadata, sandbox.selector, template)?;
            }
            ("v1", "Namespace") => {
                self.check_labels(document, false)?;
                let object: ObjectManifest = read(document)?;
                self.namespaces.add(&object.metadata);
            }
            (version, kind) if let Some(place) = place_of_labels(version, kind) => {
                let object: ObjectManifest = read(document)?;
                let owners = object.metadata.owner_references.as_deref().unwrap_or_default();
                // What belongs to another object is told of with that.
                if owners.iter().all(|owner| owner.controller != Some(true)) {
                    let other = OtherObject::new(kind, &object.metadata, &document.object, place);
                    let other = other.map_err(|error| unreadable(document, &error))?;
                    self.check_labels(document, other.is_told_of())?;
                    self.others.push(other);
                }
            }
            ("v1", "Service") => {
                self.check_labels(document, false)?;
                self.services.push(read(document)?);
            }
            ("networking.k8s.io/v1", "Ingress") => {
                self.check_labels(document, false)?;
                self.ingresses.push(read(document)?);
            }
            ("v1", "ConfigMap") => {
                self.check_labels(document, false)?;
                self.config_maps.push(read(document)?);
            }
            (version, AGENT_CARD_KIND)
                if let Some(family) =
                    Family::ALL.into_iter().find(|family| family.agent_card_api_version() == version) =>
            {
                self.check_labels(document, false)?;
                let card: CardManifest = read(document)?;
                // What the operator does not serve says nothing about a workload.
                if family == Family::Kagenti {
                    self.cards.push(card);
                } else {
                    self.renamed.push(shown_object(AGENT_CARD_KIND, &card.metadata));
                }
            }
            (_, KUSTOMIZATION_KIND) => self.kustomizations.push(document.file.clone()),
            _ => {
                let name =
                    document.object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                let file = Quoted(&document.file);
                let why = unread(&version, &kind).map(|why| format!(" ({why})")).unwrap_or_default();
                self.ignored.push(format!("{} {} in {file}{why}", Quoted(&kind), Quoted(name)));
            }
        }
        let pod = PodManifest::of(&version, &kind, &document.object);
        self.pods.extend(pod.map_err(|error| unreadable(document, &error))?);
        Ok(())
    }

    fn controller(
        &mut self,
        document: &Manifest,
        kind: &str,
        metadata: ObjectMeta,
        selector: LabelSelector,
        template: Template,
    ) -> Result<(), Unusable> {
        // Kustomize patches name a workload and the fields that they change. The API server takes no workload like that.
        if selector == LabelSelector::default() {
            self.ignored.push(format!(
                "{} {} without `spec.selector` in {}",
                Quoted(kind),
                Quoted(name(&metadata)),
                Quoted(&document.file)
            ));
            return self.check_labels(document, false);
        }
        let workload = ManifestWorkload::new(kind, metadata, selector, template);
        self.check_labels(document, workload.is_told_of())?;
        self.workloads.push(workload);
        Ok(())
    }

    /// Refuses an object for a label of another syntax, if the plan `tells` of the object or the label decides which Pods a
    /// Service has. What no plan depends on may hold a placeholder that somebody else fills in, and is warned of.
    fn check_labels(&mut self, document: &Manifest, tells: bool) -> Result<(), Unusable> {
        let problems = label_problems(&document.object);
        let kind = document.object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if let Some(problem) = problems.iter().find(|problem| tells || problem.is_in_service_selector(kind)) {
            return Err(unreadable(document, &problem.told()));
        }
        self.mislabelled.extend(problems.first().map(|problem| {
            format!(
                "{}: {}; the plan does without, and the API server refuses it",
                named(document),
                problem.told()
            )
        }));
        Ok(())
    }

    /// A line for every object that nothing is planned for, with a label that the API server would refuse.
    pub(super) fn label_notes(&self) -> impl Iterator<Item = String> {
        self.mislabelled.iter().map(|told| format!("warning: {told}"))
    }

    /// The workloads that are agents for the operator.
    pub(super) fn agents(&self) -> impl Iterator<Item = &ManifestWorkload> {
        self.workloads.iter().filter(|workload| workload.standing().is_agent())
    }

    /// Objects that are no agents for the operator and look like some: name, and what the operator does.
    pub(super) fn no_agents(&self) -> Vec<(String, String)> {
        let workloads = self.workloads.iter().filter(|workload| !workload.standing().is_agent());
        let workloads = workloads.map(|workload| Unenrolled {
            shown: workload.shown(),
            namespace: &workload.namespace,
            standing: workload.standing(),
            mislabelled: workload.unenrolled(),
            is_labelled: !workload.families().is_empty(),
        });
        let others = self.others.iter().map(|other| Unenrolled {
            shown: other.shown(),
            namespace: &other.namespace,
            standing: other.standing,
            mislabelled: other.unenrolled.clone(),
            is_labelled: !other.families.is_empty(),
        });
        let told = |one: Unenrolled<'_>| {
            let lacks_label = !one.is_labelled && self.namespaces.is_enrolled(one.namespace);
            let refused = || {
                format!(
                    "every Pod of the namespace is an agent's by the label {ENROLLED_LABEL}, and its Pods lack the label \
                     of agents: the guards of the chart refuse them"
                )
            };
            let notice = one.standing.notice().map(|notice| notice.to_string());
            let refused = lacks_label.then(refused);
            let told: Vec<String> = match notice {
                Some(notice) => vec![notice],
                None => one.mislabelled.into_iter().chain(refused).collect(),
            };
            (!told.is_empty()).then(|| (one.shown, told.join("; ")))
        };
        workloads.chain(others).filter_map(told).collect()
    }

    /// Lines about Pods with a label of agents on the network of their node, which nothing here isolates.
    pub(super) fn host_network_notes(&self) -> impl Iterator<Item = String> {
        let workloads = self.workloads.iter().filter_map(ManifestWorkload::host_network_note);
        workloads.chain(self.others.iter().filter_map(OtherObject::host_network_note))
    }

    /// Namespaces that the operator isolates, each with the family whose label its policies select by.
    pub(super) fn isolated(&self) -> BTreeSet<(&str, Family)> {
        let workloads = self.workloads.iter().map(|one| (one.namespace.as_str(), one.families()));
        let others = self.others.iter().map(|one| (one.namespace.as_str(), one.families.clone()));
        let enrolled = self.namespaces.enrolled().map(|name| (name, Family::ALL.to_vec()));
        let all = workloads.chain(others).chain(enrolled);
        all.flat_map(|(name, families)| families.into_iter().map(move |family| (name, family))).collect()
    }

    /// The AgentCards that point at a workload.
    pub(super) fn cards_of<'m>(
        &'m self,
        workload: &'m ManifestWorkload,
    ) -> impl Iterator<Item = &'m CardManifest> {
        self.cards.iter().filter(|card| card.points_at(workload))
    }

    /// The ConfigMap of this name in this namespace, or in any.
    pub(super) fn config_map(&self, in_namespace: Option<&str>, wanted: &str) -> Option<&ConfigMap> {
        self.config_maps.iter().find(|map| {
            name(&map.metadata) == wanted
                && in_namespace.is_none_or(|space| namespace(&map.metadata) == space)
        })
    }

    /// A line for every Kustomization.
    pub(super) fn kustomization_notes(&self) -> impl Iterator<Item = String> {
        self.kustomizations.iter().map(|file| {
            format!(
                "warning: the Kustomization in {} is not carried out, and what it changes is not planned for: give what \
                 it builds, with kubectl kustomize DIR | countersign plan -f -",
                Quoted(file)
            )
        })
    }

    /// Lines about names of after the renaming: what enrols whom, and AgentCards that the operator does not serve.
    pub(super) fn family_notes(&self) -> Vec<String> {
        let newer = self.workloads.iter().filter_map(|workload| {
            let family = workload.family().filter(|family| *family != Family::Kagenti)?;
            Some(format!("note: {} is enrolled by the label {}", workload.shown(), family.type_label()))
        });
        let renamed = self.renamed.iter().map(|card| {
            format!(
                "warning: {card} is of {}, which the operator does not serve; apply it as {}",
                Family::Rossoctl.agent_card_api_version(),
                Family::Kagenti.agent_card_api_version()
            )
        });
        newer.chain(renamed).collect()
    }

    /// A line for every agent whose Pod template lacks the label of agents: policies of its own close its Pods, and nothing
    /// opens them.
    pub(super) fn unlabelled_templates(&self) -> impl Iterator<Item = String> {
        let lacking = self.agents().filter(|workload| !workload.labels_its_pods());
        lacking.filter_map(|workload| {
            Some(format!("warning: {}: {}", workload.shown(), unlabelled_template(workload.family()?)))
        })
    }

    /// A line for every AgentCard that points at no agent: at nothing that was read, or at what the operator refuses.
    pub(super) fn dangling(&self) -> Vec<String> {
        let told = |card: &CardManifest| {
            let why = match self.workloads.iter().find(|workload| card.points_at(workload)) {
                Some(workload) if workload.standing().is_agent() => return None,
                Some(workload) => format!(
                    "points at {}, which is not labelled as an agent; the operator refuses it with {}",
                    workload.shown(),
                    Reason::NotAgentWorkload
                ),
                None if card.points_at_other_kind() => {
                    format!(
                        "points at a kind that is not watched; the operator refuses it with {}",
                        Reason::WorkloadNotFound
                    )
                }
                None => "names no workload among the manifests; nothing is planned for it".to_owned(),
            };
            Some(format!("warning: {} {why}", shown_object(AGENT_CARD_KIND, &card.metadata)))
        };
        self.cards.iter().filter_map(told).collect()
    }
}

/// Why an object is not read that looks like one of a kind that is: another version, or a misspelt kind.
fn unread(version: &str, kind: &str) -> Option<String> {
    let watched = WorkloadKind::ALL.map(|kind| (kind.api_version(), kind.as_str()));
    let mut known = watched.into_iter().chain(KINDS).chain(kinds_that_run_pods());
    known.find_map(|(known_version, known_kind)| {
        if kind == known_kind {
            return Some(format!(
                "its apiVersion is {}; a {kind} is read in {known_version}",
                Quoted(version)
            ));
        }
        // Short kinds are like others that nobody misspelt.
        let is_like = known_kind.len() >= LIKE && strsim::damerau_levenshtein(kind, known_kind) <= 2;
        (is_like && version == known_version).then(|| format!("did you mean {known_kind}?"))
    })
}

fn read<T: DeserializeOwned>(document: &Manifest) -> Result<T, Unusable> {
    let problems = label_problems(&document.object);
    // Said here in better words than those of the type.
    if let Some(problem) = problems.iter().find(|problem| !problem.is_text()) {
        return Err(unreadable(document, &problem.told()));
    }
    T::deserialize(&document.object).map_err(|error| match misfit::<T>(&document.object) {
        Some(misfit) => unreadable(document, &misfit),
        None => unreadable(document, &error),
    })
}

fn unreadable(document: &Manifest, error: &dyn Display) -> Unusable {
    Unusable::new(format!("{} cannot be read: {error}; correct the manifest", named(document)))
}

/// Kind, name and file of an object.
fn named(document: &Manifest) -> String {
    let text = |pointer: &str| document.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{} {} in {}", Quoted(text("/kind")), Quoted(text("/metadata/name")), Quoted(&document.file))
}

//! The objects that a plan is made from, by kind. An object of a known kind is read whole or refused.

use super::metadata::{name, namespace};
use super::read::Manifest;
use super::workloads::{ManifestWorkload, Template};
use crate::exit::Unusable;
use countersign_api::keys::{AGENT_CARD_KIND, Family};
use countersign_core::text::Quoted;
use countersign_plan::input::identity::Binding;
use countersign_plan::input::sandbox::{SANDBOX_KIND, Sandbox};
use countersign_plan::input::workload::WorkloadKind;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    workloads: Vec<ManifestWorkload>,
    pub(super) services: Vec<Service>,
    pub(super) ingresses: Vec<Ingress>,
    pub(super) cards: Vec<CardManifest>,
    pub(super) config_maps: Vec<ConfigMap>,
    /// Names of the AgentCards whose API group is not that of the cluster's AgentCards.
    renamed: Vec<String>,
    /// Kinds and names that were passed over.
    pub(super) ignored: Vec<String>,
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
            self.ignored
                .push(format!("a document in {} without `apiVersion` and `kind`", Quoted(&document.file)));
            return Ok(());
        }
        match (version.as_str(), kind.as_str()) {
            ("apps/v1", "Deployment") => {
                let object: Deployment = read(document)?;
                let spec = object.spec.unwrap_or_default();
                self.controller(&kind, object.metadata, spec.selector, spec.template.into());
            }
            ("apps/v1", "StatefulSet") => {
                let object: StatefulSet = read(document)?;
                let spec = object.spec.unwrap_or_default();
                self.controller(&kind, object.metadata, spec.selector, spec.template.into());
            }
            ("apps/v1", "DaemonSet") => {
                let object: DaemonSet = read(document)?;
                let spec = object.spec.unwrap_or_default();
                self.controller(&kind, object.metadata, spec.selector, spec.template.into());
            }
            (version, SANDBOX_KIND) if WorkloadKind::parse(version, SANDBOX_KIND).is_some() => {
                let object: ObjectManifest = read(document)?;
                let sandbox =
                    Sandbox::parse(&document.object).map_err(|error| unreadable(document, &error))?;
                self.controller(&kind, object.metadata, sandbox.selector, sandbox.template.into());
            }
            ("v1", "Pod") => {
                let object: Pod = read(document)?;
                let owners = object.metadata.owner_references.as_deref().unwrap_or_default();
                if owners.iter().any(|owner| owner.controller == Some(true)) {
                    // It belongs to a workload, and is planned for with it.
                    return Ok(());
                }
                let labels = object.metadata.labels.clone();
                let selector = LabelSelector { match_labels: labels, match_expressions: None };
                let template = Template::new(Some(&object.metadata), object.spec);
                self.controller(&kind, object.metadata, selector, template);
            }
            ("v1", "Service") => self.services.push(read(document)?),
            ("networking.k8s.io/v1", "Ingress") => self.ingresses.push(read(document)?),
            ("v1", "ConfigMap") => self.config_maps.push(read(document)?),
            (version, AGENT_CARD_KIND)
                if let Some(family) =
                    Family::ALL.into_iter().find(|family| family.agent_card_api_version() == version) =>
            {
                let card: CardManifest = read(document)?;
                if family != Family::Kagenti {
                    self.renamed.push(format!("{}/{}", namespace(&card.metadata), name(&card.metadata)));
                }
                self.cards.push(card);
            }
            _ => {
                let name =
                    document.object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                self.ignored.push(format!("{} {}", Quoted(&kind), Quoted(name)));
            }
        }
        Ok(())
    }

    fn controller(&mut self, kind: &str, metadata: ObjectMeta, selector: LabelSelector, template: Template) {
        // Kustomize patches name a workload and the fields that they change. The API server takes no workload like that.
        if kind != "Pod" && selector == LabelSelector::default() {
            self.ignored.push(format!(
                "{} {} without `spec.selector`",
                Quoted(kind),
                Quoted(name(&metadata))
            ));
            return;
        }
        self.workloads.push(ManifestWorkload::new(kind, metadata, selector, template));
    }

    /// The workloads that are enrolled: labelled as agents, or named by an AgentCard.
    pub(super) fn agents(&self) -> impl Iterator<Item = &ManifestWorkload> {
        self.workloads.iter().filter(|workload| {
            workload.family().is_some() || self.cards.iter().any(|card| card.points_at(workload))
        })
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

    /// Lines about names of after the renaming: what enrols whom, and AgentCards that the operator does not serve.
    pub(super) fn family_notes(&self) -> Vec<String> {
        let newer = self.workloads.iter().filter_map(|workload| {
            let family = workload.family().filter(|family| *family != Family::Kagenti)?;
            Some(format!("note: {} is enrolled by the label {}", workload.shown(), family.type_label()))
        });
        let renamed = self.renamed.iter().map(|card| {
            format!(
                "warning: AgentCard {card} is of {}, which the operator does not serve; apply it as {}",
                Family::Rossoctl.agent_card_api_version(),
                Family::Kagenti.agent_card_api_version()
            )
        });
        newer.chain(renamed).collect()
    }

    /// A line for every AgentCard that points at nothing that was read.
    pub(super) fn dangling(&self) -> Vec<String> {
        let points_nowhere =
            |card: &&CardManifest| !self.workloads.iter().any(|workload| card.points_at(workload));
        self.cards
            .iter()
            .filter(points_nowhere)
            .map(|card| {
                format!(
                    "warning: AgentCard {}/{} names no workload among the manifests; nothing is planned for it",
                    namespace(&card.metadata),
                    name(&card.metadata)
                )
            })
            .collect()
    }
}

fn read<T: DeserializeOwned>(document: &Manifest) -> Result<T, Unusable> {
    T::deserialize(&document.object).map_err(|error| unreadable(document, &error))
}

fn unreadable(document: &Manifest, error: &serde_json::Error) -> Unusable {
    let text = |pointer: &str| document.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Unusable::new(format!(
        "{} {} in {} cannot be read: {error}; correct the manifest",
        Quoted(text("/kind")),
        Quoted(text("/metadata/name")),
        Quoted(&document.file)
    ))
}

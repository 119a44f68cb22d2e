//! A Pod as it is sent to be created, as far as injection reads it.

use countersign_api::keys::SIDECAR_ANNOTATION;
use serde::Deserialize;
use serde_json::Value;

/// A Pod that is to be created, or the template of one. Members that injection does not read are not kept, most of all
/// `metadata.managedFields`, which is often larger than the rest.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct NewPod {
    metadata: Option<Metadata>,
    #[serde(default)]
    spec: Value,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    #[serde(default)]
    labels: Value,
    #[serde(default)]
    annotations: Value,
}

impl NewPod {
    /// Name, or the start of it if the API server chooses the rest; empty if there is neither.
    pub fn name(&self) -> &str {
        let metadata = self.metadata.as_ref();
        let name = metadata.and_then(|metadata| metadata.name.as_deref().filter(|name| !name.is_empty()));
        name.or_else(|| metadata?.generate_name.as_deref()).unwrap_or_default()
    }

    /// True if its annotations ask for a sidecar, of whatever mode.
    pub fn asks_for_sidecar(&self) -> bool {
        self.annotations().is_some_and(|annotations| annotations.get(SIDECAR_ANNOTATION).is_some())
    }

    pub(super) fn labels(&self) -> Option<&Value> {
        self.metadata.as_ref().map(|metadata| &metadata.labels)
    }

    /// Annotations, which may be null; `None` without metadata.
    pub(super) fn annotations(&self) -> Option<&Value> {
        self.metadata.as_ref().map(|metadata| &metadata.annotations)
    }

    pub(super) const fn spec(&self) -> &Value {
        &self.spec
    }
}

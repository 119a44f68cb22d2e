//! Writes to the API server: server-side apply for owned objects, small patches for shared ones. No decisions.
//! A lost race is an error like others, after which the caller observes again.

use axum::http::HeaderValue;
use axum::http::header::ACCEPT;
use countersign_api::ObjectRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, Request, ValidationDirective};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Error, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Media type that requests the metadata of an object alone.
const METADATA_ALONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Field manager of all writes.
pub const FIELD_MANAGER: &str = "countersign";

/// Writer to the API server. Errors are not retried here.
#[derive(Clone)]
pub struct Writer {
    client: Client,
}

impl Writer {
    /// Writer that uses `client`.
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Applies an object with force, so that owned fields that others changed are restored.
    pub async fn apply<K: NamespacedKind>(&self, object: &K) -> Result<K, Error> {
        let ObjectRef { namespace, name } = ObjectRef::from(object.meta());
        self.api::<K>(&namespace).patch(&name, &applying(), &Patch::Apply(object)).await
    }

    /// Deletes an object; an absent object counts as deleted. With a `uid`, an object created since under that name is
    /// not deleted.
    pub async fn delete<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        uid: Option<&str>,
    ) -> Result<(), Error> {
        let preconditions =
            uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let only = DeleteParams { preconditions, ..DeleteParams::default() };
        gone_is_fine(self.api::<K>(&object.namespace).delete(&object.name, &only).await.map(drop))
    }

    /// Patches the status of an object by a merge patch on resource version `version`; returns the new metadata.
    pub async fn patch_status<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        version: &str,
        patch: Value,
    ) -> Result<ObjectMeta, Error> {
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": patch });
        let request = Request::new(K::url_path(&(), Some(&object.namespace)));
        let mut request = request
            .patch_subresource("status", &object.name, &patching(), &Patch::Merge(patch))
            .map_err(Error::BuildRequest)?;
        // The caller knows the status that it wrote, so the API server need not return the whole object.
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ALONE));
        let stored: PartialObjectMeta<K> = self.client.request(request).await?;
        Ok(stored.metadata)
    }

    /// Sets the finalizers of an object at resource version `version`; an absent object needs none.
    pub async fn set_finalizers<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        version: &str,
        finalizers: &[String],
    ) -> Result<(), Error> {
        let patch = json!({ "metadata": { "resourceVersion": version, "finalizers": finalizers } });
        gone_is_fine(
            self.api::<K>(&object.namespace)
                .patch(&object.name, &patching(), &Patch::Merge(patch))
                .await
                .map(drop),
        )
    }

    /// Sets or removes a label of the object with this UID, not of an object created since under that name.
    pub async fn set_label<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        uid: &str,
        label: (&str, Option<&str>),
    ) -> Result<(), Error> {
        let (key, value) = label;
        let patch = json!({ "metadata": { "uid": uid, "labels": { key: value } } });
        let patched = self
            .api::<K>(&object.namespace)
            .patch_metadata(&object.name, &patching(), &Patch::Merge(patch))
            .await;
        gone_is_fine(patched.map(drop))
    }

    fn api<K: NamespacedKind>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Kubernetes object of a namespaced kind.
pub trait NamespacedKind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> NamespacedKind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// Patch parameters without field validation: objects come from typed structs, so unknown fields cannot occur.
fn patching() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
        .validation(ValidationDirective::Ignore)
}

fn applying() -> PatchParams {
    patching().force()
}

/// Merge patch (RFC 7396) that turns `before` into `after`; `None` if both are equal.
pub fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = new.iter().filter_map(|(key, value)| {
                let patch = match old.get(key) {
                    Some(before) => merge_patch(before, value)?,
                    None => value.clone(),
                };
                Some((key.clone(), patch))
            });
            let patch: serde_json::Map<String, Value> = gone.chain(changed).collect();
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (before != after).then(|| after.clone()),
    }
}

fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_turns_the_old_status_into_the_new_one_and_names_nothing_else() {
        let before =
            json!({ "same": 1, "gone": 2, "inner": { "same": true, "gone": [1], "new": null }, "list": [1] });
        let after = json!({ "same": 1, "inner": { "same": true, "new": "x" }, "list": [1, 2], "more": {} });
        let patch = merge_patch(&before, &after).unwrap();
        let wanted =
            json!({ "gone": null, "inner": { "gone": null, "new": "x" }, "list": [1, 2], "more": {} });
        assert_eq!(patch, wanted);
        assert_eq!(merge_patch(&after, &after), None);
    }
}

//! Writes to the API server: server-side apply for owned objects, small patches for shared ones. No decisions.
//! A lost race is an error like others, after which the caller observes again.

use axum::http::HeaderValue;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use countersign_api::ObjectRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, Request, ValidationDirective,
};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Error, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// Media type that requests the metadata of an object alone.
const METADATA_ALONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Answer of the API server to a JSON Patch that fails, as one does whose test fails (RFC 9110 section 15.5.21).
const UNPROCESSABLE: u16 = 422;

/// Media type of JSON Patch (RFC 6902).
const JSON_PATCH: &str = "application/json-patch+json";

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

    /// Applies fields of an object that others own, under a field manager of their own, with force. Fields that the
    /// manager had before and that are not named are given up. An object without a namespace is of a kind that has none.
    pub async fn apply_fields(
        &self,
        of: &ApiResource,
        object: &ObjectRef,
        (manager, fields): (&str, &Value),
    ) -> Result<(), Error> {
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..applying() };
        let namespace = Some(object.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let request = Request::new(DynamicObject::url_path(of, namespace));
        let request = request.patch(&object.name, &parameters, &Patch::Apply(fields));
        let mut request = request.map_err(Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ALONE));
        self.client.request::<PartialObjectMeta<DynamicObject>>(request).await.map(drop)
    }

    /// Creates an object. One of that name is left as it is, and an error, as is a field that the definition does not have.
    pub async fn create<K: NamespacedKind>(&self, namespace: &str, object: &Value) -> Result<(), Error> {
        let object = serde_json::to_vec(object).map_err(Error::SerdeError)?;
        // kube has no parameter for the validation of fields here.
        let url = format!(
            "{}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict",
            K::url_path(&(), Some(namespace))
        );
        let request = http::Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, METADATA_ALONE)
            .body(object)
            .map_err(|error| Error::BuildRequest(kube::core::request::Error::BuildRequest(error)))?;
        self.client.request::<PartialObjectMeta<K>>(request).await.map(drop)
    }

    /// Replaces the spec of the object with this UID, whatever its resource version; returns the new metadata. A field that
    /// the definition does not have is an error.
    pub async fn replace_spec<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        uid: &str,
        spec: &Value,
    ) -> Result<ObjectMeta, Error> {
        let patch = json!([
            { "op": "test", "path": "/metadata/uid", "value": uid },
            { "op": "replace", "path": "/spec", "value": spec },
        ]);
        self.patch_json::<K>(object, None, &patch, &patching().validation_strict()).await
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

    /// Changes the status of the object with this UID from `before` to `after`, whatever its resource version; returns the
    /// new metadata. The write is refused if the member `guard` of status is not as in `before`, or absent as there, so
    /// that a status of another writer is neither mixed with this one nor overwritten.
    ///
    /// For an object that its owner changes faster than a request takes: the API server itself tries again after a
    /// lost race if a patch names no resource version.
    pub async fn change_status<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        uid: &str,
        (before, after): (&Value, &Value),
        guard: &str,
    ) -> Result<ObjectMeta, Error> {
        if is_empty(before) {
            let first = first_status(uid, after);
            match self.patch_json::<K>(object, Some("status"), &first, &patching()).await {
                // The object may have a status without members, which only the other patch takes for none.
                Err(Error::Api(status)) if status.code == UNPROCESSABLE => {}
                written => return written,
            }
        }
        let patch = status_operations(uid, before, after, guard);
        self.patch_json::<K>(object, Some("status"), &patch, &patching()).await
    }

    /// Sets the finalizers of the object with this UID, if they are still those of `before`; an absent object needs none.
    pub async fn set_finalizers<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        uid: &str,
        (before, after): (&[String], &[String]),
    ) -> Result<(), Error> {
        let patch = json!([
            { "op": "test", "path": "/metadata/uid", "value": uid },
            { "op": "test", "path": "/metadata/finalizers", "value": before },
            { "op": "replace", "path": "/metadata/finalizers", "value": after },
        ]);
        gone_is_fine(self.patch_json::<K>(object, None, &patch, &patching()).await.map(drop))
    }

    /// Patches an object, or a subresource of it, by JSON Patch (RFC 6902); returns the new metadata.
    async fn patch_json<K: NamespacedKind>(
        &self,
        object: &ObjectRef,
        subresource: Option<&str>,
        patch: &Value,
        parameters: &PatchParams,
    ) -> Result<ObjectMeta, Error> {
        let request = Request::new(K::url_path(&(), Some(&object.namespace)));
        // The body and its type are replaced: kube knows JSON Patch only through another library.
        let empty = Patch::Merge(Value::Null);
        let request = match subresource {
            Some(name) => request.patch_subresource(name, &object.name, parameters, &empty),
            None => request.patch(&object.name, parameters, &empty),
        };
        let mut request = request.map_err(Error::BuildRequest)?;
        *request.body_mut() = serde_json::to_vec(patch).map_err(Error::SerdeError)?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON_PATCH));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ALONE));
        let stored: PartialObjectMeta<K> = self.client.request(request).await?;
        Ok(stored.metadata)
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
            let patch: Map<String, Value> = gone.chain(changed).collect();
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (before != after).then(|| after.clone()),
    }
}

/// True for a status without members, or for none.
fn is_empty(status: &Value) -> bool {
    status.as_object().is_none_or(Map::is_empty)
}

/// JSON Patch (RFC 6902) that gives the object with this UID its first status. The API server takes a test for null as
/// one for absence, so the patch fails on an object that has a status by now.
fn first_status(uid: &str, status: &Value) -> Value {
    json!([
        { "op": "test", "path": "/metadata/uid", "value": uid },
        { "op": "test", "path": "/status", "value": null },
        { "op": "add", "path": "/status", "value": status },
    ])
}

/// JSON Patch (RFC 6902) that turns the status `before` of the object with this UID into `after`. A `guard` that `before`
/// lacks must be absent still, which the API server tests as null.
fn status_operations(uid: &str, before: &Value, after: &Value, guard: &str) -> Value {
    let none = Map::new();
    let (old, new) = (before.as_object().unwrap_or(&none), after.as_object().unwrap_or(&none));
    let mut operations = vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": uid }),
        json!({ "op": "test", "path": format!("/status/{guard}"), "value": old.get(guard) }),
    ];
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        operations.push(json!({ "op": "remove", "path": format!("/status/{name}") }));
    }
    for (name, value) in new.iter().filter(|(name, value)| old.get(*name) != Some(*value)) {
        operations.push(json!({ "op": "add", "path": format!("/status/{name}"), "value": value }));
    }
    Value::Array(operations)
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

    #[test]
    fn a_status_is_changed_only_on_the_object_and_the_verdict_that_it_was_planned_from() {
        let before = json!({ "verdict": { "outcome": "verified" }, "gone": 1, "same": true });
        let after = json!({ "verdict": { "outcome": "refused" }, "new": [1], "same": true });
        let expected = json!([
            { "op": "test", "path": "/metadata/uid", "value": "uid-1" },
            { "op": "test", "path": "/status/verdict", "value": { "outcome": "verified" } },
            { "op": "remove", "path": "/status/gone" },
            { "op": "add", "path": "/status/new", "value": [1] },
            { "op": "add", "path": "/status/verdict", "value": { "outcome": "refused" } },
        ]);
        assert_eq!(status_operations("uid-1", &before, &after, "verdict"), expected);
    }

    #[test]
    fn a_status_without_the_guard_is_changed_only_while_the_guard_is_absent() {
        let after = json!({ "verdict": { "outcome": "refused" } });
        let uid = json!({ "op": "test", "path": "/metadata/uid", "value": "uid-1" });
        let absent = json!({ "op": "test", "path": "/status/verdict", "value": null });
        let add = json!({ "op": "add", "path": "/status/verdict", "value": { "outcome": "refused" } });
        for before in [json!({}), Value::Null, json!({ "protocol": "a2a" })] {
            let remove = (!is_empty(&before)).then(|| json!({ "op": "remove", "path": "/status/protocol" }));
            let expected: Vec<Value> =
                [&uid, &absent].into_iter().chain(&remove).chain([&add]).cloned().collect();
            assert_eq!(status_operations("uid-1", &before, &after, "verdict"), json!(expected), "{before}");
        }
        let none = json!({ "op": "test", "path": "/status", "value": null });
        let whole = json!({ "op": "add", "path": "/status", "value": after });
        assert_eq!(first_status("uid-1", &after), json!([uid, none, whole]));
    }
}

//! Fields of enrolment as objects for server-side apply.

use crate::input::workload::WorkloadRef;
use countersign_api::keys::{
    CONFIG_HASH_ANNOTATION, MTLS_MODE_ANNOTATION, SIDECAR_ANNOTATION, SIDECAR_CONFIG_ANNOTATION,
    SIDECAR_SPIFFE_ANNOTATION,
};
use serde_json::{Map, Value, json};

/// Annotations of a Pod template that enrolment writes.
pub(super) const OWN_ANNOTATIONS: [&str; 5] = [
    CONFIG_HASH_ANNOTATION,
    MTLS_MODE_ANNOTATION,
    SIDECAR_ANNOTATION,
    SIDECAR_CONFIG_ANNOTATION,
    SIDECAR_SPIFFE_ANNOTATION,
];

/// Object for server-side apply that gives up every field. Its resource version keeps it from taking the fields of whoever
/// enrolled the workload since.
pub(super) fn released(workload: (&WorkloadRef, Option<&str>), uid: &str, resource_version: &str) -> Value {
    let mut object = identity(workload, uid);
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.insert("resourceVersion".to_owned(), json!(resource_version));
    }
    Value::Object(object)
}

/// Workload of a UID, in the API version in which it was read, or else the first of its kind.
pub(super) fn identity((workload, version): (&WorkloadRef, Option<&str>), uid: &str) -> Map<String, Value> {
    let (namespace, name) = (workload.object.namespace.as_str(), workload.object.name.as_str());
    let members = [
        ("apiVersion", json!(version.unwrap_or_else(|| workload.kind.api_version()))),
        ("kind", json!(workload.kind.as_str())),
        ("metadata", json!({ "namespace": namespace, "name": name, "uid": uid })),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

//! Custom resource definitions.

use crate::check::finding::Finding;
use crate::check::unread::Answer;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

const ID: &str = "crds";
/// Version that the operator works with.
const VERSION: &str = "v1alpha1";
const FIX: &str =
    "apply the definitions: `countersign crd | kubectl apply --server-side -f -`, or upgrade the chart";

/// Judges the definition of a kind.
pub(super) fn judge_definition(name: &str, answer: &Answer<CustomResourceDefinition>) -> Finding {
    let definition = match answer {
        Ok(definition) => definition,
        Err(unread) => {
            return Finding::unread(ID, name, unread, || Finding::fail(ID, name, "does not exist", FIX));
        }
    };
    if definition.metadata.deletion_timestamp.is_some() {
        return Finding::fail(ID, name, "is being deleted, with all objects of the kind", FIX);
    }
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_established = conditions.into_iter().any(|one| one.type_ == "Established" && one.status == "True");
    if !is_established {
        let fix = "wait a moment; if it stays, `kubectl describe crd` says why";
        return Finding::fail(ID, name, "is not established, so nothing serves it", fix);
    }
    if !definition.spec.versions.iter().any(|version| version.name == VERSION && version.served) {
        return Finding::fail(ID, name, &format!("does not serve {VERSION}"), FIX);
    }
    Finding::ok(ID, name, &format!("serves {VERSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::{Value, json};

    #[test]
    fn a_definition_has_to_be_established_and_to_serve_the_version() {
        let definition = |established: &str, version: &str, more: Value| {
            let mut metadata = json!({ "name": "x" });
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let object = json!({ "metadata": metadata,
                "spec": { "group": "g", "scope": "Namespaced", "names": { "kind": "X", "plural": "xs" },
                    "versions": [{ "name": version, "served": true, "storage": true }] },
                "status": { "conditions": [{ "type": "Established", "status": established }] } });
            Ok(serde_json::from_value(object).unwrap())
        };
        let deleted = json!({ "deletionTimestamp": "2026-11-30T00:00:00Z" });
        for (answer, status, found) in [
            (definition("True", VERSION, json!({})), Status::Ok, "serves v1alpha1"),
            (definition("False", VERSION, json!({})), Status::Fail, "not established"),
            (definition("True", "v1", json!({})), Status::Fail, "does not serve v1alpha1"),
            (definition("True", VERSION, deleted), Status::Fail, "is being deleted"),
            (Err(Unread::Absent), Status::Fail, "does not exist"),
            (Err(Unread::Forbidden("get crds".to_owned())), Status::Skipped, "you may not get crds"),
        ] {
            let judged = judge_definition("xs.g", &answer);
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
    }
}

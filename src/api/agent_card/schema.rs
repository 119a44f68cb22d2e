//! Parts of the schema that the Rust types do not express, in the form that controller-gen writes.

use countersign_core::limits::UNCOVERED_LISTED;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema of an object with members of any type.
pub(super) fn any_members(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "x-kubernetes-preserve-unknown-fields": true },
    })
}

/// The schema of a list of at most [`UNCOVERED_LISTED`] JSON Pointers.
pub(super) fn pointers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string" }, "maxItems": UNCOVERED_LISTED })
}

/// The schema of a list of at most 64 SPIFFE IDs of at most 2048 bytes.
pub(super) fn spiffe_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "maxLength": 2048 }, "maxItems": 64 })
}

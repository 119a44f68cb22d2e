//! Conditions of an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Condition of this type.
pub(super) fn find<'c>(conditions: &'c [Condition], kind: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

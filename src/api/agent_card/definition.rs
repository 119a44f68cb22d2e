//! The `CustomResourceDefinition` of AgentCard: the generated schema, adapted to the one that controller-gen wrote for
//! the existing operator, with CEL rules whose messages tell the author of a manifest what to change.

use super::spec::AgentCard;
use crate::definition::{normalize, property, rule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::CustomResourceExt;

/// Message for a manifest without `spec.targetRef`: that of the existing operator's webhook, which clients may match.
const TARGET_REF_REQUIRED: &str = "spec.targetRef is required: specify the workload backing this agent";

/// Builds the definition that the chart installs.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = AgentCard::crd();
    definition.spec.names.list_kind = Some("AgentCardList".to_owned());
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(root) = schema {
            normalize(root);
            // The existing definition does not require `spec`, so stored objects may lack it.
            root.required = None;
            add_rules(root);
        }
    }
    definition
}

fn add_rules(root: &mut JSONSchemaProps) {
    // The rule applies on creation alone: the status of an object that was stored without `spec` must stay writable.
    let created_with_spec = ValidationRule {
        optional_old_self: Some(true),
        ..rule("has(self.spec) || oldSelf.optMap(old, !has(old.spec)).orValue(false)", TARGET_REF_REQUIRED)
    };
    root.x_kubernetes_validations = Some(vec![created_with_spec]);
    let Some(spec) = property(root, "spec") else { return };
    spec.x_kubernetes_validations = Some(vec![rule("has(self.targetRef)", TARGET_REF_REQUIRED)]);
    let Some(binding) = property(spec, "identityBinding") else { return };
    let in_domain = rule(
        "!has(self.trustDomain) || !has(self.allowedSpiffeIDs) || \
         self.allowedSpiffeIDs.all(id, id.split('/').size() < 3 || id.split('/')[2] == self.trustDomain)",
        "spec.identityBinding.allowedSpiffeIDs must belong to spec.identityBinding.trustDomain: \
         change the IDs or leave trustDomain out",
    );
    binding.x_kubernetes_validations = Some(vec![in_domain]);
    let Some(ids) = property(binding, "allowedSpiffeIDs") else { return };
    if let Some(JSONSchemaPropsOrArray::Schema(id)) = &mut ids.items {
        id.x_kubernetes_validations = Some(vec![rule(
            r"self.matches('^spiffe://[a-z0-9._-]{1,255}(/[a-zA-Z0-9._-]+)+$') && !self.matches('/[.]{1,2}(/|$)')",
            "must be the SPIFFE ID of a workload, for example spiffe://example.org/ns/shop/sa/cart",
        )]);
    }
}

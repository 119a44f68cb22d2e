//! The `CustomResourceDefinition` of `AgentRuntime`: the generated schema, adapted to the one that controller-gen wrote for
//! the existing operator.

use super::spec::AgentRuntime;
use crate::definition::normalize;
use crate::keys::Family;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Builds the definition that the chart installs in the group of a family. Both have one schema, so that the spec of one is
/// that of the other.
pub fn definition(family: Family) -> CustomResourceDefinition {
    let mut definition = AgentRuntime::crd();
    definition.metadata.name = Some(format!("{}.{}", definition.spec.names.plural, family.group()));
    family.group().clone_into(&mut definition.spec.group);
    definition.spec.names.list_kind = Some("AgentRuntimeList".to_owned());
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(root) = schema {
            normalize(root);
        }
    }
    definition
}

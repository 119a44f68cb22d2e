//! The `CustomResourceDefinition` of `AgentRuntime`: the generated schema, adapted to the one that controller-gen wrote for
//! the existing operator.

use super::spec::AgentRuntime;
use crate::definition::normalize;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Builds the definition that the chart installs.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = AgentRuntime::crd();
    definition.spec.names.list_kind = Some("AgentRuntimeList".to_owned());
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(root) = schema {
            normalize(root);
        }
    }
    definition
}

//! Default AgentCard of an agent without one, under the name that existing tools look for.

use crate::input::delivered::default_card_name;
use crate::input::workload::{Workload, WorkloadRef};
use countersign_api::ObjectRef;
use countersign_api::agent_card::{AgentCard, AgentCardSpec, IdentityBinding, TargetRef};
use countersign_api::keys::{MANAGED_BY, MANAGED_BY_APP_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// Plans the AgentCard of a workload without one; the workload owns it.
///
/// Without a trust domain the AgentCard requests no identity binding, because none could ever hold.
pub fn plan_default_card(key: &WorkloadRef, workload: &Workload, has_trust_domain: bool) -> AgentCard {
    let ObjectRef { namespace, name } = &key.object;
    let kind = key.kind.as_str();
    let labels = [
        ("app.kubernetes.io/name", workload.app_name.clone().unwrap_or_else(|| name.to_string())),
        (MANAGED_BY_APP_LABEL, MANAGED_BY.to_owned()),
    ];
    let mut card = AgentCard::new(
        &default_card_name(name, kind),
        AgentCardSpec {
            target_ref: Some(TargetRef {
                api_version: key.kind.api_version().to_owned(),
                kind: kind.to_owned(),
                name: name.to_string(),
            }),
            identity_binding: has_trust_domain.then(IdentityBinding::default),
            ..AgentCardSpec::default()
        },
    );
    card.metadata = ObjectMeta {
        name: card.metadata.name,
        namespace: Some(namespace.to_string()),
        labels: Some(
            labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        ),
        owner_references: Some(vec![OwnerReference {
            api_version: key.kind.api_version().to_owned(),
            kind: kind.to_owned(),
            name: name.to_string(),
            uid: workload.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    };
    card
}

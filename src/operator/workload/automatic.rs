//! The AgentCard that is made for an agent that has none, and taken away when somebody wrote one.
//! It is owned by its workload and goes with it; labels that disappear do not delete it.

use crate::context::Context;
use crate::index::{Card, Kind, ObjectRef, Workload};
use crate::key::{self, WorkloadKey};
use countersign_api::agent_card::{AgentCard, AgentCardSpec, IdentityBinding, TargetRef};
use countersign_api::keys::{MANAGED_BY, MANAGED_BY_APP_LABEL};
use countersign_controller::queue::Urgency;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// Sees to it that exactly one kind of card points at the workload: somebody's, or else ours.
pub(crate) async fn keep_card(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
) -> Result<(), kube::Error> {
    if workload.protocol.is_none() {
        return Ok(());
    }
    let cards = context.index.cards_of(key);
    if cards.is_empty() {
        // A list that is not complete yet would make a card that somebody wrote already.
        if context.index.cards.is_synced() {
            let card = plan_card(key, workload, context.config.trust_domain.is_some());
            let stored = context.writer.apply(&card).await?;
            context.metrics.wrote("agentcards");
            // Until it was judged, the workload has a card without a verdict, and not none.
            if let Some(stored) = Card::of(stored) {
                let object = ObjectRef::new(&key.object.namespace, stored.reference.name());
                context.index.cards.insert_new(object.clone(), stored);
                context.index.enqueue(key::card(object), Urgency::Urgent);
            }
        }
        return Ok(());
    }
    if cards.iter().any(|(_, card)| !card.is_automatic) {
        for (object, card) in cards.iter().filter(|(_, card)| card.is_automatic) {
            context.writer.delete::<AgentCard>(object, Some(&card.uid)).await?;
            context.metrics.wrote("agentcards");
        }
    }
    Ok(())
}

/// The card of a workload, with the name that existing tools look for.
fn plan_card(key: &WorkloadKey, workload: &Workload, has_trust_domain: bool) -> AgentCard {
    let ObjectRef { namespace, name } = &key.object;
    let kind = key.kind.as_str();
    let labels = [
        ("app.kubernetes.io/name", workload.app_name.clone().unwrap_or_else(|| name.clone())),
        (MANAGED_BY_APP_LABEL, MANAGED_BY.to_owned()),
    ];
    let mut card = AgentCard::new(
        &format!("{name}-{}-card", kind.to_lowercase()),
        AgentCardSpec {
            target_ref: Some(TargetRef {
                api_version: Kind::API_VERSION.to_owned(),
                kind: kind.to_owned(),
                name: name.clone(),
            }),
            identity_binding: has_trust_domain.then(IdentityBinding::default),
            ..AgentCardSpec::default()
        },
    );
    card.metadata = ObjectMeta {
        name: card.metadata.name,
        namespace: Some(namespace.clone()),
        labels: Some(
            labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        ),
        owner_references: Some(vec![OwnerReference {
            api_version: Kind::API_VERSION.to_owned(),
            kind: kind.to_owned(),
            name: name.clone(),
            uid: workload.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    };
    card
}

//! Card of the agent in the status of its `AgentRuntime`, so that one object tells the whole story. It follows the AgentCard
//! of the workload, and nothing is decided by it.

use crate::condition::Values;
use countersign_api::agent_card::{AgentCardData, AgentCardStatus, ConditionType, Outcome};
use countersign_api::agent_runtime::{AgentRuntimeStatus, CardStatus, RuntimeReason, TransportSecurity};

/// AgentCard of an enrolled agent.
#[derive(Clone, Copy, Debug)]
pub struct ShownCard<'a> {
    /// Name of the AgentCard.
    pub name: &'a str,
    /// Its status, without the content of the card.
    pub status: &'a AgentCardStatus,
    /// Content of the card, where [`lacks_content`] asks for it.
    pub content: Option<&'a AgentCardData>,
}

impl ShownCard<'_> {
    fn is_verified(&self) -> bool {
        self.status.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::Verified)
    }
}

/// True if the content of a verified card has to be read, because status shows another or none.
pub fn lacks_content(shown: &AgentRuntimeStatus, card: &ShownCard<'_>) -> bool {
    let has = shown.card.as_ref().and_then(|card| card.card_hash.as_deref());
    card.is_verified() && card.status.card_id.is_some() && card.status.card_id.as_deref() != has
}

/// Card to show: that of a verified agent alone, because what a refused one says proves nothing.
pub(super) fn plan_card(before: Option<&CardStatus>, card: &ShownCard<'_>) -> Option<CardStatus> {
    let status = card.status;
    let data = match (card.content, before) {
        (Some(content), _) => content.clone(),
        (None, Some(before)) if before.card_hash == status.card_id => before.data.clone(),
        // Not read yet; the next turn shows it.
        (None, _) => return None,
    };
    let attested = status.attested_agent_spiffe_id.clone();
    card.is_verified().then(|| CardStatus {
        data,
        last_card_fetch_time: status.last_sync_time.clone(),
        card_hash: status.card_id.clone(),
        protocol: status.protocol.clone(),
        transport_security: Some(match attested {
            Some(_) => TransportSecurity::Mtls,
            None => TransportSecurity::Http,
        }),
        valid_signature: status.valid_signature,
        signature_key_id: status.signature_key_id.clone(),
        signature_verification_details: status.signature_verification_details.clone(),
        attested_agent_spiffe_id: attested,
    })
}

/// What the AgentCard says about trust; `None` if it says nothing.
pub(super) fn plan_verified(card: Option<&ShownCard<'_>>) -> Option<Values> {
    let Some(card) = card else {
        let message = "there is no AgentCard of the workload yet; the operator makes one".to_owned();
        return Some(Values {
            status: "False",
            reason: RuntimeReason::CardMissing.as_str().to_owned(),
            message,
        });
    };
    let mut all = card.status.conditions.iter();
    let found = all.find(|condition| condition.type_ == ConditionType::Verified.as_str())?;
    let status = if found.status == "True" { "True" } else { "False" };
    let code = card.status.verdict.as_ref().and_then(|verdict| verdict.reason.clone());
    let message = format!("AgentCard {}: {}", card.name, found.message);
    Some(Values { status, reason: code.unwrap_or_else(|| found.reason.clone()), message })
}

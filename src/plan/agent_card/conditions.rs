//! Conditions of an AgentCard. A transition time changes only with the status of its condition.
//! In audit mode the verdict is unchanged (rule 60), and conditions say what enforcement would have done.

use super::result::{Proof, Refused, VerificationResult};
use super::status_input::StatusInput;
use crate::Mode;
use countersign_api::agent_card::ConditionReason as Why;
use countersign_api::agent_card::{ConditionType, time};
use countersign_core::refusal::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Type, status, reason and message of one condition.
type ConditionValues = (ConditionType, bool, Why, String);

/// Stage of verification at which a card was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before fetching: no workload to fetch the card from.
    Workload(Why),
    /// Fetching or parsing the card.
    Fetch,
    /// Verifying the signatures.
    Signature,
    /// Binding a signed card to the workload.
    Binding,
}

impl Stage {
    fn of(refused: &Refused, has_content: bool) -> Self {
        match refused.refusal.reason() {
            Reason::WorkloadNotFound => Self::Workload(Why::WorkloadNotFound),
            Reason::NotAgentWorkload => Self::Workload(Why::NotAgentWorkload),
            Reason::WorkloadNotReady => Self::Workload(Why::WorkloadNotReady),
            Reason::ProtocolMissing => Self::Workload(Why::NoProtocol),
            Reason::ServiceNotFound | Reason::ServiceEndpointNotOwned => Self::Workload(Why::ServiceNotFound),
            Reason::CardPaused => Self::Workload(Why::Paused),
            // The TLS peer was refused before a card was requested (rule 53).
            Reason::PeerIdentityMismatch if !has_content => Self::Fetch,
            Reason::IdentityMismatch
            | Reason::SourceNotOwned
            | Reason::PeerIdentityMismatch
            | Reason::OriginNotOwned
            | Reason::EndpointMalformed
            | Reason::EndpointNotOwned
            | Reason::EndpointNotEncrypted
            | Reason::ReplayOlderCard
            | Reason::ReplayWeaker => Self::Binding,
            _ if has_content => Self::Signature,
            _ => Self::Fetch,
        }
    }
}

/// Plans the conditions that follow `before`.
pub fn conditions(
    before: &[Condition],
    result: &VerificationResult,
    about: StatusInput<'_>,
) -> Vec<Condition> {
    let conditions = match &result.outcome {
        Ok(proof) => of_proof(proof, result, about),
        Err(refused) => of_refusal(refused, result, about),
    };
    conditions.into_iter().map(|values| condition(before, values, about)).collect()
}

fn of_proof(proof: &Proof, result: &VerificationResult, about: StatusInput<'_>) -> Vec<ConditionValues> {
    let verified = if let Some(peer) = &proof.attested {
        (Why::MtlsVerified, format!("Agent SPIFFE ID: {peer}"))
    } else {
        let key_id = proof.key_id.as_deref().unwrap_or_default();
        (Why::SignatureVerified, format!("JWS signature valid (keyID={key_id})"))
    };
    let bound = format!("SPIFFE ID {} is the identity of the workload", proof.spiffe_id);
    vec![
        (ConditionType::Synced, true, Why::SyncSucceeded, fetched(result, about)),
        (
            ConditionType::SignatureVerified,
            true,
            Why::SignatureValid,
            format!("signed by {}", proof.spiffe_id),
        ),
        (ConditionType::Verified, true, verified.0, verified.1),
        (ConditionType::Bound, true, Why::Bound, bound),
        (ConditionType::Ready, true, Why::ReadyToServe, "Agent index is ready for queries".to_owned()),
    ]
}

fn of_refusal(
    refused: &Refused,
    result: &VerificationResult,
    about: StatusInput<'_>,
) -> Vec<ConditionValues> {
    let has_content = result.content.is_some();
    let stage = Stage::of(refused, has_content);
    let message = refused.refusal.to_string();
    let audit = about.mode == Mode::Audit;
    let mut conditions = Vec::new();
    let (synced, verified) = match stage {
        Stage::Workload(why) => ((false, why, message.clone()), Why::NotVerified),
        Stage::Fetch => ((false, Why::FetchFailed, message.clone()), Why::FetchFailed),
        Stage::Signature | Stage::Binding if audit => {
            let text =
                format!("{} (signature verification failed but audit mode enabled)", fetched(result, about));
            ((true, Why::SyncSucceeded, text), Why::SignatureInvalid)
        }
        Stage::Signature => ((false, Why::SignatureInvalid, message.clone()), Why::SignatureInvalid),
        Stage::Binding => ((true, Why::SyncSucceeded, fetched(result, about)), Why::NotVerified),
    };
    conditions.push((ConditionType::Synced, synced.0, synced.1, synced.2));
    if matches!(stage, Stage::Signature | Stage::Binding) {
        conditions.push(match (&refused.signer, audit) {
            (Some(signer), _) => {
                (ConditionType::SignatureVerified, true, Why::SignatureValid, format!("signed by {signer}"))
            }
            (None, true) => {
                let text = format!("{message} (audit mode: allowed)");
                (ConditionType::SignatureVerified, false, Why::SignatureInvalidAudit, text)
            }
            (None, false) => {
                (ConditionType::SignatureVerified, false, Why::SignatureInvalid, message.clone())
            }
        });
    }
    conditions.push((ConditionType::Verified, false, verified, message.clone()));
    let bound = if let Stage::Workload(_) = stage { Why::AgentNotFound } else { Why::NotBound };
    conditions.push((ConditionType::Bound, false, bound, message.clone()));
    conditions.push(if synced.0 && audit {
        let text = format!("audit mode: would be refused: {message}");
        (ConditionType::Ready, true, Why::ReadyToServe, text)
    } else {
        let why = if has_content { Why::VerificationFailed } else { Why::SyncFailed };
        (ConditionType::Ready, false, why, message)
    });
    conditions
}

fn fetched(result: &VerificationResult, about: StatusInput<'_>) -> String {
    let all = format!("Successfully fetched agent card for {}", about.name);
    match result.unreachable.as_slice() {
        [] => all,
        unreachable => format!("{all}, but not from {}", unreachable.join("; ")),
    }
}

fn condition(
    before: &[Condition],
    (kind, holds, why, message): ConditionValues,
    about: StatusInput<'_>,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let last = before.iter().find(|condition| condition.type_ == kind.as_str() && condition.status == status);
    Condition {
        last_transition_time: last.map_or_else(|| time(about.now), |last| last.last_transition_time.clone()),
        message,
        observed_generation: Some(about.generation),
        reason: why.as_str().to_owned(),
        status: status.to_owned(),
        type_: kind.as_str().to_owned(),
    }
}

/// True if the condition `Ready` is true.
pub fn is_ready_in(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

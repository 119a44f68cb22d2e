//! Conditions of an AgentCard.
//! In audit mode the verdict is unchanged (rule 60), and conditions say what enforcement would have done.

use super::enforcement::{Enforcement, UNDECIDED, condition_of};
use super::result::{Proof, Refused, VerificationResult};
use super::status_input::StatusInput;
use crate::Mode;
use crate::condition::{Values, following, word};
use countersign_api::agent_card::ConditionReason as Why;
use countersign_api::agent_card::SYNC_PERIOD_DEFAULT;
use countersign_api::agent_card::{AgentCardStatus, ConditionType, Outcome};
use countersign_core::refusal::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Type, status, reason and message of one condition.
type ConditionValues = (ConditionType, bool, Why, String);

/// Stage of verification at which a card was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before fetching: no workload to fetch the card from.
    Workload(Why),
    /// Before fetching: no card of the workload could be accepted, whatever it says.
    Expectation,
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
            Reason::LabelsConflict | Reason::LabelsTooMany => Self::Workload(Why::WorkloadError),
            // What the workload may be called and which authorities prove it is known before its card.
            Reason::TrustDomainMismatch
            | Reason::TrustDomainUnknown
            | Reason::SpiffeIdMalformed
            | Reason::IdentityMismatch
            | Reason::BundleMalformed
            | Reason::BundleRollback
            | Reason::BundleStale
            | Reason::BundleEmpty
                if !has_content =>
            {
                Self::Expectation
            }
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

/// Plans the conditions that follow those of the status `before`.
pub fn conditions(
    before: &AgentCardStatus,
    result: &VerificationResult,
    about: StatusInput<'_>,
) -> Vec<Condition> {
    let enforced = enforced(before, result.outcome.is_ok(), about);
    let before = before.conditions.as_slice();
    let values = match &result.outcome {
        Ok(proof) => of_proof(proof, result, about, &enforced),
        Err(refused) => of_refusal(refused, result, about),
    };
    let mut conditions: Vec<Condition> =
        values.into_iter().map(|values| condition(before, values, about)).collect();
    let ready = conditions.pop();
    conditions.push(stored(before, ConditionType::Enforced, enforced, about));
    conditions.extend(ready);
    conditions
}

/// Condition `Enforced` of an outcome. Until a turn of the workload has seen the outcome, the condition stays as it was if
/// status shows this outcome about this workload: a restart of the operator changes nothing in the cluster. What holds
/// another verdict does not hold this one.
fn enforced(before: &AgentCardStatus, is_verified: bool, about: StatusInput<'_>) -> Values {
    let known = match (about.mode, about.enforcement) {
        (Mode::Audit, _) => Some(&Enforcement::Audit),
        (Mode::Enforce, None | Some(Enforcement::Audit | Enforcement::Undecided)) => None,
        (Mode::Enforce, known) => known,
    };
    if let (Mode::Enforce, None) = (about.mode, about.target) {
        let message = "there is no agent workload that policies could hold".to_owned();
        return Values { status: "False", reason: Why::AgentNotFound.as_str().to_owned(), message };
    }
    if let Some(known) = known {
        let (holds, why, message) = condition_of(known, is_verified);
        return Values { status: word(holds), reason: why.as_str().to_owned(), message };
    }
    let shows_this = before.target_ref.as_ref() == about.target
        && before.verdict.as_ref().is_some_and(|last| (last.outcome == Outcome::Verified) == is_verified);
    let mut shown = before.conditions.iter().filter(|_| shows_this);
    let last = shown.find(|condition| condition.type_ == ConditionType::Enforced.as_str());
    // What audit mode and a missing workload say is over by now.
    let over = [Why::AuditMode.as_str(), Why::AgentNotFound.as_str()];
    match last.filter(|last| !over.contains(&last.reason.as_str())) {
        Some(last) => Values {
            status: word(last.status == "True"),
            reason: last.reason.clone(),
            message: last.message.clone(),
        },
        None => Values {
            status: word(false),
            reason: Why::PolicyPending.as_str().to_owned(),
            message: UNDECIDED.to_owned(),
        },
    }
}

fn of_proof(
    proof: &Proof,
    result: &VerificationResult,
    about: StatusInput<'_>,
    enforced: &Values,
) -> Vec<ConditionValues> {
    let verified = if let Some(peer) = &proof.attested {
        (Why::MtlsVerified, format!("Agent SPIFFE ID: {peer}"))
    } else {
        let key_id = proof.key_id.as_deref().unwrap_or_default();
        (Why::SignatureVerified, format!("JWS signature valid (keyID={key_id})"))
    };
    let bound = format!("SPIFFE ID {} is the identity of the workload", proof.spiffe_id);
    let ready = if about.mode == Mode::Enforce && enforced.status != word(true) {
        let message = format!("the card is verified, but the verdict is not enforced: {}", enforced.message);
        (ConditionType::Ready, false, Why::NotEnforced, message)
    } else {
        (ConditionType::Ready, true, Why::ReadyToServe, "Agent index is ready for queries".to_owned())
    };
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
        ready,
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
        Stage::Expectation => ((false, Why::NotRequested, message.clone()), Why::NotVerified),
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
    let mut told = format!("Successfully fetched agent card for {}", about.name);
    if !result.unreachable.is_empty() {
        told = format!("{told}, but not from {}", result.unreachable.join("; "));
    }
    match about.period_problem {
        None => told,
        Some(problem) => {
            format!("{told}; spec.syncPeriod {problem}, so {SYNC_PERIOD_DEFAULT:?} counts")
        }
    }
}

fn condition(
    before: &[Condition],
    (kind, holds, why, message): ConditionValues,
    about: StatusInput<'_>,
) -> Condition {
    let values = Values { status: word(holds), reason: why.as_str().to_owned(), message };
    stored(before, kind, values, about)
}

fn stored(before: &[Condition], kind: ConditionType, values: Values, about: StatusInput<'_>) -> Condition {
    following(before, kind.as_str(), values, (about.generation, about.now))
}

/// True if the condition `Ready` is true.
pub fn is_ready_in(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::result::CardContent;
    use countersign_core::encoding::sha256;
    use countersign_core::refusal::Refusal;
    use countersign_core::time::Timestamp;

    #[test]
    fn a_refusal_is_told_at_the_stage_that_it_happened_at() {
        let content = CardContent { digest: sha256(b"card"), data: None };
        let about = StatusInput {
            generation: 1,
            name: "weather",
            target: None,
            protocol: None,
            mode: Mode::Enforce,
            enforcement: None,
            period_problem: None,
            has_binding: false,
            history: None,
            now: Timestamp::from_unix(0),
        };
        let of = |reason, content: Option<&CardContent>| {
            let outcome = Err(Refusal::new(reason, "found").into());
            let result = VerificationResult { content: content.cloned(), outcome, unreachable: Vec::new() };
            let all = conditions(&AgentCardStatus::default(), &result, about);
            ["Synced", "Verified", "Bound"].map(|kind| {
                let one = all.iter().find(|condition| condition.type_ == kind).unwrap();
                format!("{} {}", one.status, one.reason)
            })
        };
        let unasked = ["False NotRequested", "False NotVerified", "False NotBound"];
        let unsigned = ["False SignatureInvalid", "False SignatureInvalid", "False NotBound"];
        for (reason, without, with) in [
            (Reason::TrustDomainMismatch, unasked, unsigned),
            (Reason::TrustDomainUnknown, unasked, unsigned),
            (Reason::BundleStale, unasked, unsigned),
            (
                Reason::IdentityMismatch,
                unasked,
                ["True SyncSucceeded", "False NotVerified", "False NotBound"],
            ),
            (Reason::FetchTimeout, ["False FetchFailed", "False FetchFailed", "False NotBound"], unsigned),
        ] {
            assert_eq!(of(reason, None), without, "{reason}");
            assert_eq!(of(reason, Some(&content)), with, "{reason}");
        }
        let unread = ["False WorkloadError", "False NotVerified", "False AgentNotFound"];
        for reason in [Reason::LabelsConflict, Reason::LabelsTooMany] {
            assert_eq!(of(reason, None), unread);
            assert_eq!(of(reason, Some(&content)), unread);
        }
    }
}

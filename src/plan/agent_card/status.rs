//! Plan of the status of an AgentCard from a verification result. Pure: equal input gives equal status.
//! Condition types and reasons are those that existing readers of the status know.

use super::conditions::conditions;
use super::result::{Proof, Refused, VerificationResult};
use super::status_input::StatusInput;
use countersign_api::agent_card::{AgentCardStatus, BindingStatus, CardVerdict, Outcome, time};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::time::Timestamp;

/// Plans the status that follows `before`, without its member `card`.
pub fn plan_status(
    before: &AgentCardStatus,
    result: &VerificationResult,
    about: StatusInput<'_>,
) -> AgentCardStatus {
    let result = &with_old_signature(before, with_old_time(before, result), about.now);
    let proof = result.outcome.as_ref().ok();
    let refused = result.outcome.as_ref().err();
    let signer = proof.map(|proof| &proof.spiffe_id).or(refused.and_then(|refused| refused.signer.as_ref()));
    let card_id = result.card_id();
    let same_card = card_id.is_none() || card_id == before.card_id;
    let is_parsed = result.content.is_some();
    let mut status = AgentCardStatus {
        card: None,
        conditions: conditions(before, result, about),
        last_sync_time: if same_card { before.last_sync_time.clone() } else { Some(time(about.now)) },
        protocol: about.protocol.map(str::to_owned).or_else(|| before.protocol.clone()),
        target_ref: about.target.cloned(),
        valid_signature: is_parsed.then_some(signer.is_some()),
        signature_verification_details: is_parsed.then(|| details(&result.outcome)),
        signature_key_id: proof.and_then(|proof| proof.key_id.clone()),
        signature_spiffe_id: signer.map(ToString::to_string),
        signature_identity_match: about.has_binding.then_some(proof.is_some()),
        card_id: card_id.or_else(|| before.card_id.clone()),
        attested_agent_spiffe_id: proof.and_then(|proof| proof.attested.as_ref()).map(ToString::to_string),
        expected_spiffe_id: proof.map(|proof| proof.spiffe_id.to_string()),
        verdict: Some(verdict(before.verdict.as_ref(), proof, refused, about)),
        observed_generation: Some(about.generation),
        ..AgentCardStatus::default()
    };
    status.binding_status = Some(binding(before.binding_status.as_ref(), &result.outcome, about.now));
    status
}

/// Result with the signature that status already shows, while that signature is valid. Replicas sign separately
/// and sign again before the end, which changes nothing about the card and is not worth a write.
fn with_old_signature(
    before: &AgentCardStatus,
    mut result: VerificationResult,
    now: Timestamp,
) -> VerificationResult {
    let (Ok(proof), Some(written)) = (&mut result.outcome, &before.verdict) else { return result };
    let end = written.not_after.as_ref().map(|end| Timestamp::from_unix(end.0.as_second()));
    let is_same = written.outcome == Outcome::Verified
        && written.digest == Some(proof.accepted.content().to_string())
        && written.algorithm.as_deref() == Some(proof.algorithm.name())
        && before.signature_spiffe_id == Some(proof.spiffe_id.to_string());
    if let Some(end) = end.filter(|end| is_same && now < *end) {
        proof.not_after = end;
        proof.key_id.clone_from(&before.signature_key_id);
    }
    result
}

/// Reasons whose message contains the time of the evaluation.
const TIMED: [Reason; 5] = [
    Reason::CertificateNotYetValid,
    Reason::CertificateExpired,
    Reason::AnchorNotValid,
    Reason::SignatureTimes,
    Reason::BundleStale,
];

/// Result with the message that status already shows, where only the time can differ. Otherwise every evaluation of
/// an expired card would write status again.
fn with_old_time(before: &AgentCardStatus, result: &VerificationResult) -> VerificationResult {
    let mut result = result.clone();
    let same_card = result.content.as_ref().map(|content| content.digest.to_string()) == before.card_id;
    if let (Err(refused), Some(written)) = (&mut result.outcome, &before.verdict) {
        let reason = refused.refusal.reason();
        if TIMED.contains(&reason)
            && (same_card || reason == Reason::BundleStale)
            && written.reason.as_deref() == Some(reason.code())
            && let Some(message) = &written.message
        {
            refused.refusal = Refusal::new(reason, message);
        }
    }
    result
}

fn verdict(
    before: Option<&CardVerdict>,
    proof: Option<&Proof>,
    refused: Option<&Refused>,
    about: StatusInput<'_>,
) -> CardVerdict {
    let refusal = refused.map(|refused| &refused.refusal);
    let mut verdict = CardVerdict {
        outcome: if proof.is_some() { Outcome::Verified } else { Outcome::Refused },
        reason: refusal.map(|refusal| refusal.reason().code().to_owned()),
        message: refusal.map(|refusal| refusal.message().to_owned()),
        fix: refusal.map(|refusal| refusal.reason().fix().to_owned()),
        profile: None,
        algorithm: before.and_then(|before| before.algorithm.clone()),
        digest: before.and_then(|before| before.digest.clone()),
        not_after: proof.map(|proof| time(proof.not_after)),
        coverage: proof.map(|proof| proof.coverage.to_owned()),
        uncovered: proof.map(|proof| proof.uncovered.clone()).unwrap_or_default(),
        first_verified: before.and_then(|before| before.first_verified.clone()),
        contents: Vec::new(),
        issued_after: None,
        uncovered_unlisted: proof
            .map(|proof| i32::try_from(proof.uncovered_unlisted).unwrap_or(i32::MAX))
            .filter(|more| *more > 0),
        leaf_not_before: None,
        names_form: false,
        weaker_forms: Vec::new(),
    };
    if let Some(proof) = proof {
        let digest = Some(proof.accepted.content().to_string());
        if verdict.digest != digest {
            verdict.first_verified = Some(time(about.now));
        }
        verdict.digest = digest;
        verdict.algorithm = Some(proof.algorithm.name().to_owned());
    }
    if let Some(history) = about.history {
        verdict.remember(history);
    }
    verdict
}

fn details(outcome: &Result<Proof, Refused>) -> String {
    match outcome {
        Ok(proof) => format!(
            "JWS signature verified successfully (alg={}, kid={})",
            proof.algorithm.name(),
            proof.key_id.as_deref().unwrap_or_default()
        ),
        Err(refused) => refused.refusal.to_string(),
    }
}

/// Binding status, whose evaluation time changes only with another member.
fn binding(
    before: Option<&BindingStatus>,
    outcome: &Result<Proof, Refused>,
    now: Timestamp,
) -> BindingStatus {
    let (reason, message) = match outcome {
        Ok(proof) => ("Bound", format!("SPIFFE ID {} is the workload's own", proof.spiffe_id)),
        Err(refused) => ("NotBound", refused.refusal.to_string()),
    };
    let mut binding = BindingStatus {
        bound: outcome.is_ok(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_evaluation_time: before.and_then(|before| before.last_evaluation_time.clone()),
    };
    if before != Some(&binding) {
        binding.last_evaluation_time = Some(time(now));
    }
    binding
}

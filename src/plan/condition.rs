//! Conditions of objects of any kind. A transition time changes only with the status of its condition.

use countersign_api::agent_card::time;
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What a condition says, as words of the API.
pub(crate) struct Values {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'static str,
    /// What was found, as one word.
    pub(crate) reason: String,
    /// What was found, as a sentence.
    pub(crate) message: String,
}

/// Condition of the type `kind` at `now` that follows the one in `before`.
pub(crate) fn following(
    before: &[Condition],
    kind: &str,
    values: Values,
    (generation, now): (i64, Timestamp),
) -> Condition {
    let Values { status, reason, message } = values;
    let last = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
    Condition {
        last_transition_time: last.map_or_else(|| time(now), |last| last.last_transition_time.clone()),
        message,
        observed_generation: Some(generation),
        reason,
        status: status.to_owned(),
        type_: kind.to_owned(),
    }
}

/// Status of a condition as the API spells it.
pub(crate) const fn word(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

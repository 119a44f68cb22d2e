//! Input of a status besides the verification result: the AgentCard, its workload, the enforcement mode and the time.

use super::enforcement::Enforcement;
use crate::Mode;
use countersign_api::agent_card::TargetRef;
use countersign_core::history::History;
use countersign_core::time::Timestamp;

/// AgentCard, workload, mode, history and time that a status is planned from, beside the verification result.
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    /// Generation of the evaluated AgentCard.
    pub generation: i64,
    /// Name of the workload, for messages.
    pub name: &'a str,
    /// Reference to the workload; `None` if it was not found.
    pub target: Option<&'a TargetRef>,
    /// Protocol of the workload.
    pub protocol: Option<&'a str>,
    /// Enforcement mode of the namespace.
    pub mode: Mode,
    /// Enforcement of this outcome; `None` until a turn of the workload has seen the outcome.
    pub enforcement: Option<&'a Enforcement>,
    /// Problem of `spec.syncPeriod`, in words that complete a sentence; `None` if the period is readable.
    pub period_problem: Option<&'static str>,
    /// True if the AgentCard requests an identity binding.
    pub has_binding: bool,
    /// History of accepted cards, to be stored in status.
    pub history: Option<&'a History>,
    /// Time of the status write.
    pub now: Timestamp,
}

//! Agent that cannot be evaluated now, and the time for which its last evaluation may stand instead.

use super::pages::Unread;
use countersign_core::refusal::{Reason, Refusal};
use countersign_plan::agent_card::endpoints::UnusableAgent;
use countersign_plan::agent_card::settles::Settles;

/// Refusal of an agent for what the API server says about it, or does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// Reason and message.
    pub(crate) refusal: Refusal,
    /// How long the cause may last before it counts; `None` if it does not pass by itself.
    pub(crate) settles: Option<Settles>,
}

impl Unusable {
    /// Refusal because `what` was not read.
    pub(crate) fn unread(what: &str, Unread { problem, settles }: &Unread) -> Self {
        let refusal = Refusal::new(Reason::FetchFailed, format!("{what} {problem}"));
        Self { refusal, settles: *settles }
    }
}

impl From<Refusal> for Unusable {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, settles: None }
    }
}

// Who stands behind a Service settles soon, whatever it was not read for: a foreign Pod must not hide for longer.
impl From<UnusableAgent> for Unusable {
    fn from(UnusableAgent { refusal, may_settle }: UnusableAgent) -> Self {
        Self { refusal, settles: may_settle.then_some(Settles::Soon) }
    }
}

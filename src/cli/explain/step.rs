//! The steps of an explanation, written as text or JSON.

use crate::args::Output;
use crate::exit::Unusable;
use crate::page::{BAD, GOOD, Page, STRONG, styled};
use countersign_core::refusal::Refusal;
use countersign_core::text::Quoted;
use serde::Serialize;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StepDecision {
    Accepted,
    Refused,
    /// An observation that neither accepts nor refuses the card.
    Noted,
}

/// One step of an explanation: the check, its observations and its outcome.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TraceStep {
    checked: String,
    found: Vec<String>,
    decided: StepDecision,
    reason: Option<&'static str>,
    fix: Option<&'static str>,
}

/// The steps of the explanation of one card, in order.
#[derive(Debug, Serialize)]
pub(crate) struct Trace {
    card: String,
    steps: Vec<TraceStep>,
}

impl Trace {
    pub(crate) fn new(card: &str) -> Self {
        Self { card: card.to_owned(), steps: Vec::new() }
    }

    /// Appends a check that passed.
    pub(super) fn accepted(&mut self, checked: &str, found: Vec<String>) {
        self.push(checked, found, StepDecision::Accepted);
    }

    /// Appends an observation.
    pub(super) fn noted(&mut self, checked: &str, found: Vec<String>) {
        self.push(checked, found, StepDecision::Noted);
    }

    /// Appends a check that failed, with reason and fix.
    pub(super) fn refused(&mut self, checked: &str, refusal: &Refusal) {
        self.steps.push(TraceStep {
            checked: checked.to_owned(),
            found: vec![refusal.message().to_owned()],
            decided: StepDecision::Refused,
            reason: Some(refusal.reason().code()),
            fix: Some(refusal.reason().fix()),
        });
    }

    fn push(&mut self, checked: &str, found: Vec<String>, decided: StepDecision) {
        self.steps.push(TraceStep { checked: checked.to_owned(), found, decided, reason: None, fix: None });
    }

    /// Writes the explanation in the format of `output`.
    pub(crate) fn write(&self, output: Output) -> Result<Vec<u8>, Unusable> {
        match output {
            Output::Text => Ok(self.to_text()),
            Output::Json => {
                let mut text = serde_json::to_vec_pretty(self).map_err(Unusable::new)?;
                text.push(b'\n');
                Ok(text)
            }
        }
    }

    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut page = Page::new();
        page.line(styled(STRONG, Quoted(&self.card)));
        for (index, step) in self.steps.iter().enumerate() {
            let number = index.saturating_add(1);
            let decided = match (step.decided, step.reason) {
                (StepDecision::Accepted, _) => styled(GOOD, "accepted"),
                (StepDecision::Refused, reason) => {
                    format!("{} {}", styled(BAD, "refused"), reason.unwrap_or_default())
                }
                (StepDecision::Noted, _) => String::new(),
            };
            page.line(format!("{number:>2}. {}  {decided}", step.checked).trim_end());
            for found in &step.found {
                page.paragraph(6, found);
            }
            if let Some(fix) = step.fix {
                page.paragraph(6, &format!("fix: {fix}"));
            }
        }
        page.into_bytes()
    }
}

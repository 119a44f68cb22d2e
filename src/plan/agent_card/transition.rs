//! Change of an object's outcome that is reported as a Kubernetes event, with the next step wherever trust is missing.

use crate::limits::NOTE_BYTES;

/// Change of an object's outcome that is reported as a Kubernetes event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    is_warning: bool,
    reason: String,
    note: String,
    fix: String,
}

impl Transition {
    /// Change for the better, with one sentence for people, cut to 1024 bytes.
    pub fn normal(reason: &str, note: &str) -> Self {
        let note = cut(note, NOTE_BYTES);
        Self { is_warning: false, reason: reason.to_owned(), note, fix: String::new() }
    }

    /// Loss of trust or an error: what was found, then what to do. `fix` is kept whole, and what was found is cut so that
    /// both have 1024 bytes at most.
    pub fn warning(reason: &str, found: &str, fix: &str) -> Self {
        let fix = cut(fix, NOTE_BYTES);
        let room = NOTE_BYTES.saturating_sub(fix.len()).saturating_sub(SEPARATOR.len());
        let found = cut(found.trim_end_matches('.'), room);
        let note = if fix.is_empty() { found } else { format!("{found}{SEPARATOR}{}", capitalised(&fix)) };
        Self { is_warning: true, reason: reason.to_owned(), note, fix }
    }

    /// True if both say the same with whatever was found: the reason, and what to do. What was found may be worded anew at
    /// every look, as the errors of an API server are.
    pub fn repeats(&self, other: &Self) -> bool {
        (self.is_warning, &self.reason, &self.fix) == (other.is_warning, &other.reason, &other.fix)
    }

    /// True for a loss of trust or an error.
    pub const fn is_warning(&self) -> bool {
        self.is_warning
    }

    /// CamelCase reason, by which tools filter.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Sentences for people, at most 1024 bytes.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// What stands between what was found and what to do.
const SEPARATOR: &str = ". ";

/// Start of a text, cut between characters.
fn cut(text: &str, bytes: usize) -> String {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default().to_owned()
}

/// Text as the start of a sentence.
fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::refusal::{Reason, Refusal};

    #[test]
    fn a_note_is_cut_between_characters() {
        let note = |text: &str| Transition::normal("Told", text).note;
        assert_eq!(note("short"), "short");
        assert_eq!(note(&"é".repeat(600)).len(), NOTE_BYTES);
        assert_eq!(note(&format!("x{}", "é".repeat(600))).len(), NOTE_BYTES - 1);
    }

    #[test]
    fn a_warning_keeps_what_to_do_however_long_what_was_found_is() {
        for reason in Reason::ALL {
            for found in ["short", &"é".repeat(10_000)] {
                let refusal = Refusal::new(*reason, found);
                let told = Transition::warning(reason.code(), refusal.message(), reason.fix());
                assert!(told.is_warning() && told.note().ends_with(reason.fix()), "{told:?}");
                assert!(told.note().len() <= NOTE_BYTES && told.note().len() > reason.fix().len() + 6);
            }
        }
        assert_eq!(Transition::warning("Lacks", "it lacks x.", "add x").note(), "it lacks x. Add x");
    }

    #[test]
    fn a_warning_repeats_another_one_with_the_same_reason_and_fix() {
        let told = |reason: &str, found: &str, fix: &str| Transition::warning(reason, found, fix);
        let first = told("SyncFailed", "the Service was not read: 503", "mend it");
        for (other, repeats) in [
            (told("SyncFailed", "the Service was not read: no answer", "mend it"), true),
            (told("WorkloadError", "the Service was not read: 503", "mend it"), false),
            (told("SyncFailed", "the Service was not read: 503", "give the right"), false),
            (Transition::normal("SyncFailed", "read again"), false),
        ] {
            assert_eq!(first.repeats(&other), repeats, "{other:?}");
        }
    }
}

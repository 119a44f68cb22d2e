//! Results of commands: a document with its exit code, or one line about unusable input.

use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::{Quoted, is_unsafe_for_display};
use countersign_io::files::FileError;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The result of a command that ran to its end.
#[derive(Debug)]
pub(super) struct Done {
    /// Bytes for standard output.
    pub(super) output: Vec<u8>,
    /// Lines for standard error.
    pub(super) notes: Vec<String>,
    /// True if the output is data, which is written byte for byte, without styles being stripped.
    pub(super) raw: bool,
    outcome: Outcome,
}

/// Name of an input file in messages. As for a reader of the command line, `-` is standard input.
pub(super) fn shown(file: &Path) -> String {
    let file = file.to_string_lossy();
    if file == "-" { "standard input".to_owned() } else { Quoted(&file).to_string() }
}

/// Text as one line, in which what ends a line or changes how it is read is escaped. Whoever writes a message quotes what it
/// carries of others; this holds also where that was forgotten.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe_for_display(c) { line.extend(c.escape_unicode()) } else { line.push(c) }
    }
    line
}

/// Outcome of a command that ran to its end, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Verified, or done: 0.
    Done,
    /// Refused: 1.
    Refused,
    /// Unusable, so that nothing can be said about it, and another attempt changes nothing: 2.
    Unusable,
    /// Not fetched, so that nothing is known about the card, and another attempt may succeed: 3.
    NotFetched,
}

impl Outcome {
    /// Outcome of a report: a card that could not be fetched may be as good as ever.
    pub(super) fn of(reason: Option<Reason>) -> Self {
        match reason {
            None => Self::Done,
            Some(Reason::FetchFailed | Reason::FetchTimeout | Reason::FetchStatus) => Self::NotFetched,
            Some(_) => Self::Refused,
        }
    }
}

impl Outcome {
    /// The outcome of several reports: one refusal refuses all, then comes what was unusable, then what was not fetched.
    pub(super) fn worst(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let mut worst = Self::Done;
        for outcome in outcomes {
            worst = match (worst, outcome) {
                (Self::Refused, _) | (_, Self::Refused) => Self::Refused,
                (Self::Unusable, _) | (_, Self::Unusable) => Self::Unusable,
                (Self::NotFetched, _) | (_, Self::NotFetched) => Self::NotFetched,
                (Self::Done, Self::Done) => Self::Done,
            };
        }
        worst
    }
}

impl Done {
    /// Makes a result with a document for people or scripts, and exit code 0.
    pub(super) fn text(output: impl Into<Vec<u8>>) -> Self {
        Self { output: output.into(), notes: Vec::new(), raw: false, outcome: Outcome::Done }
    }

    /// Makes a result with data, and exit code 0.
    pub(super) fn data(output: Vec<u8>) -> Self {
        Self { output, notes: Vec::new(), raw: true, outcome: Outcome::Done }
    }

    /// Makes a refusal of a file without a document: file, reason and fix on standard error, and exit code 1.
    pub(super) fn refusal(file: &Path, refusal: &Refusal) -> Self {
        Self::refusal_of(&shown(file), refusal)
    }

    /// Makes a refusal of an input, as the user knows it: input, reason and fix on standard error, and exit code 1.
    pub(super) fn refusal_of(shown: &str, refusal: &Refusal) -> Self {
        let notes = vec![format!("refused: {shown}: {refusal}"), format!("fix: {}", refusal.reason().fix())];
        Self { output: Vec::new(), notes, raw: true, outcome: Outcome::Refused }
    }

    /// Sets exit code 1 if `refused`, and 0 otherwise.
    pub(super) fn with_refused(mut self, refused: bool) -> Self {
        self.outcome = if refused { Outcome::Refused } else { Outcome::Done };
        self
    }

    /// Sets the exit code of an outcome.
    pub(super) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Adds lines for standard error.
    pub(super) fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    pub(super) fn code(&self) -> ExitCode {
        match self.outcome {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::Refused => ExitCode::from(1),
            Outcome::Unusable => ExitCode::from(2),
            Outcome::NotFetched => ExitCode::from(3),
        }
    }
}

/// Input that cannot be verified at all: exit code 2, and one line that says what to do.
#[derive(Debug)]
pub(super) struct Unusable(String);

impl Unusable {
    /// Makes the error of a message, whose line breaks become spaces.
    pub(super) fn new(message: impl fmt::Display) -> Self {
        let words: Vec<String> =
            message.to_string().split(['\n', '\r']).map(|line| line.trim().to_owned()).collect();
        Self(one_line(words.join(" ").trim()))
    }

    /// The line for standard error.
    pub(super) fn line(&self) -> String {
        format!("error: {}", self.0)
    }

    pub(super) fn print(&self) -> ExitCode {
        // If standard error cannot be written, the exit code alone tells of the error.
        let _ = writeln!(anstream::stderr().lock(), "{}", self.line());
        ExitCode::from(2)
    }
}

impl From<FileError> for Unusable {
    fn from(error: FileError) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_cannot_be_forged() {
        assert_eq!(one_line("a\nerror: b\u{1b}[2J\u{2028}ü"), "a\\u{a}error: b\\u{1b}[2J\\u{2028}ü");
        assert_eq!(Unusable::new("a\n  b\u{202e}\r\n").line(), "error: a b\\u{202e}");
    }
}

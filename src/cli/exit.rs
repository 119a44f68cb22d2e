//! What a command came to: a document with its exit code, or the one line that says why there is none.

use countersign_core::refusal::Refusal;
use countersign_io::files::FileError;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// A command that came to an end.
#[derive(Debug)]
pub(super) struct Done {
    /// What goes to standard output.
    pub(super) output: Vec<u8>,
    /// Lines for standard error.
    pub(super) notes: Vec<String>,
    /// True if the output is data and goes out byte for byte.
    pub(super) raw: bool,
    refused: bool,
}

impl Done {
    /// A document for people or machines, with exit code 0.
    pub(super) fn text(output: impl Into<Vec<u8>>) -> Self {
        Self { output: output.into(), notes: Vec::new(), raw: false, refused: false }
    }

    /// Data, byte for byte, with exit code 0.
    pub(super) fn data(output: Vec<u8>) -> Self {
        Self { output, notes: Vec::new(), raw: true, refused: false }
    }

    /// A refusal without a document: the reason on standard error and exit code 1.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let notes = vec![format!("refused: {refusal}"), format!("fix: {}", refusal.reason().fix())];
        Self { output: Vec::new(), notes, raw: true, refused: true }
    }

    /// Exit code 1 if `refused`.
    pub(super) fn with_refused(mut self, refused: bool) -> Self {
        self.refused = refused;
        self
    }

    /// Adds lines for standard error.
    pub(super) fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    pub(super) fn code(&self) -> ExitCode {
        if self.refused { ExitCode::from(1) } else { ExitCode::SUCCESS }
    }
}

/// Input that nothing can be said about: exit code 2 and one line that says what to do.
#[derive(Debug)]
pub(super) struct Unusable(String);

impl Unusable {
    /// Line breaks in `message` become spaces, so that it stays one line.
    pub(super) fn new(message: impl fmt::Display) -> Self {
        let words: Vec<String> =
            message.to_string().split(['\n', '\r']).map(|line| line.trim().to_owned()).collect();
        Self(words.join(" ").trim().to_owned())
    }

    pub(super) fn report(&self) -> ExitCode {
        // Where standard error cannot be written there is nobody to tell; the exit code still does.
        let _ = writeln!(anstream::stderr().lock(), "error: {}", self.0);
        ExitCode::from(2)
    }
}

impl From<FileError> for Unusable {
    fn from(error: FileError) -> Self {
        Self::new(error)
    }
}

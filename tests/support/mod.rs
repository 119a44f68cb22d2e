//! What several integration tests share: reading files of the source tree and judging a whole table at once.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reads its own files and stops at the first one that is not there"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A path below `tests/` of the repository, whichever crate's test asks.
pub(crate) fn in_tests(path: &str) -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("a folder above with Cargo.lock").join("tests").join(path)
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A JSON file read into `T`.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Collects disagreements, so that one run shows all of them.
#[derive(Default)]
pub(crate) struct Disagreements {
    text: String,
    count: usize,
    checked: usize,
}

impl Disagreements {
    /// Counts one check and notes it if `expected` and `found` differ.
    pub(crate) fn check<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: impl std::fmt::Display,
        expected: &T,
        found: &T,
    ) {
        self.checked = self.checked.saturating_add(1);
        if expected != found {
            self.note(format_args!("{what}\n    expected {expected:?}\n    found    {found:?}"));
        }
    }

    /// Notes a disagreement that no comparison found.
    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        self.count = self.count.saturating_add(1);
        writeln!(self.text, "  {what}").unwrap();
    }

    /// Fails the test if there was a disagreement, or if nothing was compared at all.
    #[track_caller]
    pub(crate) fn finish(self, name: &str) {
        println!("{name}: {} checks, {} disagreements", self.checked, self.count);
        assert!(self.checked > 0, "{name}: nothing was checked");
        assert!(self.count == 0, "{name}:\n{}", self.text);
    }
}

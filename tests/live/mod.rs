//! The tools of the live run: the SDKs behind their scripts, our own binary, and a fresh key and chain.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test runs programs and stops when one cannot be run"
)]

mod countersign;
mod keys;
mod sdk;

pub(crate) use countersign::{Countersign, tamper};
pub(crate) use sdk::{Outcome, Sdk, Signer};

use crate::support::{in_tests, read_json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cards of the run, by name; the first digit tells the shape (see `tests/fixtures/README.md`).
pub(crate) const CARDS: [&str; 19] = [
    "01-v1-ascii",
    "02-v1-html",
    "03-v1-nonascii",
    "05-v1-num-1e21",
    "08-v1-num-1.0",
    "11-v1-req-empty",
    "13-v1-ext-required-false",
    "15-v1-unknown-field",
    "16-v1-astral-keys",
    "19-v1-params-empties",
    "21-v1-secreq-empty-scopes",
    "23-v1-compat-served",
    "24-v1-full",
    "25-v1-both-versions",
    "30-v03-defaults",
    "32-v03-secscheme",
    "40-kag-basic",
    "41-kag-html",
    "43-kag-case-key",
];

/// The name of the card whose member `NAME` is another spelling of `name`.
pub(crate) const ALIAS_CARD: &str = "43-kag-case-key";

/// The file of a card: a fixture, the shape of a public card (`shape-NNN`), or one that only the live run uses.
pub(crate) fn card_file(card: &str) -> PathBuf {
    if let Some(shape) = card.strip_prefix(SHAPE) {
        return in_tests("fixtures/card-shapes").join(format!("{shape}.json"));
    }
    let fixture = in_tests("fixtures/cards").join(format!("{card}.json"));
    if fixture.exists() { fixture } else { in_tests("interop/cards").join(format!("{card}.json")) }
}

/// Start of the names of cards that have the shape of a public card.
const SHAPE: &str = "shape-";

/// The names of the cards that have the shape of a public card.
pub(crate) fn shapes() -> Vec<String> {
    let names: Vec<String> = read_json(&in_tests("fixtures/card-shapes/manifest.json"));
    names.into_iter().map(|name| format!("{SHAPE}{name}")).collect()
}

/// A signed document: `<signer>~<card>.json`, and `~tampered` if it was changed afterwards.
pub(crate) struct Document {
    pub(crate) signer: String,
    pub(crate) card: String,
    pub(crate) tampered: bool,
    pub(crate) path: PathBuf,
}

/// The folder of one run, below cargo's own folder for temporary test files.
pub(crate) struct Work {
    pub(crate) dir: PathBuf,
    pub(crate) sdks: PathBuf,
}

impl Work {
    /// Installs the SDKs if they are not there, empties the folder and makes a key and a chain.
    pub(crate) fn prepare() -> Self {
        let setup = Command::new("sh").arg(in_tests("interop/setup.sh")).output().expect("sh runs");
        assert!(setup.status.success(), "setup.sh: {}", String::from_utf8_lossy(&setup.stderr));
        let sdks = PathBuf::from(String::from_utf8(setup.stdout).unwrap().trim_end());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
        let _ = std::fs::remove_dir_all(&dir);
        for name in ["signed", "scripts", "notes"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        // Node looks for packages beside the script, so the scripts move next to the installed ones.
        for script in ["js_sign.mjs", "js_verify.mjs"] {
            std::fs::copy(in_tests("interop").join(script), dir.join("scripts").join(script)).unwrap();
        }
        std::os::unix::fs::symlink(sdks.join("node_modules"), dir.join("scripts/node_modules")).unwrap();
        let work = Self { dir, sdks };
        work.make_keys();
        work
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The document as the signer's server serves it.
    pub(crate) fn served(&self, signer: &str, card: &str) -> PathBuf {
        self.dir.join("signed").join(format!("{signer}~{card}.json"))
    }

    /// What `countersign sign` said on standard error about a card that it signed.
    pub(crate) fn notes(&self, signer: &str, card: &str) -> String {
        let path = self.notes_file(signer, card);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn notes_file(&self, signer: &str, card: &str) -> PathBuf {
        self.dir.join("notes").join(format!("{signer}~{card}"))
    }

    /// The bytes that the signer signed.
    pub(crate) fn canonical(&self, signer: &str, card: &str) -> String {
        let path = self.dir.join("out").join(signer).join(format!("{card}.canonical"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// All documents signed so far, changed ones included, in the order of their names.
    pub(crate) fn documents(&self) -> Vec<Document> {
        let mut documents: Vec<_> = std::fs::read_dir(self.dir.join("signed"))
            .unwrap()
            .map(|entry| Document::at(entry.unwrap().path()))
            .collect();
        documents.sort_by(|a, b| a.path.cmp(&b.path));
        documents
    }

    /// Runs a script that prints one line per card: name, outcome, why.
    fn run(command: &mut Command) -> BTreeMap<String, Outcome> {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{command:?}\n{stdout}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        stdout
            .lines()
            .map(|line| {
                let mut columns = line.splitn(3, '\t');
                let (card, outcome) = (columns.next().unwrap(), columns.next().unwrap_or_default());
                let outcome = match outcome {
                    "signed" | "verified" => Outcome::Done,
                    "refused" => Outcome::Refused(columns.next().unwrap_or_default().to_owned()),
                    other => panic!("{command:?}: {other}"),
                };
                (card.to_owned(), outcome)
            })
            .collect()
    }
}

impl Document {
    fn at(path: PathBuf) -> Self {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut parts = stem.split('~');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (signer, card, rest) = (next(), next(), next());
        Self { signer, card, tampered: rest == "tampered", path }
    }
}

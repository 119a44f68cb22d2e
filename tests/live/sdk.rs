//! The SDKs: what each signs, what each verifies, and which canonical form it stands for.

use super::{ALIAS_CARD, CARDS, Document, Work, card_file};
use std::process::Command;

/// What an SDK did with a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Refused(String),
}

/// An SDK as a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    Py130,
    Py110,
    Py0326,
    Js130,
}

/// An SDK as a signer; the JavaScript one signs different bytes for plain JSON and for its own card type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    Py130,
    Py110,
    Py0326,
    Js130,
    Js130Typed,
}

impl Sdk {
    pub(crate) const ALL: [Self; 4] = [Self::Py130, Self::Py110, Self::Py0326, Self::Js130];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Py130 => "py-1.3.0",
            Self::Py110 => "py-1.1.0",
            Self::Py0326 => "py-0.3.26",
            Self::Js130 => "js-1.3.0",
        }
    }

    /// Whether the SDK has to accept a document; `None` if either is right.
    ///
    /// Each SDK must accept its own documents. Of ours the current ones must accept exactly those that standard error
    /// of `sign` names them for, or on which it is silent; older ones those on which they agree with the current one.
    pub(crate) fn expected(self, work: &Work, document: &Document) -> Option<bool> {
        if !document.signer.starts_with("countersign") {
            return document.signer.starts_with(self.name()).then_some(true);
        }
        let notes = work.notes(&document.signer, &document.card);
        let is_named = |reader: &str| {
            notes.is_empty()
                || notes.lines().any(|line| line.starts_with("signature ") && line.contains(reader))
        };
        match self {
            Self::Py130 => Some(is_named("a2a-python")),
            Self::Js130 => Some(is_named("a2a-js")),
            Self::Py110 => {
                let agree = notes.is_empty()
                    && CARDS.contains(&document.card.as_str())
                    && work.canonical("py-1.1.0", &document.card)
                        == work.canonical("py-1.3.0", &document.card);
                agree.then_some(true)
            }
            Self::Py0326 => None,
        }
    }

    fn python(work: &Work, version: &str, script: &str) -> Command {
        let mut command = Command::new(work.sdks.join(format!("py-{version}/bin/python")));
        command.arg(crate::support::in_tests("interop").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn node(work: &Work, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(work.dir.join("scripts").join(script));
        command
    }
}

impl Signer {
    pub(crate) const ALL: [Self; 5] = [Self::Py130, Self::Py110, Self::Py0326, Self::Js130, Self::Js130Typed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Py130 => "py-1.3.0",
            Self::Py110 => "py-1.1.0",
            Self::Py0326 => "py-0.3.26",
            Self::Js130 => "js-1.3.0",
            Self::Js130Typed => "js-1.3.0-typed",
        }
    }

    /// The profile whose bytes of the unsigned card the SDK signs.
    pub(crate) fn canonical_profile(self) -> &'static str {
        match self {
            Self::Py130 => "proto-folded-jcs",
            _ => self.served_profile(),
        }
    }

    /// The profile that verifies the document as it is served: Python folds 0.3 members before it serves a card.
    pub(crate) fn served_profile(self) -> &'static str {
        match self {
            Self::Py130 | Self::Js130 | Self::Js130Typed => "proto-clean-jcs",
            Self::Py110 => "py-legacy",
            Self::Py0326 => "py-0.3",
        }
    }

    /// The typed JavaScript card loses its security schemes before it is signed, but not the ones it serves, whose
    /// shape is not that of A2A: only the served document tells what was signed.
    pub(crate) fn canonical_of_served(self) -> bool {
        self == Self::Js130Typed
    }

    /// 0.3 demands `url`, which the 1.0 cards do not have, except the one served for both.
    pub(crate) fn refuses(self, card: &str) -> bool {
        self == Self::Py0326 && card.starts_with(['0', '1', '2']) && card != "23-v1-compat-served"
    }

    /// Only plain JavaScript serves the card as it was given, unknown members included.
    pub(crate) fn serves_aliases(self, card: &str) -> bool {
        self == Self::Js130 && card == ALIAS_CARD
    }
}

impl Work {
    /// Lets the SDK sign every card; its documents go to `signed/`, its canonical bytes to `out/`.
    pub(crate) fn sign(&self, signer: Signer) -> Vec<(String, Outcome)> {
        let out = self.dir.join("out").join(signer.name());
        std::fs::create_dir_all(&out).unwrap();
        let mut command = match signer {
            Signer::Py130 => Sdk::python(self, "1.3.0", "py_sign.py"),
            Signer::Py110 => Sdk::python(self, "1.1.0", "py_sign.py"),
            Signer::Py0326 => Sdk::python(self, "0.3.26", "py03_sign.py"),
            Signer::Js130 | Signer::Js130Typed => Sdk::node(self, "js_sign.mjs"),
        };
        match signer {
            Signer::Js130 => drop(command.arg("plain")),
            Signer::Js130Typed => drop(command.arg("typed")),
            _ => {}
        }
        command.args([self.file("leaf.key"), self.file("header.json"), out.clone()]);
        command.args(CARDS.map(card_file));
        let outcomes = Self::run(&mut command);
        assert_eq!(outcomes.len(), CARDS.len(), "{}: one line per card", signer.name());
        for (card, outcome) in &outcomes {
            if *outcome == Outcome::Done {
                std::fs::rename(out.join(format!("{card}.json")), self.served(signer.name(), card)).unwrap();
            }
        }
        outcomes.into_iter().collect()
    }

    /// Lets the SDK verify every document signed so far.
    pub(crate) fn verify(&self, verifier: Sdk) -> Vec<(Document, Outcome)> {
        let mut command = match verifier {
            Sdk::Py130 => Sdk::python(self, "1.3.0", "py_verify.py"),
            Sdk::Py110 => Sdk::python(self, "1.1.0", "py_verify.py"),
            Sdk::Py0326 => Sdk::python(self, "0.3.26", "py03_verify.py"),
            Sdk::Js130 => Sdk::node(self, "js_verify.mjs"),
        };
        let documents = self.documents();
        command.arg(self.file("leaf.pub")).args(documents.iter().map(|document| &document.path));
        let mut outcomes = Self::run(&mut command);
        documents
            .into_iter()
            .map(|document| {
                let stem = document.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let outcome = outcomes
                    .remove(stem)
                    .unwrap_or_else(|| panic!("{}: nothing about {stem}", verifier.name()));
                (document, outcome)
            })
            .collect()
    }
}

//! Our own binary, called as a user calls it.

use super::keys::{SPIFFE_ID, TRUST_DOMAIN};
use super::{ALIAS_CARD, Work};
use crate::support::{Disagreements, read_json};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// We sign the cards in the shape of 1.0.
pub(crate) fn countersign_signs(card: &str) -> bool {
    card.starts_with(['0', '1', '2']) && card != ALIAS_CARD
}

/// Writes a copy of a signed document with another name in it: every canonical form covers the name.
pub(crate) fn tamper(document: &Path, copy: &Path) {
    let mut card: Value = read_json(document);
    card["name"] = Value::String("Somebody Else".to_owned());
    std::fs::write(copy, card.to_string()).unwrap();
}

pub(crate) struct Countersign<'w> {
    work: &'w Work,
}

impl<'w> Countersign<'w> {
    pub(crate) fn new(work: &'w Work) -> Self {
        Self { work }
    }

    /// `verified <profile>` or the reason code, with the coverage reported and numbers as the SDKs read them.
    pub(crate) fn verify(&self, document: &Path, flags: &[&str]) -> String {
        let mut all = vec!["--coverage", "report", "--numbers", "binary64"];
        all.extend(flags);
        let verdict = self.verdict(document, &all);
        let text = |name: &str| verdict.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        match text("verdict").as_str() {
            "verified" => format!("verified {}", text("profile")),
            _ => text("reason"),
        }
    }

    pub(crate) fn accepts_by_default(&self, document: &Path) -> bool {
        self.verdict(document, &[]).get("verdict").and_then(Value::as_str) == Some("verified")
    }

    pub(crate) fn accepts_with_everything(&self, document: &Path) -> bool {
        self.verify(document, &["--all-profiles"]).starts_with("verified")
    }

    /// The exact bytes, or the reason code.
    pub(crate) fn canonicalize(&self, card: &Path, profile: &str) -> Result<String, String> {
        let output = run(Command::new(BINARY).arg("canonicalize").arg(card).args([
            "--profile",
            profile,
            "--numbers",
            "binary64",
        ]));
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let code =
            countersign::core::refusal::Reason::ALL.iter().find(|reason| message.contains(reason.code()));
        Err(code.map_or(message, |reason| reason.code().to_owned()))
    }

    /// Signs a card and leaves it, and a changed copy, for the SDKs to verify.
    pub(crate) fn sign(&self, card: &str, found: &mut Disagreements) {
        let output = run(Command::new(BINARY).arg("sign").arg(self.work.card(card)).args([
            Path::new("--key"),
            &self.work.file("leaf.key"),
            Path::new("--chain"),
            &self.work.file("chain.pem"),
        ]));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        found.check(format_args!("countersign: signs {card}: {error}"), &Some(0), &output.status.code());
        if !output.status.success() {
            return;
        }
        let served = self.work.served("countersign", card);
        std::fs::write(&served, output.stdout).unwrap();
        let tampered: PathBuf = served.with_file_name(format!("countersign~{card}~tampered.json"));
        tamper(&served, &tampered);
        let outcome = self.verify(&served, &[]);
        found.check(
            format_args!("countersign: {card} signed by itself: {outcome}"),
            &true,
            &outcome.starts_with("verified"),
        );
        found.check(
            format_args!("countersign: {card} signed by itself and changed"),
            &"SignatureInvalid".to_owned(),
            &self.verify(&tampered, &[]),
        );
    }

    fn verdict(&self, document: &Path, flags: &[&str]) -> Value {
        let output = run(Command::new(BINARY)
            .arg("verify")
            .arg(document)
            .arg("--bundle")
            .arg(self.work.file("root.pem"))
            .args(["--trust-domain", TRUST_DOMAIN, "--expect-id", SPIFFE_ID, "-o", "json"])
            .args(flags));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let stdout = String::from_utf8_lossy(&output.stdout);
            panic!("{}: {error}\n{stdout}\n{}", document.display(), String::from_utf8_lossy(&output.stderr))
        })
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

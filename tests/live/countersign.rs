//! Our own binary, called as a user calls it.

use super::keys::{SPIFFE_ID, TRUST_DOMAIN};
use super::{ALIAS_CARD, Work, card_file};
use crate::support::{Disagreements, read_json};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// What we sign ourselves: as it is, with another signature for kagenti, and in the members of A2A 1.0.
const OURSELVES: [(&str, &[&str]); 3] = [
    ("countersign", &[]),
    ("countersign-kagenti", &["--also-kagenti"]),
    ("countersign-upgrade", &["--upgrade"]),
];

/// Writes a copy of a signed document with another name in it: every canonical form covers the name.
pub(crate) fn tamper(document: &Path, copy: &Path) {
    let mut card: Value = read_json(document);
    *card.pointer_mut("/name").unwrap() = Value::String("Somebody Else".to_owned());
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

    /// `verified` or the reason code, under the defaults.
    pub(crate) fn verdict_by_default(&self, document: &Path) -> String {
        let verdict = self.verdict(document, &[]);
        let text = |name: &str| verdict.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        if text("verdict") == "verified" { text("verdict") } else { text("reason") }
    }

    pub(crate) fn accepts_with_everything(&self, document: &Path) -> bool {
        self.verify(document, &["--all-profiles"]).starts_with("verified")
    }

    /// The exact bytes, or the reason code.
    pub(crate) fn canonicalize(card: &Path, profile: &str) -> Result<String, String> {
        let output = run(Command::new(BINARY).arg("canonicalize").arg(card).args([
            "--profile",
            profile,
            "--numbers",
            "binary64",
        ]));
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let code =
            countersign_core::refusal::Reason::ALL.iter().find(|reason| message.contains(reason.code()));
        Err(code.map_or(message, |reason| reason.code().to_owned()))
    }

    /// Signs a card and leaves it, and a changed copy, for the SDKs to verify. Returns how often it was signed.
    pub(crate) fn sign(&self, card: &str, found: &mut Disagreements) -> usize {
        let mut signed = 0_usize;
        for (signer, flags) in OURSELVES {
            let output = run(Command::new(BINARY)
                .arg("sign")
                .arg(card_file(card))
                .args([Path::new("--key"), &self.work.file("leaf.key")])
                .args([Path::new("--chain"), &self.work.file("chain.pem")])
                .args(flags));
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            let what = format!("{signer}: signs {card} {error}");
            if card == ALIAS_CARD {
                found.check(&what, &true, &error.contains("CardMemberAlias"));
            } else if card.starts_with(|first: char| first.is_ascii_digit()) && flags.is_empty() {
                found.check(&what, &true, &output.status.success());
            }
            if !output.status.success() {
                continue;
            }
            signed = signed.saturating_add(1);
            std::fs::write(self.work.notes_file(signer, card), &error).unwrap();
            let served = self.work.served(signer, card);
            std::fs::write(&served, output.stdout).unwrap();
            let tampered = served.with_file_name(format!("{signer}~{card}~tampered.json"));
            tamper(&served, &tampered);
            self.check_own(signer, card, &served, &tampered, found);
        }
        signed
    }

    /// Our own first signature covers everything, so it holds under the defaults; where `sign` has nothing to say
    /// about it, the three forms coincide.
    fn check_own(&self, signer: &str, card: &str, served: &Path, tampered: &Path, found: &mut Disagreements) {
        let what = format!("countersign: {card} signed by {signer}");
        let verdict = self.verdict(served, &[]);
        let text = |name: &str| verdict.get(name).and_then(Value::as_str).map(str::to_owned);
        found.check(&what, &Some("verified".to_owned()), &text("verdict"));
        found.check(&what, &Some("full".to_owned()), &text("coverage"));
        let mut expected = vec![("jcs-raw", "verified jcs-raw")];
        if self.work.notes(signer, card).is_empty() {
            expected.push(("spec841", "verified spec841"));
            expected.push(("proto-clean-jcs", "verified proto-clean-jcs"));
            if signer == "countersign" {
                expected.push(("kagenti-go", "SignatureInvalid"));
            }
        }
        if signer == "countersign-kagenti" {
            expected.push(("kagenti-go", "verified kagenti-go"));
        }
        for (profile, expected) in expected {
            found.check(
                format_args!("{what} as {profile}"),
                &expected.to_owned(),
                &self.verify(served, &["--profile", profile]),
            );
        }
        found.check(
            format_args!("{what} and changed"),
            &"SignatureInvalid".to_owned(),
            &self.verify(tampered, &["--all-profiles"]),
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

//! Countersign against the released A2A SDKs, run live in both directions: they sign and we verify, we sign and
//! they verify, and every verifier must refuse a changed card.
//!
//! `make interop` runs it: it needs Python, Node and their package registries once, so `cargo test` alone only says
//! that it did not run. The SDKs are installed from lock files by `tests/interop/setup.sh`.
#![cfg(feature = "cli")]
#![expect(clippy::disallowed_methods, reason = "the switch is an environment variable")]

mod live;
mod support;

use live::{CARDS, Countersign, Outcome, Sdk, Signer, Work};
use std::collections::BTreeMap;
use support::Disagreements;

/// Set by `make interop`.
const SWITCH: &str = "COUNTERSIGN_INTEROP";

#[test]
fn cards_signed_by_each_side_verify_on_the_other() {
    if std::env::var_os(SWITCH).is_none() {
        println!("interop: did not run; `make interop` runs it");
        return;
    }
    let work = Work::prepare();
    let countersign = Countersign::new(&work);
    let mut found = Disagreements::default();

    for signer in Signer::ALL {
        for (card, outcome) in work.sign(signer) {
            if outcome != Outcome::Done {
                found.check(format_args!("{}: signs {card}", signer.name()), &signer.refuses(&card), &true);
                continue;
            }
            found.check(format_args!("{}: signs {card}", signer.name()), &signer.refuses(&card), &false);
            compare_canonical_bytes(&work, signer, &card, &mut found);
            let served = work.served(signer.name(), &card);
            verify_served(&countersign, signer, &card, &served, &mut found);
        }
    }
    for card in CARDS {
        countersign.sign(card, &mut found);
    }
    let shapes = live::shapes();
    let signed = shapes.iter().filter(|shape| countersign.sign(shape, &mut found) > 0).count();
    println!("countersign: signs {signed} of {} shapes of public cards", shapes.len());
    found.check("most shapes of public cards are signed", &true, &(signed >= 53));

    let mut table = Table::default();
    for verifier in Sdk::ALL {
        for (document, outcome) in work.verify(verifier) {
            let accepted = outcome == Outcome::Done;
            table.count(&document.signer, verifier.name(), &document, accepted);
            let what = format!("{}: {} signed by {}", verifier.name(), document.card, document.signer);
            if document.tampered {
                found.check(format_args!("{what} and changed is refused"), &true, &!accepted);
            } else if let Some(expected) = verifier.expected(&work, &document) {
                found.check(format_args!("{what} is accepted"), &expected, &accepted);
            }
        }
    }
    for document in work.documents() {
        let verdict = countersign.verdict_by_default(&document.path);
        table.count(&document.signer, "defaults", &document, verdict == "verified");
        if document.signer == Signer::Js130Typed.name()
            && !document.tampered
            && serves_security_schemes(&document)
        {
            // Its own verifier accepts any other schemes in their place; nothing of them is signed.
            let what =
                format!("countersign: {} with schemes that {} did not sign", document.card, document.signer);
            found.check(what, &"UncoveredSecurityMember".to_owned(), &verdict);
        }
        let accepted = countersign.accepts_with_everything(&document.path);
        table.count(&document.signer, "countersign", &document, accepted);
    }
    println!("{}", table.text());
    found.finish("interop");
}

/// The SDK's bytes for the card it was given, or for the one it serves where it does not sign what it was given.
fn compare_canonical_bytes(work: &Work, signer: Signer, card: &str, found: &mut Disagreements) {
    let source =
        if signer.canonical_of_served() { work.served(signer.name(), card) } else { live::card_file(card) };
    let what = format!("{}: canonical bytes of {card} as {}", signer.name(), signer.canonical_profile());
    match (
        card == live::ALIAS_CARD && !signer.canonical_of_served(),
        Countersign::canonicalize(&source, signer.canonical_profile()),
    ) {
        (true, ours) => found.check(what, &Err("CardMemberAlias".to_owned()), &ours),
        (false, ours) => found.check(what, &Ok(work.canonical(signer.name(), card)), &ours),
    }
}

fn serves_security_schemes(document: &live::Document) -> bool {
    let card: serde_json::Value = support::read_json(&document.path);
    card.get("securitySchemes")
        .and_then(serde_json::Value::as_object)
        .is_some_and(|schemes| !schemes.is_empty())
}

fn verify_served(
    countersign: &Countersign,
    signer: Signer,
    card: &str,
    served: &std::path::Path,
    found: &mut Disagreements,
) {
    let tampered = served.with_file_name(format!("{}~{card}~tampered.json", signer.name()));
    live::tamper(served, &tampered);
    let profile = signer.served_profile();
    let (genuine, changed) = if signer.serves_aliases(card) {
        ("CardMemberAlias".to_owned(), "CardMemberAlias".to_owned())
    } else {
        (format!("verified {profile}"), "SignatureInvalid".to_owned())
    };
    let what = format!("countersign: {card} signed by {}", signer.name());
    found.check(&what, &genuine, &countersign.verify(served, &["--profile", profile]));
    found.check(
        format_args!("{what} and changed"),
        &changed,
        &countersign.verify(&tampered, &["--profile", profile]),
    );
}

/// Signer × verifier: accepted of genuine documents.
#[derive(Default)]
struct Table(BTreeMap<(String, String), (usize, usize)>);

impl Table {
    fn count(&mut self, signer: &str, verifier: &str, document: &live::Document, accepted: bool) {
        if document.tampered {
            return;
        }
        let cell = self.0.entry((signer.to_owned(), verifier.to_owned())).or_default();
        cell.0 = cell.0.saturating_add(usize::from(accepted));
        cell.1 = cell.1.saturating_add(1);
    }

    fn text(&self) -> String {
        let verifiers = ["countersign", "defaults", "py-1.3.0", "py-1.1.0", "py-0.3.26", "js-1.3.0"];
        let signers = [
            "countersign",
            "countersign-kagenti",
            "countersign-upgrade",
            "py-1.3.0",
            "py-1.1.0",
            "py-0.3.26",
            "js-1.3.0",
            "js-1.3.0-typed",
        ];
        let mut lines =
            vec![format!("{:<20}{}", "signer \\ verifier", verifiers.map(|v| format!("{v:>12}")).concat())];
        for signer in signers {
            let cells =
                verifiers.map(|verifier| match self.0.get(&(signer.to_owned(), verifier.to_owned())) {
                    Some((accepted, all)) => format!("{:>12}", format!("{accepted}/{all}")),
                    None => format!("{:>12}", "-"),
                });
            lines.push(format!("{signer:<20}{}", cells.concat()));
        }
        lines.push(
            "countersign: all profiles, binary64 numbers, coverage reported; defaults: strict everything"
                .to_owned(),
        );
        lines.join("\n")
    }
}

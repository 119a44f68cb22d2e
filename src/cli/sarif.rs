//! Output of a verdict as SARIF 2.1.0, so that code scanning shows a refused card at its file.

use super::exit::Unusable;
use super::report::Report;
use countersign_core::refusal::Reason;
use serde_json::{Value, json};
use std::fmt::Write;

/// Identifier of the SARIF schema; the URL names the format and is never fetched.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Writes one SARIF run for all cards: one result of level `error` for each refusal, and one `note` for each uncovered
/// member. Every card that was verified is an artifact, a good one too. What could not be read is a notification of the run.
pub(super) fn write(reports: &[Report], unusable: &[String]) -> Result<Vec<u8>, Unusable> {
    let (mut rules, mut results) = (Vec::new(), Vec::new());
    for (artifact, report) in reports.iter().enumerate() {
        for (reason, level, text) in results_of(report) {
            let index = rules.iter().position(|known| *known == reason).unwrap_or_else(|| {
                rules.push(reason);
                rules.len().saturating_sub(1)
            });
            // Code scanning shows only results with a line. A signature is over a whole card, so that is the first.
            let location = json!({ "physicalLocation": {
                "artifactLocation": { "uri": uri(&report.source), "index": artifact }, "region": { "startLine": 1 },
            } });
            results.push(json!({
                "ruleId": reason.code(), "ruleIndex": index, "level": level,
                "message": { "text": text }, "locations": [location],
            }));
        }
    }
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "countersign",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().map(rule).collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": unusable.is_empty(),
                "toolExecutionNotifications": unusable.iter().map(|line| notification(line)).collect::<Vec<_>>(),
            }],
            "artifacts": reports.iter().map(artifact).collect::<Vec<_>>(),
            "results": results,
        }],
    });
    let mut text = serde_json::to_vec_pretty(&log).map_err(Unusable::new)?;
    text.push(b'\n');
    Ok(text)
}

/// One card that was verified, whatever came of it.
fn artifact(report: &Report) -> Value {
    let found = match (report.reason, &report.spiffe_id) {
        (Some(reason), _) => format!("refused: {reason}"),
        (None, Some(signer)) => format!("verified: signed by {signer}"),
        (None, None) => "verified".to_owned(),
    };
    let mut artifact = json!({
        "location": { "uri": uri(&report.source) },
        "roles": ["analysisTarget"],
        "description": { "text": found },
        "properties": { "verdict": report.verdict, "reason": report.reason, "spiffeId": report.spiffe_id },
    });
    if let (Some(digest), Some(artifact)) = (&report.digest, artifact.as_object_mut()) {
        artifact.insert("hashes".to_owned(), json!({ "sha-256": digest }));
    }
    artifact
}

fn notification(line: &str) -> Value {
    json!({ "level": "error", "message": { "text": line.strip_prefix("error: ").unwrap_or(line) } })
}

/// Reason, level and text of each result of one card.
fn results_of(report: &Report) -> Vec<(Reason, &'static str, String)> {
    let refusal = report.reason.and_then(Reason::from_code).map(|reason| {
        let text = format!("{} Fix: {}", report.message.as_deref().unwrap_or_default(), reason.fix());
        (reason, "error", text)
    });
    let listed = report.uncovered.iter().map(|pointer| format!("{pointer} is not covered by the signature."));
    let more = (report.uncovered_unlisted > 0)
        .then(|| format!("{} more members are not covered by the signature.", report.uncovered_unlisted));
    let notes = listed.chain(more).map(|text| (Reason::UncoveredSecurityMember, "note", text));
    refusal.into_iter().chain(notes).collect()
}

fn rule(reason: Reason) -> Value {
    json!({
        "id": reason.code(),
        "shortDescription": { "text": format!("{}.", reason.title()) },
        "fullDescription": { "text": format!("{}. Accepting it would mean: {}", reason.title(), reason.attack()) },
        "help": { "text": reason.fix() },
    })
}

/// Converts a source to a URI reference: a URL stays, a path is percent-encoded (RFC 3986 §2.1).
fn uri(source: &str) -> String {
    if source.contains("://") {
        return source.to_owned();
    }
    if source == "-" {
        return "stdin".to_owned();
    }
    let mut escaped = String::with_capacity(source.len());
    for byte in source.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                escaped.push(char::from(byte));
            }
            other => {
                // Writing into a string cannot fail.
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    if source.starts_with('/') { format!("file://{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri_reference() {
        assert_eq!(uri("cards/a b.json"), "cards/a%20b.json");
        assert_eq!(uri("/tmp/ü"), "file:///tmp/%C3%BC");
        assert_eq!(uri("http://a/b"), "http://a/b");
    }
}

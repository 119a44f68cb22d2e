//! Output of a verdict as SARIF 2.1.0, so that code scanning shows a refused card at its file.

use super::exit::{Outcome, Unusable};
use super::report::Report;
use countersign_core::refusal::Reason;
use serde_json::{Value, json};
use std::fmt::Write;

/// Identifier of the SARIF schema; the URL names the format and is never fetched.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Writes one SARIF run: one result of level `error` for a refusal, and one `note` for each uncovered member.
pub(super) fn write(report: &Report, source: &str) -> Result<Vec<u8>, Unusable> {
    let uncovered = Reason::UncoveredSecurityMember;
    let location = json!([{ "physicalLocation": { "artifactLocation": { "uri": uri(source) } } }]);
    let mut rules: Vec<Reason> = report.reason.and_then(Reason::from_code).into_iter().collect();
    let mut results: Vec<Value> = rules
        .iter()
        .map(|reason| {
            let text = format!("{} Fix: {}", report.message.as_deref().unwrap_or_default(), reason.fix());
            json!({
                "ruleId": reason.code(), "ruleIndex": 0, "level": "error",
                "message": { "text": text }, "locations": location,
            })
        })
        .collect();
    if report.outcome() == Outcome::Done && !report.uncovered.is_empty() {
        rules.push(uncovered);
    }
    let mut notes: Vec<String> = report
        .uncovered
        .iter()
        .map(|pointer| format!("{pointer} is not covered by the signature."))
        .collect();
    if report.uncovered_unlisted > 0 {
        notes.push(format!("{} more members are not covered by the signature.", report.uncovered_unlisted));
    }
    results.extend(notes.into_iter().map(|text| {
        json!({
            "ruleId": uncovered.code(), "ruleIndex": 0, "level": "note",
            "message": { "text": text }, "locations": location,
        })
    }));
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "countersign",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().map(rule).collect::<Vec<_>>(),
            } },
            "results": results,
        }],
    });
    let mut text = serde_json::to_vec_pretty(&log).map_err(Unusable::new)?;
    text.push(b'\n');
    Ok(text)
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

//! The explanation of one rule, from the document that the source tree publishes: a program is read where no source is.

use crate::args::Output;
use crate::exit::Unusable;
use crate::page::{Page, STRONG, styled};
use countersign_core::refusal::Reason;
use serde_json::json;

/// The rules of verification, in Markdown.
const RULES: &str = include_str!("../../../docs/rules.md");

/// One rule in plain text.
pub(super) struct Rule {
    number: u8,
    text: String,
    stops: String,
}

impl Rule {
    /// The rule that `subject` names, as in `rule-50`.
    pub(super) fn named(subject: &str) -> Option<Self> {
        let number = subject.strip_prefix("rule-")?.parse().ok()?;
        let (_, section) = RULES.split_once(&format!("\n### Rule {number}\n"))?;
        let section = section.split("\n#").next()?;
        let mut lines = section.lines().filter(|line| !line.is_empty());
        let text = plain(lines.next()?);
        let stops = lines.find_map(|line| line.strip_prefix("- Stops: ")).map(plain)?;
        Some(Self { number, text, stops })
    }

    /// Names of the first and the last rule.
    pub(super) fn range() -> String {
        let last = RULES.lines().filter_map(|line| line.strip_prefix("### Rule ")?.parse::<u8>().ok()).max();
        format!("rule-1 to rule-{}", last.unwrap_or_default())
    }

    pub(super) fn write(&self, output: Output) -> Result<Vec<u8>, Unusable> {
        let Self { number, text, stops } = self;
        let reasons: Vec<&str> = Reason::ALL
            .iter()
            .filter(|reason| reason.rules().contains(number))
            .map(|reason| reason.code())
            .collect();
        if output == Output::Json {
            let page = json!({ "rule": number, "text": text, "stops": stops, "reasons": reasons });
            let mut text = serde_json::to_vec_pretty(&page).map_err(Unusable::new)?;
            text.push(b'\n');
            return Ok(text);
        }
        let mut page = Page::new();
        page.line(styled(STRONG, format!("rule {number}")));
        page.paragraph(2, text);
        page.gap();
        page.field("stops", stops);
        if !reasons.is_empty() {
            page.field("reasons", &reasons.join(", "));
        }
        Ok(page.into_bytes())
    }
}

/// Text without the emphasis and links of Markdown.
fn plain(markdown: &str) -> String {
    let mut text = markdown.replace("**", "");
    while let Some((before, rest)) = text.split_once("](") {
        let Some((before, label)) = before.rsplit_once('[') else { break };
        let Some((_, after)) = rest.split_once(')') else { break };
        text = format!("{before}{label}{after}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_and_plain() {
        for number in 1..=64 {
            let rule = Rule::named(&format!("rule-{number}")).unwrap();
            assert!(rule.text.len() > 40 && rule.stops.len() > 10, "rule {number}");
            for mark in ["**", "](", "- Tests"] {
                assert!(!rule.text.contains(mark) && !rule.stops.contains(mark), "rule {number}: {mark}");
            }
        }
        for unknown in ["rule-0", "rule-65", "rule-", "rule-1a", "50"] {
            assert!(Rule::named(unknown).is_none(), "{unknown}");
        }
    }
}

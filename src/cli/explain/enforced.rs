//! The explanation of a reason of the condition `Enforced`, from the table that the documentation publishes.

use crate::args::Output;
use crate::exit::Unusable;
use crate::page::{Page, STRONG, styled};
use serde_json::json;

/// What the operator does, in Markdown.
const PAGE: &str = include_str!("../../../docs/operator.md");

/// First line of the table of reasons.
const HEAD: &str = "| reason | what it means | what to do |\n";

/// Reason of the condition `Enforced` in plain text.
pub(super) struct EnforcedReason {
    code: String,
    meaning: String,
    fix: String,
}

impl EnforcedReason {
    /// All reasons, in the order of the table.
    pub(super) fn all() -> Vec<Self> {
        let table = PAGE.split_once(HEAD).map(|(_, table)| table).unwrap_or_default();
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        let read = |row: &str| {
            let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', ""));
            Some(Self { code: cells.next()?, meaning: cells.next()?, fix: cells.next()? })
        };
        rows.filter_map(read).collect()
    }

    /// The word in the condition.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn write(&self, output: Output) -> Result<Vec<u8>, Unusable> {
        let Self { code, meaning, fix } = self;
        if output == Output::Json {
            let page = json!({ "condition": "Enforced", "reason": code, "title": meaning, "fix": fix });
            let mut text = serde_json::to_vec_pretty(&page).map_err(Unusable::new)?;
            text.push(b'\n');
            return Ok(text);
        }
        let mut page = Page::new();
        page.line(styled(STRONG, code));
        page.paragraph(2, &format!("Condition Enforced of an AgentCard: {meaning}."));
        page.gap();
        page.field("fix", fix);
        Ok(page.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read_and_plain() {
        let all = EnforcedReason::all();
        assert!(all.len() >= 10);
        for reason in all {
            let EnforcedReason { code, meaning, fix } = &reason;
            assert!(code.chars().all(|c| c.is_ascii_alphanumeric()), "{code}");
            assert!(!meaning.is_empty() && !fix.is_empty() && !meaning.contains('`'), "{code}");
        }
    }
}

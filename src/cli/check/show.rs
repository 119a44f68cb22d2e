//! Findings as text for people and as JSON for scripts.

use super::finding::{Finding, Status};
use crate::exit::Unusable;
use crate::page::{BAD, GOOD, LABEL, Page, counted, styled, wrap};
use anstyle::{AnsiColor, Style};
use schemars::JsonSchema;
use serde::Serialize;

/// Version of the JSON members. A member that is added leaves the version; one that goes, or means something else, raises
/// it.
const VERSION: u32 = 1;
/// Width of a line of text, in columns.
const COLUMNS: usize = 100;
/// Least width of a sentence beside long names of checks, in columns.
const LEAST: usize = 40;
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// All findings about one subject. Every member is present; null says that there is no value.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Results {
    /// Version of the members, raised when one goes or means something else.
    schema_version: u32,
    /// What was checked: `cluster`, or `agent NAMESPACE/NAME`.
    subject: String,
    /// Results in the order of the checks; each check may have several.
    findings: Vec<Finding>,
    counts: Counts,
    /// Name of the first check that failed.
    first_failure: Option<&'static str>,
}

/// Number of findings by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
struct Counts {
    ok: usize,
    warn: usize,
    fail: usize,
    skipped: usize,
}

impl Results {
    pub(super) fn new(subject: String, findings: Vec<Finding>) -> Self {
        let count = |status| findings.iter().filter(|finding| finding.status == status).count();
        let counts = Counts {
            ok: count(Status::Ok),
            warn: count(Status::Warn),
            fail: count(Status::Fail),
            skipped: count(Status::Skipped),
        };
        let first_failure = findings.iter().find(|one| one.status == Status::Fail).map(|one| one.id);
        Self { schema_version: VERSION, subject, findings, counts, first_failure }
    }

    /// True if a check failed.
    pub(super) const fn has_failed(&self) -> bool {
        self.first_failure.is_some()
    }

    /// One JSON object, indented, with a line break at its end.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, Unusable> {
        let mut json = serde_json::to_vec_pretty(self).map_err(Unusable::new)?;
        json.push(b'\n');
        Ok(json)
    }

    /// One line for each finding, its fix below it, and a last line with the counts.
    pub(super) fn to_text(&self) -> Vec<u8> {
        let names = self.findings.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
        // The widest status has 4 columns, and two stand between columns.
        let indent = names.saturating_add(8);
        let mut page = Page::new();
        for finding in &self.findings {
            let (style, word) = word(finding.status);
            let mut lines = sentence(&format!("{} {}", finding.what, finding.found), indent).into_iter();
            let first = lines.next().unwrap_or_default();
            page.line(format_args!("{style}{word:<4}{style:#}  {:<names$}  {first}", finding.id));
            let margin = " ".repeat(indent);
            for line in lines {
                page.line(format_args!("{margin}{line}"));
            }
            if let Some(fix) = &finding.fix {
                let mut lines = sentence(fix, indent.saturating_add(5)).into_iter();
                page.line(format_args!(
                    "{margin}{} {}",
                    styled(LABEL, "fix:"),
                    lines.next().unwrap_or_default()
                ));
                for line in lines {
                    page.line(format_args!("{margin}     {line}"));
                }
            }
        }
        page.gap().line(self.summary());
        page.into_bytes()
    }

    fn summary(&self) -> String {
        let Counts { ok, warn, fail, skipped } = self.counts;
        let counts = format!(
            "{ok} ok, {}, {fail} failed, {skipped} not checked",
            counted(warn, "warning", "warnings")
        );
        let first = self.findings.iter().find(|finding| finding.status == Status::Fail);
        match first {
            Some(first) => format!("{}: {counts}; first: {}: {}", self.subject, first.id, first.what),
            None => format!("{}: {counts}", self.subject),
        }
    }
}

fn sentence(text: &str, indent: usize) -> Vec<String> {
    wrap(text, COLUMNS.saturating_sub(indent).max(LEAST))
}

const fn word(status: Status) -> (Style, &'static str) {
    match status {
        Status::Ok => (GOOD, "ok"),
        Status::Warn => (WARNING, "warn"),
        Status::Fail => (BAD, "fail"),
        Status::Skipped => (LABEL, "skip"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let all = vec![
            Finding::ok("crds", "agentcards.agent.kagenti.dev", "serves v1alpha1"),
            Finding::warn("clock", "the clock", "is late", "set it"),
            Finding::fail("trust-bundle", "ConfigMap spire/x", &"word ".repeat(40), "make one"),
            Finding::fail("guards", "they", "are not there", "install them"),
            Finding::skipped("spire", "SPIRE", "is not needed"),
        ];
        Results::new("cluster".to_owned(), all)
    }

    #[test]
    fn lines_are_aligned_and_the_last_one_counts() {
        let text = anstream::adapter::strip_bytes(&results().to_text()).into_vec();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("ok    crds          agentcards.agent.kagenti.dev serves v1alpha1\n"),
            "{text}"
        );
        assert!(
            text.contains("\nwarn  clock         the clock is late\n                    fix: set it\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        let last = text.lines().last().unwrap();
        let expected =
            "cluster: 1 ok, 1 warning, 2 failed, 1 not checked; first: trust-bundle: ConfigMap spire/x";
        assert_eq!(last, expected);
    }

    #[test]
    fn the_json_has_every_member() {
        let results = results();
        let json: serde_json::Value = serde_json::from_slice(&results.to_json().unwrap()).unwrap();
        assert_eq!(json["counts"], serde_json::json!({ "ok": 1, "warn": 1, "fail": 2, "skipped": 1 }));
        assert_eq!((&json["schemaVersion"], &json["firstFailure"]), (&1.into(), &"trust-bundle".into()));
        assert_eq!(json["findings"][0]["fix"], serde_json::Value::Null);
        assert_eq!(json["findings"][4]["status"], "skipped");
        assert!(results.has_failed());
        assert!(!Results::new(String::new(), Vec::new()).has_failed());
    }
}

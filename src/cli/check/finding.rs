//! Result of one check: what was checked, what was found, and what to do.

use super::limits::{NAMED, TEXT_CHARS};
use super::unread::Unread;
use crate::exit::one_line;
use schemars::JsonSchema;
use serde::Serialize;

/// Outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it has to be.
    Ok,
    /// It works, and something is likely to surprise.
    Warn,
    /// It does not work.
    Fail,
    /// Not checked, for the reason found.
    Skipped,
}

/// Result of one check. All texts are one line, escaped and bounded.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub(super) struct Finding {
    /// Name of the check, stable across releases.
    pub(super) id: &'static str,
    pub(super) status: Status,
    /// Subject of the sentence.
    pub(super) what: String,
    /// Rest of the sentence.
    pub(super) found: String,
    /// What to do; `None` if there is nothing to do.
    pub(super) fix: Option<String>,
}

impl Finding {
    /// A check that passed.
    pub(super) fn ok(id: &'static str, what: &str, found: &str) -> Self {
        Self { id, status: Status::Ok, what: shown(what), found: shown(found), fix: None }
    }

    /// A check that found a likely surprise.
    pub(super) fn warn(id: &'static str, what: &str, found: &str, fix: &str) -> Self {
        Self { status: Status::Warn, fix: Some(shown(fix)), ..Self::ok(id, what, found) }
    }

    /// A check that failed.
    pub(super) fn fail(id: &'static str, what: &str, found: &str, fix: &str) -> Self {
        Self { status: Status::Fail, ..Self::warn(id, what, found, fix) }
    }

    /// A check that was not done and is not needed.
    pub(super) fn skipped(id: &'static str, what: &str, found: &str) -> Self {
        Self { status: Status::Skipped, ..Self::ok(id, what, found) }
    }

    /// A check whose object cannot be read. `absent` is the finding if there is no such object.
    pub(super) fn unread(
        id: &'static str,
        what: &str,
        unread: &Unread,
        absent: impl FnOnce() -> Self,
    ) -> Self {
        match unread {
            Unread::Absent => absent(),
            Unread::Forbidden(right) => Self {
                fix: Some(shown(&format!(
                    "ask for the right to {right}, or let somebody run this who has it"
                ))),
                ..Self::skipped(id, what, &format!("was not read: you may not {right}"))
            },
            Unread::Failed(problem) => Self::fail(
                id,
                what,
                &format!("cannot be read: {problem}"),
                "run this again; if it stays, look at the API server",
            ),
        }
    }
}

/// Text as one bounded line.
fn shown(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Names as a list of which only the first are written out.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let (first, rest) = names.split_at(names.len().min(NAMED));
    let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_objects_say_is_one_bounded_line() {
        let found = Finding::fail("x", "a\nfix: b", &"é".repeat(100_000), "\u{1b}[2J\u{202e}")
            .fix
            .unwrap_or_default();
        assert_eq!(found, "\\u{1b}[2J\\u{202e}");
        let found = Finding::ok("x", "a\nfix: b", &"é".repeat(100_000));
        assert_eq!(found.what, "a\\u{a}fix: b");
        assert_eq!(found.found.chars().count(), TEXT_CHARS + 1);
    }

    #[test]
    fn what_cannot_be_read_is_skipped_only_for_a_right_that_is_missing() {
        let status = |unread: Unread| {
            let found = Finding::unread("x", "it", &unread, || Finding::ok("x", "it", "may be absent"));
            (found.status, found.fix.is_some())
        };
        assert_eq!(status(Unread::Absent), (Status::Ok, false));
        assert_eq!(status(Unread::Forbidden("get pods".to_owned())), (Status::Skipped, true));
        assert_eq!(status(Unread::Failed("500".to_owned())), (Status::Fail, true));
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(listed(&["a", "b"]), "a, b");
        assert_eq!(listed(&["1", "2", "3", "4", "5", "6", "7"]), "1, 2, 3, 4, 5 and 2 more");
        assert_eq!(listed::<&str>(&[]), "");
    }
}

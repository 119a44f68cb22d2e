//! Text for people, in lines of at most 80 columns, with styles for terminals.

use anstyle::{AnsiColor, Style};
use std::fmt::{self, Write};

/// Width of a line, in columns: that of the narrowest usual terminal.
const COLUMNS: usize = 80;

/// Style of a good outcome.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Style of a refusal.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of a label in front of a value.
pub(super) const LABEL: Style = Style::new().dimmed();
/// Style of a heading.
pub(super) const STRONG: Style = Style::new().bold();

/// Formats text in a style.
pub(super) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Formats a number with the counted noun, in singular or plural.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A text that is built line by line.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Makes a page without lines.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Appends one line without breaking it.
    pub(super) fn line(&mut self, line: impl fmt::Display) -> &mut Self {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{line}");
        self
    }

    /// Appends an empty line.
    pub(super) fn gap(&mut self) -> &mut Self {
        self.line("")
    }

    /// Appends text that is broken at spaces, each line indented by `indent` columns.
    pub(super) fn paragraph(&mut self, indent: usize, text: &str) -> &mut Self {
        let margin = " ".repeat(indent);
        for line in wrap(text, COLUMNS.saturating_sub(indent)) {
            self.line(format_args!("{margin}{line}"));
        }
        self
    }

    /// Appends a label, padded to 11 columns, and a value whose further lines are aligned below its first.
    pub(super) fn field(&mut self, label: &str, value: &str) -> &mut Self {
        const WIDTH: usize = 11;
        let indent = WIDTH.saturating_add(2);
        let mut lines = wrap(value, COLUMNS.saturating_sub(indent)).into_iter();
        let first = lines.next().unwrap_or_default();
        self.line(format_args!("  {LABEL}{label:<WIDTH$}{LABEL:#}{first}"));
        let margin = " ".repeat(indent);
        for line in lines {
            self.line(format_args!("{margin}{line}"));
        }
        self
    }

    /// The text with styles, for standard output.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// Breaks text at spaces. A word longer than a line stays whole, because people copy IDs and paths.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0_usize;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        let needed = used.saturating_add(width).saturating_add(usize::from(used > 0));
        if used > 0 && needed > columns {
            lines.push(word.to_owned());
            used = width;
        } else if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
            }
            line.push_str(word);
            used = needed;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("aa bb ccc", 5), ["aa bb", "ccc"]);
        assert_eq!(wrap("a spiffe://example.org/x b", 5), ["a", "spiffe://example.org/x", "b"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn a_field_fits_80_columns_and_continues_below_its_value() {
        let mut page = Page::new();
        page.field("reason", &"word ".repeat(40));
        let text = String::from_utf8(anstream::adapter::strip_bytes(&page.into_bytes()).into_vec()).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("             word")), "{text}");
    }
}

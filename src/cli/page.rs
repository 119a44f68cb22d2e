//! Text for people: lines that fit 80 columns, with styles that only terminals show.

use anstyle::{AnsiColor, Style};
use std::fmt::{self, Write};

/// Columns that every terminal has.
const COLUMNS: usize = 80;

/// Something went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something was refused.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A name in front of a value.
pub(super) const LABEL: Style = Style::new().dimmed();
/// A heading.
pub(super) const STRONG: Style = Style::new().bold();

/// Text in a style.
pub(super) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A number and what is counted.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A text that grows line by line.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// A page without lines.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// One line as it is.
    pub(super) fn line(&mut self, line: impl fmt::Display) -> &mut Self {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{line}");
        self
    }

    /// An empty line.
    pub(super) fn gap(&mut self) -> &mut Self {
        self.line("")
    }

    /// Text broken at spaces, every line after `indent` spaces.
    pub(super) fn paragraph(&mut self, indent: usize, text: &str) -> &mut Self {
        let margin = " ".repeat(indent);
        for line in wrap(text, COLUMNS.saturating_sub(indent)) {
            self.line(format_args!("{margin}{line}"));
        }
        self
    }

    /// A label of 11 columns and a value that continues below itself.
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

    /// The text, ready for standard output.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// Breaks at spaces; a word that is longer than a line stays whole, because it is something to copy.
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

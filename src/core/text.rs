//! Display of untrusted text in messages, logs, status and events (rule 60).
//! [`Quoted`] alone escapes and cuts such text, so that no caller can forget to.

use super::limits::QUOTED_CHARS;
use std::fmt::{self, Write};

/// Displays untrusted text in double quotes: control, bidirectional and invisible characters are escaped, and the
/// text is cut at [`QUOTED_CHARS`] characters with an ellipsis.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for (index, c) in self.0.chars().enumerate() {
            if index == QUOTED_CHARS {
                f.write_char('…')?;
                break;
            }
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if is_unsafe_for_display(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// True for a character that can change how the text around it is read: C0 and C1 controls, line and paragraph
/// separators, bidirectional controls, zero-width and other invisible formatting characters.
pub fn is_unsafe_for_display(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_cannot_forge_a_log_line_or_turn_the_reading_direction() {
        let shown = Quoted("a\nlevel=info \u{202e}\u{200b}\"\\").to_string();
        assert_eq!(shown, r#""a\u{a}level=info \u{202e}\u{200b}\"\\""#);
    }

    #[test]
    fn quoted_text_is_bounded() {
        let shown = Quoted(&"é".repeat(100_000)).to_string();
        assert_eq!(shown.chars().count(), QUOTED_CHARS + 3);
        assert!(shown.ends_with("…\""));
    }
}

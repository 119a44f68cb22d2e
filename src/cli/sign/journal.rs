//! What the signer of a Pod says on standard error: one JSON object a line, as the existing signer does.

use countersign_core::text::is_unsafe_for_display;
use countersign_io::clock::now;
use serde_json::{Map, Value};
use std::io::Write;

/// Longest value, in characters.
const VALUE_CHARS: usize = 2_000;

/// Something went as it should.
pub(super) fn info(message: &str, pairs: &[(&str, String)]) {
    log("info", message, pairs);
}

/// Something did not, and is tried again or ends the program.
pub(super) fn error(message: &str, pairs: &[(&str, String)]) {
    log("error", message, pairs);
}

fn log(level: &str, message: &str, pairs: &[(&str, String)]) {
    // Where standard error cannot be written there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", line(level, message, pairs, &now().to_string()));
}

fn line(level: &str, message: &str, pairs: &[(&str, String)], at: &str) -> String {
    let mut line = Map::new();
    for (name, value) in pairs {
        let safe = value.chars().take(VALUE_CHARS);
        let safe: String = safe.map(|c| if is_unsafe_for_display(c) { '\u{fffd}' } else { c }).collect();
        line.insert((*name).to_owned(), safe.into());
    }
    line.insert("level".to_owned(), level.into());
    line.insert("msg".to_owned(), message.into());
    line.insert("ts".to_owned(), at.into());
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_is_in_it() {
        let text = line("error", "signing failed", &[("error", "a\nb\u{202e}\"".to_owned())], "now");
        assert_eq!(text.lines().count(), 1, "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["error"], "a\u{fffd}b\u{fffd}\"");
        assert_eq!(
            (&read["level"], &read["msg"], &read["ts"]),
            (&"error".into(), &"signing failed".into(), &"now".into())
        );
    }
}

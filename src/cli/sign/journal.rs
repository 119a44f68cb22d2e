//! Log lines of the signer in a Pod, on standard error: one JSON object each, as kagenti's signer writes.

use countersign_core::text::is_unsafe_for_display;
use countersign_io::clock::now;
use serde_json::{Map, Value};
use std::io::Write;

/// Longest value of one field, in characters; a longer one is cut.
const VALUE_CHARS: usize = 2_000;

/// Logs an expected event.
pub(super) fn info(message: &str, pairs: &[(&str, String)]) {
    log("info", message, pairs);
}

/// Logs a failure, which the caller retries or which ends the program.
pub(super) fn error(message: &str, pairs: &[(&str, String)]) {
    log("error", message, pairs);
}

fn log(level: &str, message: &str, pairs: &[(&str, String)]) {
    // If standard error cannot be written, signing matters more than the log.
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

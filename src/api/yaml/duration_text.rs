//! Text of a duration: a number in its place is told apart from any other value, with what to write.

use serde::de::{Deserializer, Error, Visitor};
use std::fmt;

/// Deserializes the text of a duration, such as `30s`, without parsing it.
///
/// # Errors
/// Any other value; for a number, with the text to write.
pub fn duration_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(DurationText)
}

struct DurationText;

fn without_unit<E: Error>(example: impl fmt::Display) -> E {
    E::custom(format!("it is a number without a unit; write a duration such as \"{example}s\""))
}

impl Visitor<'_> for DurationText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Err(without_unit(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        Err(without_unit(30))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        Err(without_unit(30))
    }
}

//! Error about a value that does not fit its type, in words of YAML instead of Rust, and without the value, which may be a
//! secret.

use super::diagnostic::Mistake;
use super::node::Place;
use super::path::ValuePath;
use countersign_core::text::Quoted;
use serde::de::{Expected, Unexpected};
use std::fmt;

/// A deserialization error, and its location once a reader has added it.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) problem: String,
    pub(super) at: Option<(Place, ValuePath)>,
    /// Key that is missing, if that is the error.
    pub(super) missing: Option<&'static str>,
}

impl ReadError {
    /// Mistake that the error is; `place` is used where no reader added a location.
    pub(super) fn into_mistake(self, place: Place) -> Mistake {
        let (place, path) = self.at.unwrap_or((place, ValuePath::default()));
        Mistake { place, path, problem: self.problem }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self { problem: problem.to_string(), at: None, missing: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // The kind alone: an unquoted secret is a number to YAML.
        let is_quoted = matches!(found, Unexpected::Str(text) if is_scalar(text));
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) | Unexpected::Char(_) => "a text",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "something else",
        };
        let hint = match (found, &*expected.to_string()) {
            ("a boolean" | "a number", "a string") => "; put it into quotes",
            ("a text", "a boolean" | "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64") if is_quoted => {
                "; take the quotes off"
            }
            _ => "",
        };
        Self::custom(format!("it is {found}, expected {}{hint}", Wanted(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("it is {found}, expected {}", Wanted(expected)))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let nearest = nearest(found, known).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        Self::custom(format!("{} is none of {}{nearest}", Quoted(found), known.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::custom(missing(field)) }
    }
}

/// True for a text that without quotes is a boolean or a number.
fn is_scalar(text: &str) -> bool {
    matches!(text, "true" | "false") || text.parse::<u64>().is_ok()
}

/// Text for a key that is not there.
pub(super) fn missing(key: &str) -> String {
    format!("the key {key} is missing; add it")
}

/// What was expected, in words of YAML instead of Rust.
struct Wanted<'e>(&'e dyn Expected);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.0.to_string();
        f.write_str(match expected.as_str() {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
            "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero usize" => "a whole number from 1",
            "a string" => "a text",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            "unit" => "nothing",
            // Names of types are words of Rust.
            other if other.starts_with("struct ") => "a map of keys",
            other => other,
        })
    }
}

/// Word that is most like `found`, if one is like it.
pub(super) fn nearest<'w>(found: &str, words: &[&'w str]) -> Option<&'w str> {
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(word, found), *word))
        .min()
        .filter(|(distance, word)| *distance <= word.len().div_ceil(2))
        .map(|(_, word)| word)
}

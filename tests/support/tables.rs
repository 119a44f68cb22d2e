//! Reviewed tables of expected outcomes.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at a table that cannot be read")]

use crate::support::read;
use std::path::Path;

/// A TOML file read into `T`.
pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = String::from_utf8(read(path)).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! Given flags, read one by one with the defaults of the table.

use super::syntax::{FlagError, Given, boolean};
use super::table::default_of;
use super::values::word;
use countersign_api::duration::parse_duration;
use std::time::Duration;

/// Given flags with defaults for the others.
pub(super) struct Flags<'g>(pub(super) &'g Given);

impl Flags<'_> {
    pub(super) fn text(&self, name: &'static str) -> &str {
        self.0.last(name).unwrap_or(default_of(name))
    }

    pub(super) fn read<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, FlagError> {
        let text = self.text(name);
        read(text).map_err(|problem| FlagError::value(name, problem, text))
    }

    pub(super) fn each<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, FlagError> {
        let values = self.0.all(name).iter();
        values.map(|text| read(text).map_err(|problem| FlagError::value(name, problem, text))).collect()
    }

    pub(super) fn boolean(&self, name: &'static str) -> Result<bool, FlagError> {
        self.read(name, |text| boolean(text).map_err(str::to_owned))
    }

    pub(super) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<T, FlagError> {
        self.read(name, |text| word(text, words))
    }

    pub(super) fn required(&self, name: &'static str) -> Result<String, FlagError> {
        self.read(name, |text| match text {
            "" => Err("is empty; leave the flag out for its default".to_owned()),
            text => Ok(text.to_owned()),
        })
    }

    /// Duration of a flag, which must not be zero.
    pub(super) fn span(&self, name: &'static str) -> Result<Duration, FlagError> {
        self.read(name, |text| match parse_duration(text) {
            Ok(Duration::ZERO) => Err("is zero; give a duration such as 30s".to_owned()),
            other => other.map_err(str::to_owned),
        })
    }
}

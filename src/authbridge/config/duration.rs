//! Durations in Go's syntax, as the configuration file has always had them.

use countersign_api::duration::parse_duration;
use countersign_api::yaml::duration_text;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;
use std::time::Duration;

/// A duration such as `30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct GoDuration(#[schemars(with = "String")] pub Duration);

impl GoDuration {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for GoDuration {
    /// The whole number of the largest unit that leaves no rest, such as `90s` or `168h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1000, "us"),
        ];
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let whole = UNITS.iter().find(|(unit, _)| nanos.checked_rem(*unit) == Some(0));
        match whole.and_then(|(unit, name)| Some((nanos.checked_div(*unit)?, name))) {
            Some((count, name)) => write!(f, "{count}{name}"),
            None => write!(f, "{nanos}ns"),
        }
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = duration_text(deserializer)?;
        parse_duration(&text).map(Self).map_err(|problem| D::Error::custom(format!("the value {problem}")))
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0.as_secs_f64()))
    }
}

//! Why a turn failed, as far as it decides when to try again.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nobody's: a lost race, an API server that restarts. Trying again helps soon.
    Transient,
    /// The user's: a right that is missing, a setting that cannot be used. Trying again helps once it is mended.
    Configuration,
    /// Somebody else's: a service that does not answer. Trying again must not make it worse.
    External,
    /// Ours: a request that the API server will never take.
    Bug,
}

impl Class {
    /// The word for logs and labels.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Configuration => "configuration",
            Self::External => "external",
            Self::Bug => "bug",
        }
    }

    /// The first wait, doubled with each failure in a row, and the longest one.
    const fn waits(self) -> (Duration, Duration) {
        let (first, last) = match self {
            Self::Transient => (250, 30_000),
            Self::Configuration | Self::External => (1_000, 300_000),
            Self::Bug => (30_000, 300_000),
        };
        (Duration::from_millis(first), Duration::from_millis(last))
    }

    /// The wait after so many failures in a row.
    pub fn retry_after(self, failures: u32) -> Duration {
        let (first, last) = self.waits();
        first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(last)
    }
}

/// A turn that failed.
#[derive(Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub class: Class,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: Class, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class, error: error.into() }
    }
}

// What the API server refuses today it may take tomorrow: rights are granted, definitions come, quotas are raised. So all
// of it is tried again within half a minute.
impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::new(Class::Transient, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_each_failure_and_stay_bounded() {
        let waits = |class: Class| [1, 2, 3, 8, 40].map(|failures| class.retry_after(failures).as_millis());
        assert_eq!(waits(Class::Transient), [250, 500, 1000, 30_000, 30_000]);
        assert_eq!(waits(Class::External), [1000, 2000, 4000, 128_000, 300_000]);
        assert_eq!(waits(Class::Configuration), waits(Class::External));
        assert_eq!(waits(Class::Bug), [30_000, 60_000, 120_000, 300_000, 300_000]);
    }
}

//! Failures of turns, classified by how soon a retry makes sense.

use super::api_error::{Explained, lacks_a_right};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Class of a failure, which decides the waits between retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Short-lived cause, such as a lost race or a restarting API server: retried after 250 ms to 30 s.
    Transient,
    /// User error, such as a missing right or an unusable setting: retried after 1 s to 5 min.
    Configuration,
    /// External service that does not answer: retried after 1 s to 5 min, so that retries add little load.
    External,
    /// Own error, such as a request that the API server never accepts: retried after 30 s to 5 min.
    Bug,
}

impl Class {
    /// Identifier of the class in logs.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Configuration => "configuration",
            Self::External => "external",
            Self::Bug => "bug",
        }
    }

    /// First wait, which doubles with each failure of the class, and longest wait.
    const fn waits(self) -> (Duration, Duration) {
        let (first, last) = match self {
            Self::Transient => (250, 30_000),
            Self::Configuration | Self::External => (1_000, 300_000),
            Self::Bug => (30_000, 300_000),
        };
        (Duration::from_millis(first), Duration::from_millis(last))
    }

    /// Wait after `failures` failures of this class without a success between them.
    pub fn retry_after(self, failures: u32) -> Duration {
        let (first, last) = self.waits();
        first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(last)
    }
}

/// Failure of a turn, with its class.
#[derive(Debug)]
pub struct Failure {
    /// Class that decides the next wait.
    pub class: Class,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// Failure of the given class from an error.
    pub fn new(class: Class, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { class, error: error.into() }
    }
}

// The API server may accept later what it refuses now: CRDs are installed, quotas raised, namespaces made again. Its errors
// are therefore transient, and retried within 30 s, but for a right that the account lacks: that concerns every object
// of the kind, and only an administrator can change it.
impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let class = if lacks_a_right(&error) { Class::Configuration } else { Class::Transient };
        Self::new(class, Explained(&error).to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Answers of an API server that cannot say now whether it accepts a request (RFC 9110, RFC 6585): it waited too long for
/// the request, the request lost a race, or there is too much to do.
const PASSING: [u16; 3] = [408, 409, 429];

/// True if a failed request may succeed unchanged in a moment: nothing answered, or the answer is about the API server and
/// not about the request.
pub fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => PASSING.contains(&status.code) || status.code >= 500,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_answer_about_the_request_does_not_pass_by_itself() {
        let passes =
            |code| is_passing(&kube::Error::Api(Status { code, ..Status::failure("no", "Reason") }.boxed()));
        assert_eq!([408, 409, 429, 500, 503, 504].map(passes), [true; 6]);
        assert_eq!([400, 401, 403, 404, 405, 413, 422].map(passes), [false; 7]);
        assert!(is_passing(&kube::Error::LinesCodecMaxLineLengthExceeded));
    }

    #[test]
    fn a_missing_right_is_a_failure_of_the_configuration_and_what_may_change_by_itself_is_transient() {
        let right = "pods \"a\" is forbidden: User \"u\" cannot patch resource \"pods\" in API group \"\" in the \
                     namespace \"team\"";
        for (code, message, class) in [
            (403, right, Class::Configuration),
            (403, "pods \"a\" is forbidden: exceeded quota: small", Class::Transient),
            (404, "not found", Class::Transient),
            (409, "conflict", Class::Transient),
            (500, "broken", Class::Transient),
        ] {
            let status = Status { code, ..Status::failure(message, "Reason") };
            let failure = Failure::from(kube::Error::Api(status.boxed()));
            assert_eq!(failure.class, class, "{message}");
            assert!(!failure.to_string().contains("Status {"), "{failure}");
        }
    }

    #[test]
    fn waits_double_with_each_failure_and_stay_bounded() {
        let waits = |class: Class| [1, 2, 3, 8, 40].map(|failures| class.retry_after(failures).as_millis());
        assert_eq!(waits(Class::Transient), [250, 500, 1000, 30_000, 30_000]);
        assert_eq!(waits(Class::External), [1000, 2000, 4000, 128_000, 300_000]);
        assert_eq!(waits(Class::Configuration), waits(Class::External));
        assert_eq!(waits(Class::Bug), [30_000, 60_000, 120_000, 300_000, 300_000]);
    }
}

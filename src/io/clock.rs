//! The only place that asks the system what time it is.
//! Everything below takes the answer as an argument, so that every time rule can be tested at its edge.

use countersign_core::time::Timestamp;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's time in whole seconds.
///
/// A clock before 1970 reads as 1970: every certificate is then not valid yet, and nothing is accepted.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A point of the clock that only goes forward, for waits and durations.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
pub fn instant() -> Instant {
    Instant::now()
}

/// How long it is until a time, by the clock as it goes now; none if it has come.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
pub fn until(time: Timestamp) -> Duration {
    let since_epoch = Duration::from_secs(u64::try_from(time.as_unix()).unwrap_or(0));
    let then = UNIX_EPOCH.checked_add(since_epoch);
    then.and_then(|then| then.duration_since(SystemTime::now()).ok()).unwrap_or_default()
}

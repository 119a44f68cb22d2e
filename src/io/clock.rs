//! The clocks of the programs: no other module reads the system time.
//! All other code takes time as an argument, so that tests reach the edge of every time rule.

use countersign_core::time::Timestamp;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system time, in whole seconds.
///
/// A clock before 1970 reads as 1970: no certificate is valid yet then, and nothing is accepted.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The time of the monotonic clock, for waits and durations.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Time from now until `time` by the system clock; zero once `time` has come.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
pub fn until(time: Timestamp) -> Duration {
    let since_epoch = Duration::from_secs(u64::try_from(time.as_unix()).unwrap_or(0));
    let then = UNIX_EPOCH.checked_add(since_epoch);
    then.and_then(|then| then.duration_since(SystemTime::now()).ok()).unwrap_or_default()
}

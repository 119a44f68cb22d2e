//! The one way in which tests wait: ask until it is so, or say for what and for how long they have waited.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// The pause after the first question; it doubles up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// Asks until `done` says so, up to five times a second, and returns how long it took; an error if that is longer than
/// `limit`. A question that fails is asked again, and the last failure is told.
pub fn until(what: &str, limit: Duration, done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    until_unless(what, limit, done, || Ok(()))
}

/// The same, given up as soon as `broken` is an error.
pub fn until_unless(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> Result<bool>,
    mut broken: impl FnMut() -> Result<()>,
) -> Result<Duration> {
    let (begin, mut pause) = (Instant::now(), PAUSES.0);
    loop {
        let last = done();
        if matches!(last, Ok(true)) {
            return Ok(begin.elapsed());
        }
        broken()?;
        if begin.elapsed() > limit {
            let why = last.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            bail!("{what}: not within {} s{why}", limit.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

#[cfg(test)]
mod tests {
    use super::{until, until_unless};
    use anyhow::bail;
    use std::time::Duration;

    #[test]
    fn what_is_waited_for_is_asked_until_it_is_so() {
        let mut asked = 0;
        let done = || {
            asked += 1;
            if asked == 1 {
                bail!("not yet");
            }
            Ok(asked == 3)
        };
        until("the third question", Duration::from_secs(10), done).unwrap();
        assert_eq!(asked, 3);
    }

    #[test]
    fn what_does_not_come_is_told_with_the_last_failure() {
        let error = until("a miracle", Duration::ZERO, || bail!("none today")).unwrap_err().to_string();
        assert!(error.contains("a miracle") && error.contains("none today"), "{error}");
    }

    #[test]
    fn what_is_broken_is_not_waited_for() {
        let broken = || bail!("it ended");
        let error = until_unless("it", Duration::from_hours(1), || Ok(false), broken).unwrap_err();
        assert_eq!(error.to_string(), "it ended");
    }
}

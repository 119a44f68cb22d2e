//! What to do about the lease, as a pure function of what was seen.

use std::time::Duration;

/// How long a silent holder keeps the lease.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long the holder works without a successful renewal; shorter, so that two never work at once.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the lease is looked at.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// The parts of a stored lease that change when its holder renews it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// Nobody if empty.
    pub(super) holder: String,
    /// The holder's own time of renewal, as text: compared, never computed with.
    pub(super) renewed: String,
    /// How long the holder wants it for.
    pub(super) duration: Duration,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Somebody else holds it.
    Wait,
    /// It is free.
    Take,
    /// It is ours.
    Renew,
}

/// `unchanged` is for how long the lease has looked as in `found`, by our own clock.
pub(super) fn decide(found: Option<&Observed>, identity: &str, unchanged: Duration) -> Step {
    match found {
        None => Step::Take,
        Some(lease) if lease.holder == identity => Step::Renew,
        Some(lease) if lease.holder.is_empty() => Step::Take,
        Some(lease) if unchanged > lease.duration => Step::Take,
        Some(_) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str) -> Observed {
        Observed { holder: holder.to_owned(), renewed: "t".to_owned(), duration: LEASE_DURATION }
    }

    #[test]
    fn a_free_lease_is_taken_and_our_own_renewed() {
        let long = Duration::from_hours(1);
        for unchanged in [Duration::ZERO, long] {
            assert_eq!(decide(None, "a", unchanged), Step::Take);
            assert_eq!(decide(Some(&lease("")), "a", unchanged), Step::Take);
            assert_eq!(decide(Some(&lease("a")), "a", unchanged), Step::Renew);
        }
    }

    #[test]
    fn a_holder_keeps_it_until_it_was_silent_for_the_whole_duration() {
        let other = lease("b");
        for seconds in 0..=15 {
            assert_eq!(decide(Some(&other), "a", Duration::from_secs(seconds)), Step::Wait, "{seconds}");
        }
        assert_eq!(decide(Some(&other), "a", Duration::from_millis(15_001)), Step::Take);
    }

    #[test]
    fn a_holder_stops_before_another_may_start() {
        assert!(RENEW_DEADLINE + RETRY_PERIOD < LEASE_DURATION);
    }
}

//! Decision about the lease. Pure: observation and elapsed time are arguments.

use std::time::Duration;

/// Time after which other replicas may take the lease of a holder that does not renew.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time after which a holder without a successful renewal stops. Shorter than [`LEASE_DURATION`], so that two
/// replicas never lead at once.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Period between two reads of the lease.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Members of a stored lease that change when its holder renews it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedLease {
    /// Identity of the holder; empty if the lease is free.
    pub(super) holder: String,
    /// Renewal time by the holder's clock, as text: compared for equality only, because that clock may be wrong.
    pub(super) renewed: String,
    /// Duration that the holder requested.
    pub(super) duration: Duration,
}

/// Next step of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Waits: another replica holds the lease.
    Wait,
    /// Takes the lease: free or expired.
    Take,
    /// Renews the lease: this replica holds it.
    Renew,
}

/// Next step for the observed lease; `unchanged` is how long it has not changed, by this replica's clock.
pub(super) fn decide(found: Option<&ObservedLease>, identity: &str, unchanged: Duration) -> Step {
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

    fn lease(holder: &str) -> ObservedLease {
        ObservedLease { holder: holder.to_owned(), renewed: "t".to_owned(), duration: LEASE_DURATION }
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

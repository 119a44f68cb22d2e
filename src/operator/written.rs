//! Peer marks written in the last second. The watch may report earlier changes of a Pod after the write, so that the
//! index may be older than the mark.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum time for the watch to report a write; after that a mark may be written again.
pub(super) const WATCH_LAG: Duration = Duration::from_secs(1);

/// Recently written peer marks by UID of the Pod, with the time of the write.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<BTreeMap<String, (Option<String>, Instant)>>);

impl Written {
    /// Records a write, or a removal, of a peer mark at `now`.
    pub(super) fn wrote(&self, uid: &str, mark: Option<&str>, now: Instant) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|_, (_, at)| now.saturating_duration_since(*at) < WATCH_LAG);
        marks.insert(uid.to_owned(), (mark.map(str::to_owned), now));
    }

    /// True if the last write to the Pod was this value, less than 1 s ago.
    pub(super) fn is_in_flight(&self, uid: &str, mark: Option<&str>, now: Instant) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(uid).is_some_and(|(written, at)| {
            written.as_deref() == mark && now.saturating_duration_since(*at) < WATCH_LAG
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_io::clock::instant;

    #[test]
    fn a_mark_is_not_written_again_while_the_watch_may_not_have_told_of_it() {
        let (written, start) = (Written::default(), instant());
        let at = |millis| start.checked_add(Duration::from_millis(millis)).unwrap();
        written.wrote("a", Some("weather"), at(0));
        assert!(written.is_in_flight("a", Some("weather"), at(999)));
        assert!(!written.is_in_flight("a", Some("weather"), at(1000)), "somebody took it away again");
        assert!(!written.is_in_flight("a", None, at(1)), "taking away what was given does not wait");
        assert!(!written.is_in_flight("b", Some("weather"), at(1)));
        written.wrote("a", None, at(10));
        assert!(!written.is_in_flight("a", Some("weather"), at(11)), "the last write counts");
        written.wrote("b", None, at(2000));
        assert_eq!(written.0.lock().unwrap().len(), 1, "what is old is forgotten");
    }
}

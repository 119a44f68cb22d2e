//! Marks that were written a moment ago. The watch tells of a write after other changes of the same Pod, so what is known
//! of the Pod may be older than the mark.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the watch may take to tell of a write.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Marks by the UID of their Pod, with when they were written.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<BTreeMap<String, (Option<String>, Instant)>>);

impl Written {
    /// Remembers that a mark was written, or taken away, just now.
    pub(super) fn wrote(&self, uid: &str, mark: Option<&str>, now: Instant) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|_, (_, at)| now.saturating_duration_since(*at) < ON_ITS_WAY);
        marks.insert(uid.to_owned(), (mark.map(str::to_owned), now));
    }

    /// Whether exactly this was written so lately that the watch may not have told of it.
    pub(super) fn is_on_its_way(&self, uid: &str, mark: Option<&str>, now: Instant) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(uid).is_some_and(|(written, at)| {
            written.as_deref() == mark && now.saturating_duration_since(*at) < ON_ITS_WAY
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
        assert!(written.is_on_its_way("a", Some("weather"), at(999)));
        assert!(!written.is_on_its_way("a", Some("weather"), at(1000)), "somebody took it away again");
        assert!(!written.is_on_its_way("a", None, at(1)), "taking away what was given does not wait");
        assert!(!written.is_on_its_way("b", Some("weather"), at(1)));
        written.wrote("a", None, at(10));
        assert!(!written.is_on_its_way("a", Some("weather"), at(11)), "the last write counts");
        written.wrote("b", None, at(2000));
        assert_eq!(written.0.lock().unwrap().len(), 1, "what is old is forgotten");
    }
}

//! How a source of bundles on the API server is followed: it is read, and read again at every word of its watch, at
//! every failure of it, and after a while without any. What counts is what was read, so a bundle is as old as the last
//! answer: neither a watch that ends nor one that is silent can keep it young.

use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{Error, Event};
use std::time::Duration;
use tokio::time::timeout;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How soon a source that could not be read is read again, without any word of its watch.
const RETRY: Duration = Duration::from_secs(10);

/// Why a source gave no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    /// One word of a fixed list, for the metric.
    pub(super) word: &'static str,
    /// What was found.
    pub(super) refusal: Refusal,
}

impl Unread {
    /// A source that is not there, or does not hold what it should.
    pub(super) fn missing(found: String) -> Self {
        Self { word: "not_found", refusal: Refusal::new(Reason::BundleMalformed, found) }
    }

    /// An answer that is none.
    fn failed(what: &str, error: &kube::Error) -> Self {
        let word = match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => "forbidden",
            kube::Error::Api(status) if status.code == 404 => "not_found",
            _ => "unavailable",
        };
        let found = format!("{what} could not be read: {}", Quoted(&error.to_string()));
        Self { word, refusal: Refusal::new(Reason::BundleMalformed, found) }
    }
}

/// The word for a bundle that was read and refused.
pub(super) const fn word_of(reason: Reason) -> &'static str {
    match reason {
        Reason::BundleEmpty => "empty",
        Reason::BundleRollback => "rollback",
        _ => "parse",
    }
}

/// Reads what is `asked`, or says why it cannot be.
pub(super) async fn read<T>(
    what: &str,
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Unread> {
    if let Ok(answer) = timeout(ANSWER, asked).await {
        return answer.map_err(|error| Unread::failed(what, &error));
    }
    let found = format!("{what} could not be read: the API server did not answer within {ANSWER:?}");
    Err(Unread { word: "unavailable", refusal: Refusal::new(Reason::BundleMalformed, found) })
}

/// Waits until the source should be read again: a word of its watch, a failure of it, or the end of `every`, which is
/// shorter for a source that could not be read.
pub(super) async fn until_next<K>(
    events: &mut (impl Stream<Item = Result<Event<K>, Error>> + Unpin),
    every: Duration,
    was_read: bool,
    broken: impl Fn(&Error),
) {
    let heard = async {
        loop {
            match events.next().await {
                // Objects of a list come before its end.
                Some(Ok(Event::Init | Event::InitApply(_))) => {}
                Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) => return,
                Some(Err(error)) => return broken(&error),
                None => std::future::pending().await,
            }
        }
    };
    let wait = if was_read { every } else { every.min(RETRY) };
    // A while without any word is a reason to read as well.
    drop(timeout(wait, heard).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn each_way_to_fail_has_its_word() {
        let answered = |code| {
            let status = Status { code, ..Status::failure("no", "Reason") };
            Unread::failed("the ConfigMap", &kube::Error::Api(status.boxed())).word
        };
        assert_eq!(
            [401, 403, 404, 429, 500].map(answered),
            ["forbidden", "forbidden", "not_found", "unavailable", "unavailable"]
        );
        let words = [Reason::BundleEmpty, Reason::BundleRollback, Reason::BundleMalformed].map(word_of);
        assert_eq!(words, ["empty", "rollback", "parse"]);
    }

    #[tokio::test]
    async fn a_source_is_read_at_each_word_of_its_watch_and_after_silence() {
        use futures::stream;
        let api = kube::Error::Api(Status::failure("no", "Forbidden").with_code(403).boxed());
        let said = [
            Ok(Event::Init),
            Ok(Event::InitApply(1)),
            Ok(Event::InitDone),
            Ok(Event::Apply(2)),
            Err(Error::WatchStartFailed(api)),
        ];
        let mut events = stream::iter(said).chain(stream::pending());
        let failures = std::cell::Cell::new(0);
        let hour = Duration::from_hours(1);
        for expected in [0, 0, 1] {
            until_next(&mut events, hour, true, |_| failures.set(failures.get() + 1)).await;
            assert_eq!(failures.get(), expected);
        }
        until_next(&mut events, Duration::from_millis(1), true, |_| {}).await;
    }
}

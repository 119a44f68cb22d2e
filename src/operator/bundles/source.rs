//! Reads of bundle sources at the API server: after every watch event, every failure of the watch, and a period
//! without either. A bundle is as old as the last read, so that no stopped or silent watch can keep it fresh (rule 45).

use countersign_controller::api_error::Explained;
use countersign_core::refusal::{Reason, Refusal};
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{Error, Event};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum time for one answer of the API server.
const ANSWER: Duration = Duration::from_secs(10);
/// Wait before a failed read is repeated without a watch event.
const RETRY: Duration = Duration::from_secs(10);

/// Metric word for a source that does not exist or lacks its content.
const MISSING: &str = "not_found";

/// Reason for which a source gave no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadFailure {
    /// Word of a closed list, for the metric.
    pub(super) word: &'static str,
    /// Refusal that says what was found.
    pub(super) refusal: Refusal,
}

impl ReadFailure {
    /// True if the API server does not have what was asked for.
    pub(super) fn is_missing(&self) -> bool {
        self.word == MISSING
    }

    /// Source that does not exist or lacks its content.
    pub(super) fn missing(found: String) -> Self {
        Self { word: MISSING, refusal: Refusal::new(Reason::BundleMalformed, found) }
    }

    /// Read that failed with an error of the API server.
    fn failed(what: &str, error: &kube::Error) -> Self {
        let word = match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => "forbidden",
            kube::Error::Api(status) if status.code == 404 => MISSING,
            _ => "unavailable",
        };
        let found = format!("{what} could not be read: {}", Explained(error));
        Self { word, refusal: Refusal::new(Reason::BundleMalformed, found) }
    }
}

/// Metric word for a bundle that was read and refused.
pub(super) const fn word_of(reason: Reason) -> &'static str {
    match reason {
        Reason::BundleEmpty => "empty",
        Reason::BundleRollback => "rollback",
        _ => "parse",
    }
}

/// Awaits the answer of a read for at most 10 s; `what` names the source in the refusal.
pub(super) async fn read<T>(
    what: &str,
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ReadFailure> {
    if let Ok(answer) = timeout(ANSWER, asked).await {
        return answer.map_err(|error| ReadFailure::failed(what, &error));
    }
    let found = format!("{what} could not be read: the API server did not answer within {ANSWER:?}");
    Err(ReadFailure { word: "unavailable", refusal: Refusal::new(Reason::BundleMalformed, found) })
}

/// Waits until a source should be read again: on a watch event, a failure of the watch, or after `every`, at most
/// 10 s if the last read failed.
pub(super) async fn until_next<K>(
    events: &mut (impl Stream<Item = Result<Event<K>, Error>> + Unpin),
    every: Duration,
    was_read: bool,
    broken: impl Fn(&Error),
) {
    let heard = async {
        loop {
            match events.next().await {
                // Events of an initial list are one change, complete at `InitDone`.
                Some(Ok(Event::Init | Event::InitApply(_))) => {}
                Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) => return,
                Some(Err(error)) => return broken(&error),
                None => std::future::pending().await,
            }
        }
    };
    let wait = if was_read { every } else { every.min(RETRY) };
    // A timeout is a reason to read as well.
    drop(timeout(wait, heard).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn each_failure_has_its_word() {
        let answered = |code| {
            let status = Status { code, ..Status::failure("no", "Reason") };
            ReadFailure::failed("the ConfigMap", &kube::Error::Api(status.boxed())).word
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
        let status_shown = [
            Ok(Event::Init),
            Ok(Event::InitApply(1)),
            Ok(Event::InitDone),
            Ok(Event::Apply(2)),
            Err(Error::WatchStartFailed(api)),
        ];
        let mut events = stream::iter(status_shown).chain(stream::pending());
        let failures = std::cell::Cell::new(0);
        let hour = Duration::from_hours(1);
        for expected in [0, 0, 1] {
            until_next(&mut events, hour, true, |_| failures.set(failures.get() + 1)).await;
            assert_eq!(failures.get(), expected);
        }
        until_next(&mut events, Duration::from_millis(1), true, |_| {}).await;
    }
}

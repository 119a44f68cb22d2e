//! The loop over the watch and the reads of a trust bundle that one object of the API server holds.

use super::Bundles;
use super::source::{ReadFailure, until_next};
use countersign_core::spiffe::TrustDomain;
use countersign_io::clock::now;
use futures::Stream;
use kube::runtime::watcher::{Error, Event};
use std::pin::pin;
use std::time::Duration;

/// Source that one object holds, with what it is read for.
pub(super) struct Source<'a> {
    /// Plural name of the kind, for errors and metrics.
    pub(super) plural: &'static str,
    /// Trust domain of the bundle.
    pub(super) trust_domain: &'a TrustDomain,
    /// Longest time between two reads.
    pub(super) every: Duration,
    /// Bundles that accept what is read.
    pub(super) bundles: &'a Bundles,
}

/// Follows an object: reads it by `content` at every word of its watch `events`, and at least once per period. Ends only if
/// the object is missing and `is_elsewhere` says that it is to be looked for in another way.
pub(super) async fn follow<K, C, E>(
    source: &Source<'_>,
    events: impl Stream<Item = Result<Event<K>, Error>>,
    content: impl Fn() -> C,
    is_elsewhere: impl Fn() -> E,
    broken: impl Fn(&'static str, &Error),
) where
    C: Future<Output = Result<Vec<u8>, ReadFailure>>,
    E: Future<Output = bool>,
{
    let mut events = pin!(events);
    loop {
        let content = content().await;
        if content.as_ref().is_err_and(ReadFailure::is_missing) && is_elsewhere().await {
            return;
        }
        let was_read = source.bundles.accept(source.trust_domain, now(), content);
        until_next(&mut events, source.every, was_read, |error| broken(source.plural, error)).await;
    }
}

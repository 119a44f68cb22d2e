//! Registered kinds with their reconcilers, and the workers that hand out turns.
//! Each turn runs in a task of its own, so that a slow key delays no other key.

use super::failure::{Class, Failure};
use super::key::{Key, Kind};
use super::next::Next;
use super::queue::Urgency;
use super::turns::{Turns, Work};
use countersign_api::ObjectRef;
use countersign_io::clock::instant;
use futures::future::{BoxFuture, join};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tracing::Instrument;

/// Beat to which deferred turns are aligned, so that one wake-up serves many turns.
const BEAT: Duration = Duration::from_millis(250);
/// Wait below which turns are not aligned to beats, because a change waits for them.
const SHORT: Duration = Duration::from_millis(800);
/// Period of checks whether held-back keys can run.
const POLL: Duration = Duration::from_millis(500);

type Reconcile = Box<dyn Fn(ObjectRef) -> BoxFuture<'static, Result<Next, Failure>> + Send + Sync>;
type Unread = Box<dyn Fn() -> Vec<&'static str> + Send + Sync>;

struct Registered {
    unread: Unread,
    reconcile: Reconcile,
}

/// Registered kinds.
#[derive(Default)]
pub struct Kinds(BTreeMap<&'static str, Registered>);

impl Kinds {
    /// Registers a kind: `unread` names required lists that are not read yet, `reconcile` runs a turn. A later
    /// registration under one name replaces the earlier one.
    pub fn register<F>(
        &mut self,
        kind: &'static Kind,
        unread: impl Fn() -> Vec<&'static str> + Send + Sync + 'static,
        reconcile: impl Fn(ObjectRef) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Next, Failure>> + Send + 'static,
    {
        let reconcile: Reconcile = Box::new(move |object| Box::pin(reconcile(object)));
        self.0.insert(kind.name, Registered { unread: Box::new(unread), reconcile });
    }

    /// Names of lists that some kind requires and that are not read yet.
    pub fn unread(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.values().flat_map(|kind| (kind.unread)()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn is_ready(&self, key: &Key) -> bool {
        self.0.get(key.kind.name).is_none_or(|kind| (kind.unread)().is_empty())
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Failure> {
        match self.0.get(key.kind.name) {
            Some(kind) => (kind.reconcile)(key.object.clone()).await,
            // A kind that is switched off is not registered; a key left over from it is done.
            None => Ok(Next::Never),
        }
    }
}

/// Callback for the end of each turn, with result and duration.
pub type Ended = Box<dyn Fn(&'static Kind, &Result<Next, Failure>, Duration) + Send + Sync>;

/// Workers that run turns.
pub struct Workers {
    kinds: Kinds,
    work: Arc<Work>,
    ended: Ended,
    /// Keys whose kind lacks a required list.
    held_back: Mutex<BTreeSet<Key>>,
    started: Instant,
}

impl Workers {
    /// Workers for `kinds` on the queues of `work`; `ended` is called after each turn.
    pub fn new(kinds: Kinds, work: Arc<Work>, ended: Ended) -> Arc<Self> {
        Arc::new(Self { kinds, work, ended, held_back: Mutex::default(), started: instant() })
    }

    /// Runs turns until dropped; long turns have slots of their own and delay no short turn.
    pub async fn run(self: Arc<Self>) {
        let short = Arc::clone(&self).hand_out(|work| &work.short);
        let long = Arc::clone(&self).hand_out(|work| &work.long);
        join(join(short, long), self.let_go()).await;
    }

    /// Runs the turns of one queue, as many at once as the queue has slots.
    async fn hand_out(self: Arc<Self>, turns: fn(&Work) -> &Turns<Key>) {
        let mut workers = JoinSet::new();
        loop {
            let key = turns(&self.work).next().await;
            let turn = Turn { workers: Arc::clone(&self), turns, key, next: None };
            if !self.kinds.is_ready(&turn.key) {
                self.hold_back(turn.key.clone());
                continue;
            }
            let span =
                tracing::info_span!("reconcile", controller = turn.key.kind.controller, object = %turn.key);
            workers.spawn(turn.run().instrument(span));
            while workers.try_join_next().is_some() {}
        }
    }

    fn hold_back(&self, key: Key) {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Enqueues held-back keys once the lists of their kind are read, until dropped.
    async fn let_go(&self) {
        loop {
            tokio::time::sleep(POLL).await;
            let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
            let (ready, rest): (BTreeSet<Key>, BTreeSet<Key>) =
                std::mem::take(&mut *held_back).into_iter().partition(|key| self.kinds.is_ready(key));
            *held_back = rest;
            for key in ready {
                self.work.enqueue(key, Urgency::Urgent);
            }
        }
    }
}

/// Running turn. Dropping it ends the turn, even after a panic, so that its slot is always returned.
struct Turn {
    workers: Arc<Workers>,
    turns: fn(&Work) -> &Turns<Key>,
    key: Key,
    next: Option<Instant>,
}

impl Turn {
    async fn run(mut self) {
        let started = instant();
        // Counts only if the turn panics: whatever it had to close must not wait for another change.
        self.next = started.checked_add(Class::Bug.retry_after(1));
        let result = self.workers.kinds.reconcile(&self.key).await;
        self.finish(&result, started.elapsed());
    }

    /// Schedules the next turn: as the result requests, or after a wait that grows with each failure in a row.
    fn finish(&mut self, result: &Result<Next, Failure>, took: Duration) {
        let (workers, key) = (&self.workers, &self.key);
        (workers.ended)(key.kind, result, took);
        let failures = (self.turns)(&workers.work).count_failures(key, result.is_err());
        let wait = match result {
            Ok(Next::Never) => None,
            Ok(Next::In(wait)) => Some(jittered(*wait)),
            Err(failure) => {
                let class = failure.class.id();
                tracing::warn!(%key, error = %failure, class, "a reconciliation failed and is tried again");
                Some(jittered(failure.class.retry_after(failures)))
            }
        };
        let after_start = wait.map(|wait| on_beat(workers.started.elapsed(), wait));
        self.next = after_start.and_then(|after| workers.started.checked_add(after));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        (self.turns)(&self.workers.work).end(&self.key, self.next);
    }
}

/// End of a wait that began `began` after the start, moved back to the last beat, so that no turn is late. A wait
/// shorter than [`SHORT`] is not moved.
fn on_beat(began: Duration, wait: Duration) -> Duration {
    let at = began.saturating_add(wait);
    if wait < SHORT {
        return at;
    }
    let beats = at.as_millis().checked_div(BEAT.as_millis()).unwrap_or(0);
    BEAT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

/// Wait shortened by up to 10 %, so that keys enqueued together drift apart. Never longer: a deadline is kept.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    static READY: Kind = Kind { name: "ready", controller: "toy", waits: false };
    static WAITING: Kind = Kind { name: "waiting", controller: "toy", waits: true };
    static UNKNOWN: Kind = Kind { name: "unknown", controller: "toy", waits: false };

    fn key(kind: &'static Kind, name: &str) -> Key {
        Key { kind, object: ObjectRef::new("team", name) }
    }

    #[tokio::test]
    async fn a_kind_that_lacks_a_list_waits_for_it_and_holds_up_no_other() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let is_read = Arc::new(AtomicBool::new(false));
        let mut kinds = Kinds::default();
        for kind in [&READY, &WAITING] {
            let (tell, is_read) = (tell.clone(), Arc::clone(&is_read));
            let lacks = move || {
                let lacks = kind.waits && !is_read.load(Ordering::Relaxed);
                if lacks { vec!["things"] } else { Vec::new() }
            };
            kinds.register(kind, lacks, move |ObjectRef { name, .. }| {
                tell.send(format!("{} {name}", kind.name)).unwrap();
                std::future::ready(Ok(Next::Never))
            });
        }
        assert_eq!(kinds.unread(), ["things"]);
        let work = Arc::new(Work::new(NonZeroUsize::MIN, Duration::from_secs(1), 5));
        let run = tokio::spawn(Workers::new(kinds, Arc::clone(&work), Box::new(|_, _, _| ())).run());
        for (kind, name) in [(&WAITING, "a"), (&WAITING, "a"), (&UNKNOWN, "b"), (&READY, "c"), (&READY, "d")]
        {
            work.enqueue(key(kind, name), Urgency::Routine);
        }
        let mut next = async || timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
        assert_eq!([next().await, next().await], ["ready c", "ready d"]);
        is_read.store(true, Ordering::Relaxed);
        assert_eq!(next().await, "waiting a");
        work.enqueue(key(&READY, "e"), Urgency::Routine);
        assert_eq!(next().await, "ready e", "whoever waited has one turn");
        run.abort();
    }

    #[tokio::test]
    async fn a_turn_that_fails_comes_again_and_one_that_panics_gives_its_slot_back() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let attempts = Arc::new(AtomicUsize::new(0));
        let mut kinds = Kinds::default();
        kinds.register(&READY, Vec::new, move |ObjectRef { name, .. }| {
            let (tell, attempts) = (tell.clone(), Arc::clone(&attempts));
            async move {
                assert_ne!(name, "broken", "a turn that panics");
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                tell.send(attempt).unwrap();
                let fails = Err(Failure::new(Class::Transient, "not yet"));
                if attempt == 0 { fails } else { Ok(Next::Never) }
            }
        });
        let ended = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&ended);
        let hear: Ended = Box::new(move |kind, result, _| {
            heard.lock().unwrap().push((kind.controller, result.as_ref().err().map(|failure| failure.class)));
        });
        let work = Arc::new(Work::new(NonZeroUsize::MIN, Duration::from_secs(1), 5));
        let run = tokio::spawn(Workers::new(kinds, Arc::clone(&work), hear).run());
        work.enqueue(key(&READY, "broken"), Urgency::Urgent);
        work.enqueue(key(&READY, "late"), Urgency::Routine);
        let mut next = async || timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
        assert_eq!([next().await, next().await], [0, 1]);
        work.short.caught_up(Duration::from_millis(5)).await;
        assert_eq!(*ended.lock().unwrap(), [("toy", Some(Class::Transient)), ("toy", None)]);
        run.abort();
    }

    #[test]
    fn a_turn_comes_with_a_beat_and_never_after_its_time() {
        let at = |began, wait| on_beat(Duration::from_millis(began), Duration::from_millis(wait)).as_millis();
        let ends = [at(0, 1000), at(0, 1001), at(251, 1000), at(740, 30_000), at(760, 30_000)];
        assert_eq!(ends, [1000, 1000, 1250, 30_500, 30_750]);
        assert_eq!([at(251, 100), at(0, 799)], [351, 799]);
        for wait in [250, 1_000, 3_600_000].map(Duration::from_millis) {
            for began in 0..1000 {
                let began = Duration::from_millis(began);
                let planned = on_beat(began, jittered(wait)).saturating_sub(began);
                assert!(planned <= wait && planned >= wait.mul_f64(0.6), "{planned:?} for {wait:?}");
            }
        }
    }
}

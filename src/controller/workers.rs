//! Kinds with what brings them in step, and the workers that hand out turns.
//! A key that takes long holds up nobody but itself.

use super::failure::Failure;
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

/// Turns that can wait come in beats: one wake-up then serves many of them.
const BEAT: Duration = Duration::from_millis(250);
/// Somebody waits for the end of a wait that is shorter.
const SHORT: Duration = Duration::from_millis(800);
/// How soon a key gets its turn once what it needs is there.
const LOOK: Duration = Duration::from_millis(500);

type Reconcile = Box<dyn Fn(ObjectRef) -> BoxFuture<'static, Result<Next, Failure>> + Send + Sync>;
type Unread = Box<dyn Fn() -> Vec<&'static str> + Send + Sync>;

struct Registered {
    unread: Unread,
    reconcile: Reconcile,
}

/// Every kind that gets turns.
#[derive(Default)]
pub struct Kinds(BTreeMap<&'static str, Registered>);

impl Kinds {
    /// Registers a kind: `unread` names the lists that it needs and that were not read yet, `reconcile` brings an object
    /// in step. A later registration under the same name counts.
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

    /// The lists that some kind needs and that were not read yet.
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
            // Whatever is switched off asks for nothing; a key of it that is left over is done.
            None => Ok(Next::Never),
        }
    }
}

/// Hears how each turn ended, and how long it took.
pub type Ended = Box<dyn Fn(&'static Kind, &Result<Next, Failure>, Duration) + Send + Sync>;

/// Whoever takes turns.
pub struct Workers {
    kinds: Kinds,
    work: Arc<Work>,
    ended: Ended,
    /// Keys whose kind lacks a list that it needs.
    held_back: Mutex<BTreeSet<Key>>,
    started: Instant,
}

impl Workers {
    /// Workers for these kinds.
    pub fn new(kinds: Kinds, work: Arc<Work>, ended: Ended) -> Arc<Self> {
        Arc::new(Self { kinds, work, ended, held_back: Mutex::default(), started: instant() })
    }

    /// Hands out turns until dropped: what waits for others holds up nothing else.
    pub async fn run(self: Arc<Self>) {
        let short = Arc::clone(&self).hand_out(|work| &work.short);
        let long = Arc::clone(&self).hand_out(|work| &work.long);
        join(join(short, long), self.let_go()).await;
    }

    /// Hands out turns of one sort, as many at once as the queue gives.
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

    /// Gives keys their turn once their kind has what it needs, until dropped.
    async fn let_go(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
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

/// A turn while it is taken. It ends when it is dropped, however that comes: nobody else waits for its slot in vain.
struct Turn {
    workers: Arc<Workers>,
    turns: fn(&Work) -> &Turns<Key>,
    key: Key,
    next: Option<Instant>,
}

impl Turn {
    async fn run(mut self) {
        let started = instant();
        let result = self.workers.kinds.reconcile(&self.key).await;
        self.finish(&result, started.elapsed());
    }

    /// Plans the next turn: as asked, or after a wait that grows with each failure in a row.
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

/// The last beat within this wait, which began so long after the start: nothing that was asked for is late. A short
/// wait ends when it does.
fn on_beat(began: Duration, wait: Duration) -> Duration {
    let at = began.saturating_add(wait);
    if wait < SHORT {
        return at;
    }
    let beats = at.as_millis().checked_div(BEAT.as_millis()).unwrap_or(0);
    BEAT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

/// Up to a tenth less, so that what started together does not stay together. Never more: what is to be done by a time
/// is done by then.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;
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
    fn a_look_comes_with_a_beat_and_never_after_its_time() {
        let at = |began, wait| on_beat(Duration::from_millis(began), Duration::from_millis(wait)).as_millis();
        let looks = [at(0, 1000), at(0, 1001), at(251, 1000), at(740, 30_000), at(760, 30_000)];
        assert_eq!(looks, [1000, 1000, 1250, 30_500, 30_750]);
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

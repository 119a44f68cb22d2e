//! Workers that hand out turns to registered reconcilers.
//! Each turn runs in a task of its own, so that a slow key delays no other key.

use super::failure::{Class, Failure};
use super::held_back::HeldBack;
use super::key::{Key, Reconciler};
use super::next::Next;
use super::queue::Urgency;
use super::reconcilers::Reconcilers;
use super::turns::{Turns, Work};
use countersign_io::clock::instant;
use futures::future::join;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tracing::Instrument;

/// Beat to which deferred turns are aligned, so that one wake-up serves many turns.
const ALIGNMENT: Duration = Duration::from_millis(250);
/// Wait below which turns are not aligned to beats, because a change waits for them.
const SHORT: Duration = Duration::from_millis(800);
/// Period of checks whether held-back keys can run, while there are any.
const POLL: Duration = Duration::from_millis(100);

/// Longest wait of a failed turn that may have to close something, whatever its class: an API server that has not read its rules
/// yet answers as if a right were missing, and what is open must not stay so for minutes because of it.
const CLOSING: Duration = Duration::from_secs(30);

/// Callback for the end of each turn, with result and duration.
pub type TurnEnded = Box<dyn Fn(&'static Reconciler, &Result<Next, Failure>, Duration) + Send + Sync>;

/// Workers that run turns.
pub(crate) struct Workers {
    reconcilers: Arc<Reconcilers>,
    work: Arc<Work>,
    ended: TurnEnded,
    held_back: HeldBack,
    started: Instant,
}

impl Workers {
    /// Workers for `reconcilers` on the queues of `work`; `ended` is called after each turn.
    pub(crate) fn new(reconcilers: Arc<Reconcilers>, work: Arc<Work>, ended: TurnEnded) -> Arc<Self> {
        Arc::new(Self { reconcilers, work, ended, held_back: HeldBack::default(), started: instant() })
    }

    /// Runs turns until dropped; long turns have slots of their own and delay no short turn.
    pub(crate) async fn run(self: Arc<Self>) {
        let short = Arc::clone(&self).hand_out(|work| &work.short);
        let long = Arc::clone(&self).hand_out(|work| &work.long);
        join(join(short, long), self.release()).await;
    }

    /// Runs the turns of one queue, as many at once as the queue has slots.
    async fn hand_out(self: Arc<Self>, turns: fn(&Work) -> &Turns<Key>) {
        let mut workers = JoinSet::new();
        loop {
            let (key, urgency) = turns(&self.work).next().await;
            if !self.reconcilers.is_ready(key.reconciler) {
                // Held back first: whoever releases keys between the two calls must find this one.
                self.held_back.insert(key.clone(), urgency);
                turns(&self.work).give_back(&key);
                continue;
            }
            let controller = key.reconciler.controller;
            let span = tracing::info_span!("reconcile", controller, object = %key);
            let turn = RunningTurn { workers: Arc::clone(&self), turns, key, urgency, next: None };
            workers.spawn(turn.run().instrument(span));
            while workers.try_join_next().is_some() {}
        }
    }

    /// Enqueues held-back keys once the lists of their reconciler are read, until dropped.
    async fn release(&self) {
        loop {
            self.held_back.wait().await;
            for (key, urgency) in self.held_back.take(|reconciler| self.reconcilers.is_ready(reconciler)) {
                self.work.enqueue(key, urgency);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Running turn. Dropping it ends the turn, even after a panic, so that its slot is always returned.
struct RunningTurn {
    workers: Arc<Workers>,
    turns: fn(&Work) -> &Turns<Key>,
    key: Key,
    urgency: Urgency,
    next: Option<(Instant, Urgency)>,
}

impl RunningTurn {
    async fn run(mut self) {
        let started = instant();
        // Counts only if the turn panics: whatever it had to close must not wait for another change.
        let again = started.checked_add(retry_after(Class::Bug, 1, self.urgency));
        self.next = again.map(|at| (at, self.urgency));
        let result = self.workers.reconcilers.reconcile(&self.key).await;
        self.finish(&result, started.elapsed());
    }

    /// Schedules the next turn: as the result requests, or after a wait that grows with each failure. A failed turn has left
    /// its work undone, which is as urgent as before.
    fn finish(&mut self, result: &Result<Next, Failure>, took: Duration) {
        let (workers, key) = (&self.workers, &self.key);
        (workers.ended)(key.reconciler, result, took);
        let failed = result.as_ref().err().map(|failure| failure.class);
        let failures = (self.turns)(&workers.work).count_failures(key, failed);
        let next = match result {
            Ok(Next::Never) => None,
            Ok(Next::In(wait)) => Some((jittered(*wait), Urgency::Routine)),
            Err(failure) => {
                let class = failure.class.id();
                tracing::warn!(%key, error = %failure, class, "a reconciliation failed and is tried again");
                Some((jittered(retry_after(failure.class, failures, self.urgency)), self.urgency))
            }
        };
        self.next = next.and_then(|(wait, urgency)| {
            let after_start = aligned(workers.started.elapsed(), wait);
            Some((workers.started.checked_add(after_start)?, urgency))
        });
    }
}

impl Drop for RunningTurn {
    fn drop(&mut self) {
        (self.turns)(&self.workers.work).end(&self.key, self.next);
    }
}

/// Wait of a turn of this urgency after so many failures of a class.
fn retry_after(class: Class, failures: u32, urgency: Urgency) -> Duration {
    let wait = class.retry_after(failures);
    if urgency == Urgency::Closing { wait.min(CLOSING) } else { wait }
}

/// End of a wait that began `began` after the start, moved back to the last beat, so that no turn is late. A wait
/// shorter than [`SHORT`] is not moved.
fn aligned(began: Duration, wait: Duration) -> Duration {
    let at = began.saturating_add(wait);
    if wait < SHORT {
        return at;
    }
    let beats = at.as_millis().checked_div(ALIGNMENT.as_millis()).unwrap_or(0);
    ALIGNMENT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

/// Wait shortened by up to 10 %, so that keys enqueued together drift apart. Never longer: a deadline is kept.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_api::ObjectRef;
    use std::num::NonZeroUsize;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    static READY: Reconciler = Reconciler { name: "ready", controller: "toy", waits: false };
    static WAITING: Reconciler = Reconciler { name: "waiting", controller: "toy", waits: true };
    static UNKNOWN: Reconciler = Reconciler { name: "unknown", controller: "toy", waits: false };

    fn key(reconciler: &'static Reconciler, name: &str) -> Key {
        Key { reconciler, object: ObjectRef::new("team", name) }
    }

    #[tokio::test]
    async fn a_kind_that_lacks_a_list_waits_for_it_and_holds_up_no_other() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let is_read = Arc::new(AtomicBool::new(false));
        let mut reconcilers = Reconcilers::default();
        for reconciler in [&READY, &WAITING] {
            let (tell, is_read) = (tell.clone(), Arc::clone(&is_read));
            let lacks = move || {
                let lacks = reconciler.waits && !is_read.load(Ordering::Relaxed);
                if lacks { vec!["things"] } else { Vec::new() }
            };
            reconcilers
                .register(reconciler, lacks, move |ObjectRef { name, .. }| {
                    tell.send(format!("{} {name}", reconciler.name)).unwrap();
                    std::future::ready(Ok(Next::Never))
                })
                .unwrap();
        }
        assert_eq!(reconcilers.unread(), ["things"]);
        let work = Arc::new(Work::new(NonZeroUsize::MIN, Duration::from_secs(1), 5));
        let run = tokio::spawn(
            Workers::new(Arc::new(reconcilers), Arc::clone(&work), Box::new(|_, _, _| ())).run(),
        );
        for (reconciler, name) in
            [(&WAITING, "a"), (&WAITING, "a"), (&UNKNOWN, "b"), (&READY, "c"), (&READY, "d")]
        {
            work.enqueue(key(reconciler, name), Urgency::Routine);
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
        let mut reconcilers = Reconcilers::default();
        reconcilers
            .register(&READY, Vec::new, move |ObjectRef { name, .. }| {
                let (tell, attempts) = (tell.clone(), Arc::clone(&attempts));
                async move {
                    assert_ne!(name, "broken", "a turn that panics");
                    let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                    tell.send(attempt).unwrap();
                    let fails = Err(Failure::new(Class::Transient, "not yet"));
                    if attempt == 0 { fails } else { Ok(Next::Never) }
                }
            })
            .unwrap();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&ended);
        let hear: TurnEnded = Box::new(move |reconciler, result, _| {
            heard
                .lock()
                .unwrap()
                .push((reconciler.controller, result.as_ref().err().map(|failure| failure.class)));
        });
        let work = Arc::new(Work::new(NonZeroUsize::MIN, Duration::from_secs(1), 5));
        let run = tokio::spawn(Workers::new(Arc::new(reconcilers), Arc::clone(&work), hear).run());
        work.enqueue(key(&READY, "broken"), Urgency::Urgent);
        work.enqueue(key(&READY, "late"), Urgency::Routine);
        let mut next = async || timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
        assert_eq!([next().await, next().await], [0, 1]);
        work.short.caught_up(Duration::from_millis(5)).await;
        assert_eq!(*ended.lock().unwrap(), [("toy", Some(Class::Transient)), ("toy", None)]);
        run.abort();
    }

    #[test]
    fn what_may_have_to_be_closed_waits_for_no_minutes_whatever_failed() {
        let waits = |class, urgency| {
            [1, 2, 3, 8, 40].map(|failures| retry_after(class, failures, urgency).as_millis())
        };
        for class in [Class::Configuration, Class::External] {
            assert_eq!(waits(class, Urgency::Closing), [1000, 2000, 4000, 30_000, 30_000]);
            assert_eq!(waits(class, Urgency::Urgent), [1000, 2000, 4000, 128_000, 300_000]);
        }
        assert_eq!(waits(Class::Transient, Urgency::Closing), waits(Class::Transient, Urgency::Routine));
        assert_eq!(waits(Class::Bug, Urgency::Closing), [30_000; 5]);
    }

    #[test]
    fn a_turn_comes_with_a_beat_and_never_after_its_time() {
        let at = |began, wait| aligned(Duration::from_millis(began), Duration::from_millis(wait)).as_millis();
        let ends = [at(0, 1000), at(0, 1001), at(251, 1000), at(740, 30_000), at(760, 30_000)];
        assert_eq!(ends, [1000, 1000, 1250, 30_500, 30_750]);
        assert_eq!([at(251, 100), at(0, 799)], [351, 799]);
        for wait in [250, 1_000, 3_600_000].map(Duration::from_millis) {
            for began in 0..1000 {
                let began = Duration::from_millis(began);
                let planned = aligned(began, jittered(wait)).saturating_sub(began);
                assert!(planned <= wait && planned >= wait.mul_f64(0.6), "{planned:?} for {wait:?}");
            }
        }
    }
}

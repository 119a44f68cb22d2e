//! The controllers: watches that ask for turns, and workers that take them.
//! A key that takes long holds up nobody but itself.

use super::bundles::{BundleSource, Bundles, follow_config_map, follow_federation, follow_workload_api};
use super::card::{self, rejudge_all};
use super::context::Context;
use super::events::Events;
use super::flags::BundleOrigin;
use super::key::Key;
use super::metrics::ReconcileResult;
use super::world::{World, follow_everything};
use super::{OperatorError, Shared};
use super::{namespace, workload};
use countersign_controller::admin::Check;
use countersign_controller::outcome::Next;
use countersign_controller::queue::Tenant;
use countersign_controller::turns::Turns;
use countersign_controller::watches::Broken;
use countersign_core::time::Seconds;
use countersign_io::clock::{instant, now, until};
use countersign_io::shutdown::Shutdown;
use futures::future::join;
use kube::runtime::watcher::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

/// The first wait after a failed write, doubled with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The longest wait after failed writes.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The first wait for lists that were not read yet, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait for them.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Turns that can wait come in beats: one wake-up then serves many of them.
const BEAT: Duration = Duration::from_millis(250);
/// Somebody waits for the end of a wait that is shorter.
const SHORT: Duration = Duration::from_millis(800);
/// How often readiness, and what ends by the clock, are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is said that a trust bundle cannot be read.
const SAY: Duration = Duration::from_secs(30);

/// Runs the controllers until `shutdown`. Dropping the future stops everything at once.
pub async fn run(shared: Shared, shutdown: Shutdown) -> Result<(), OperatorError> {
    let caches = shared.readiness.check("caches");
    let bundle = shared.readiness.check("bundle");
    let watches = shared.readiness.check("watches");
    let max_age = u32::try_from(shared.config.bundle.max_age.as_secs()).unwrap_or(u32::MAX);
    let world = Arc::new(World::new(shared.config.concurrency, shared.config.min_sync_period));
    let (events, write_events) =
        Events::new(shared.client.clone(), shared.metrics.clone(), Arc::clone(&world));
    let context = Arc::new(Context::new(
        shared.config,
        shared.client,
        world,
        Arc::new(Bundles::new(Seconds::new(max_age), shared.metrics.clone())),
        events,
        shared.metrics,
    ));
    // Each in a task of its own: what wakes one does not wake the others. All end with this function.
    let mut tasks = JoinSet::new();
    observe(&mut tasks, &context);
    tasks.spawn(rejudge(Arc::clone(&context)));
    tasks.spawn(take_turns(Arc::clone(&context)));
    tasks.spawn(write_events);
    tasks.spawn(report(Arc::clone(&context), [caches.clone(), bundle, watches]));
    let ended = tokio::select! {
        () = shutdown.requested() => Ok(()),
        ended = tasks.join_next() => Err(ended),
    };
    tasks.shutdown().await;
    caches.fail("stopping");
    ended.map_err(|ended| OperatorError::Controller {
        name: "agentcard",
        error: format!("a task ended that never should: {ended:?}"),
    })
}

/// Says whether the lists are read and kept up to date, and the bundle is there, and counts, until dropped.
async fn report(context: Arc<Context>, [caches, bundle, watches]: [Check; 3]) {
    loop {
        match context.world.unread().as_slice() {
            [] => caches.pass(),
            unread => caches.fail(format!("not read yet: {}", unread.join(", "))),
        }
        match context.own_bundle() {
            Ok(()) => bundle.pass(),
            Err(refusal) => bundle.fail(refusal.to_string()),
        }
        match context.world.health.failing(instant()).as_slice() {
            [] => watches.pass(),
            failing => watches.fail(format!("not followed any more: {}", failing.join(", "))),
        }
        context.count();
        tokio::time::sleep(LOOK).await;
    }
}

/// Starts everything that watches.
fn observe(tasks: &mut JoinSet<()>, context: &Arc<Context>) {
    let metrics = context.metrics.clone();
    let broken: Broken = Arc::new(move |kind, error| {
        metrics.watch_failed(kind);
        tracing::warn!(kind, %error, "a watch failed and is tried again");
    });
    let (world, told) = (Arc::clone(&context.world), Arc::clone(&broken));
    let noted: Broken = Arc::new(move |kind, error| {
        world.health.failed(kind, instant());
        told(kind, error);
    });
    follow_everything(tasks, &context.client, &context.world, &noted);
    tasks.spawn(follow_bundles(Arc::clone(context), broken));
    tasks.spawn(follow_the_clock(Arc::clone(context)));
    let telling = Arc::clone(context);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(SAY).await;
            for (domain, refusal) in telling.bundles.problems() {
                tracing::warn!(trust_domain = %domain, problem = %refusal, "the trust bundle cannot be refreshed");
            }
        }
    });
    let own = Arc::clone(context);
    tasks.spawn(async move { own.identity.follow(&own.config).await });
}

/// Ends what ends by the clock alone, until dropped: proofs at their end, and bundles that are too old. The clock may
/// be set at any time, so it is never trusted to be where it was for longer than a look.
async fn follow_the_clock(context: Arc<Context>) {
    loop {
        let wait = context.next_end().map_or(LOOK, |end| until(end).min(LOOK));
        // Being told of an earlier end and waiting for it are the same.
        drop(timeout(wait, context.ends_earlier.notified()).await);
        let at = now();
        context.bundles.announce(at);
        card::end_proofs(&context, at);
    }
}

/// Follows the sources of bundles until dropped.
async fn follow_bundles(context: Arc<Context>, broken: Broken) {
    let (config, bundles) = (&context.config.bundle, &*context.bundles);
    match &context.config.trust_domain {
        Some(domain) if config.origin == BundleOrigin::WorkloadApi => {
            follow_workload_api(&context.config.workload_api, domain, bundles).await;
        }
        Some(domain) => {
            let source = BundleSource {
                trust_domain: domain.clone(),
                namespace: config.namespace.as_str().to_owned(),
                name: config.name.clone(),
                key: config.key.clone(),
            };
            let (client, every) = (&context.client, config.read_every());
            let failed = |kind, error: &Error| broken(kind, error);
            let own = follow_config_map(client.clone(), &source, every, bundles, failed);
            let others = follow_federation(client.clone(), domain, every, bundles, failed);
            join(own, others).await;
        }
        None => std::future::pending::<()>().await,
    }
}

/// Judges all cards again when authorities change, until dropped.
async fn rejudge(context: Arc<Context>) {
    let mut changes = context.bundles.changes();
    while changes.changed().await.is_ok() {
        changes.mark_unchanged();
        rejudge_all(&context);
    }
}

/// Waits until everything is known: a turn before that would judge by half of the facts. Meanwhile agents are closed.
async fn wait_for_facts(context: &Context) {
    let mut wait = FIRST_WAIT;
    while !context.world.is_synced() {
        tokio::time::sleep(wait).await;
        if context.world.can_isolate() {
            isolate_all(context).await;
            wait = wait.saturating_mul(2).min(LAST_WAIT);
        }
    }
}

/// Closes the agents of all namespaces while something is missing that verdicts need, such as the kind of AgentCards.
async fn isolate_all(context: &Context) {
    for name in context.world.namespaces_of_agents() {
        if !context.watches(&name) {
            continue;
        }
        if let Err(error) = namespace::reconcile(context, &name).await {
            tracing::warn!(namespace = name, %error, "the agents of a namespace could not be isolated yet");
        }
    }
}

/// Hands out turns of both kinds: what waits for agents holds up nothing else.
async fn take_turns(context: Arc<Context>) {
    wait_for_facts(&context).await;
    let work = hand_out(Arc::clone(&context), |world| &world.work);
    join(work, hand_out(context, |world| &world.looks)).await;
}

/// Hands out turns of one kind to workers, as many at once as the queue gives.
async fn hand_out(context: Arc<Context>, turns: fn(&World) -> &Turns<Key>) {
    let mut workers = JoinSet::new();
    loop {
        let key = turns(&context.world).next().await;
        let turn = Turn { context: Arc::clone(&context), turns, key, next: None };
        let span = tracing::info_span!("reconcile", controller = turn.key.controller(), object = %turn.key);
        workers.spawn(turn.run().instrument(span));
        while workers.try_join_next().is_some() {}
    }
}

/// A turn while it is taken. It ends when it is dropped, however that comes: nobody else waits for its slot in vain.
struct Turn {
    context: Arc<Context>,
    turns: fn(&World) -> &Turns<Key>,
    key: Key,
    next: Option<Instant>,
}

impl Turn {
    async fn run(mut self) {
        let started = instant();
        let result = reconcile(&self.context, &self.key).await;
        self.finish(result, started.elapsed());
    }

    /// Plans the next turn: as asked, or after a wait that grows with each failure in a row.
    fn finish(&mut self, result: Result<Next, kube::Error>, took: Duration) {
        let outcome = match result {
            Ok(Next::Never) => ReconcileResult::success,
            Ok(Next::In(_)) => ReconcileResult::requeue_after,
            Err(_) => ReconcileResult::error,
        };
        let (context, key) = (&self.context, &self.key);
        context.metrics.reconciled(key.controller(), outcome, took);
        let failures = (self.turns)(&context.world).count_failures(key, result.is_err());
        let wait = match result {
            Ok(Next::Never) => None,
            Ok(Next::In(wait)) => Some(jittered(wait)),
            Err(error) => {
                tracing::warn!(%key, %error, "a reconciliation failed and is tried again");
                Some(jittered(retry_after(failures)))
            }
        };
        let after_start = wait.map(|wait| on_beat(context.started.elapsed(), wait));
        self.next = after_start.and_then(|after| context.started.checked_add(after));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        (self.turns)(&self.context.world).end(&self.key, self.next);
    }
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, kube::Error> {
    if !context.watches(key.namespace()) {
        return Ok(Next::Never);
    }
    match key {
        Key::Namespace(name) => namespace::reconcile(context, name).await,
        Key::Workload(key) => workload::reconcile(context, key).await,
        Key::Card(place) => Ok(card::reconcile(context, place).await),
        Key::Status(place) => card::say(context, place).await,
        Key::Pod(place) => workload::clear_mark(context, place).await.map(|()| Next::Never),
        Key::Orphan(place) => namespace::reconcile_orphan(context, place).await,
    }
}

/// The wait after so many failures in a row.
fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(LAST_RETRY)
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

    #[test]
    fn waits_double_with_each_failure_and_stay_bounded() {
        let waits: Vec<_> = [1, 2, 3, 8, 40].map(retry_after).map(|wait| wait.as_millis()).into();
        assert_eq!(waits, [250, 500, 1000, 30_000, 30_000]);
    }
}

//! The controllers: watches that ask for turns, and workers that take them.
//! A key that takes long holds up nobody but itself.

use super::admin::Check;
use super::bundles::{BundleSource, Bundles, follow_config_map, follow_federation, follow_workload_api};
use super::card::{self, rejudge_all};
use super::context::Context;
use super::events::Events;
use super::flags::BundleOrigin;
use super::key::Key;
use super::metrics::ReconcileResult;
use super::outcome::Next;
use super::world::{Broken, World, follow_everything};
use super::{OperatorError, Shared};
use super::{namespace, workload};
use crate::core::time::Seconds;
use crate::io::clock::instant;
use crate::io::shutdown::Shutdown;
use futures::future::select;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
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
/// How often readiness is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often the clock is looked at: bundles age.
const TICK: Duration = Duration::from_secs(30);

/// Runs the controllers until `shutdown`. Dropping the future stops everything at once.
pub async fn run(shared: Shared, shutdown: Shutdown) -> Result<(), OperatorError> {
    let caches = shared.readiness.check("caches");
    let bundle = shared.readiness.check("bundle");
    let max_age = u32::try_from(shared.config.bundle.max_age.as_secs()).unwrap_or(u32::MAX);
    let world = Arc::new(World::default());
    let (events, write_events) =
        Events::new(shared.client.clone(), shared.metrics.clone(), Arc::clone(&world));
    let context = Arc::new(Context::new(
        shared.config,
        shared.client,
        world,
        Arc::new(Bundles::new(Seconds::new(max_age))),
        events,
        shared.metrics,
    ));
    // Each in a task of its own: what wakes one does not wake the others. All end with this function.
    let mut tasks = JoinSet::new();
    observe(&mut tasks, &context);
    tasks.spawn(rejudge(Arc::clone(&context)));
    tasks.spawn(take_turns(Arc::clone(&context)));
    tasks.spawn(write_events);
    tasks.spawn(report(Arc::clone(&context), [caches.clone(), bundle]));
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

/// Says whether the lists are read and the bundle is there, and counts, until dropped.
async fn report(context: Arc<Context>, [caches, bundle]: [Check; 2]) {
    loop {
        match context.world.unread().as_slice() {
            [] => caches.pass(),
            unread => caches.fail(format!("not read yet: {}", unread.join(", "))),
        }
        match context.own_bundle() {
            Ok(()) => bundle.pass(),
            Err(refusal) => bundle.fail(refusal.to_string()),
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
    follow_everything(tasks, &context.client, &context.world, &broken);
    tasks.spawn(follow_bundles(Arc::clone(context), broken));
    let ticking = Arc::clone(context);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            ticking.tick();
            for (domain, refusal) in ticking.bundles.problems() {
                tracing::warn!(trust_domain = %domain, problem = %refusal, "the trust bundle cannot be refreshed");
            }
        }
    });
    let own = Arc::clone(context);
    tasks.spawn(async move { own.identity.follow(&own.config).await });
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
            let own = follow_config_map(context.client.clone(), &source, bundles, |kind, error| {
                broken(kind, error);
            });
            // A cluster without SPIRE's controller has no such kind; that is no failure.
            let others = follow_federation(context.client.clone(), domain, bundles, |_, _| {});
            futures::future::join(own, others).await;
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

/// Hands out turns to workers, as many at once as configured.
async fn take_turns(context: Arc<Context>) {
    let slots = Arc::new(Semaphore::new(context.config.concurrency.get()));
    let mut workers = JoinSet::new();
    // A turn before everything is known would judge by half of the facts.
    let mut wait = FIRST_WAIT;
    while !context.world.is_synced() {
        tokio::time::sleep(wait).await;
        if context.world.can_isolate() {
            isolate_all(&context).await;
            wait = wait.saturating_mul(2).min(LAST_WAIT);
        }
    }
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let key = next_key(&context).await;
        let context = Arc::clone(&context);
        let span = tracing::info_span!("reconcile", controller = key.controller(), object = %key);
        let turn = async move {
            let started = instant();
            let result = reconcile(&context, &key).await;
            finish(&context, &key, result, started.elapsed());
            drop(slot);
        };
        workers.spawn(turn.instrument(span));
        while workers.try_join_next().is_some() {}
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

async fn next_key(context: &Context) -> Key {
    loop {
        let asked = context.world.asked.notified();
        let due = context.world.with_queue(|queue| match queue.take(instant()) {
            Some(key) => Ok(key),
            None => Err(queue.next_due()),
        });
        match due {
            Ok(key) => return key,
            Err(Some(due)) => {
                let asked = pin!(asked);
                let _ = select(asked, pin!(tokio::time::sleep_until(due.into()))).await;
            }
            Err(None) => asked.await,
        }
    }
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, kube::Error> {
    let namespace = match key {
        Key::Namespace(name) => name,
        Key::Workload(key) => &key.place.0,
        Key::Card(place) | Key::Pod(place) | Key::Orphan(place) => &place.0,
    };
    if !context.watches(namespace) {
        return Ok(Next::Never);
    }
    match key {
        Key::Namespace(name) => namespace::reconcile(context, name).await,
        Key::Workload(key) => workload::reconcile(context, key).await,
        Key::Card(place) => card::reconcile(context, place).await,
        Key::Pod(place) => workload::clear_mark(context, place).await.map(|()| Next::Never),
        Key::Orphan(place) => namespace::reconcile_orphan(context, place).await,
    }
}

/// Plans the next turn: as asked, or after a wait that grows with each failure in a row.
fn finish(context: &Context, key: &Key, result: Result<Next, kube::Error>, took: Duration) {
    let outcome = match result {
        Ok(Next::Never) => ReconcileResult::success,
        Ok(Next::In(_)) => ReconcileResult::requeue_after,
        Err(_) => ReconcileResult::error,
    };
    context.metrics.reconciled(key.controller(), outcome, took);
    let failures = context.world.with_queue(|queue| queue.count_failures(key, result.is_err()));
    let wait = match result {
        Ok(Next::Never) => None,
        Ok(Next::In(wait)) => Some(jittered(wait)),
        Err(error) => {
            tracing::warn!(%key, %error, "a reconciliation failed and is tried again");
            Some(jittered(retry_after(failures)))
        }
    };
    let after_start = wait.map(|wait| on_beat(context.started.elapsed().saturating_add(wait)));
    let next = after_start.and_then(|after| context.started.checked_add(after));
    context.world.with_queue(|queue| queue.done(key, next));
    context.world.asked.notify_one();
}

/// The wait after so many failures in a row.
fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(LAST_RETRY)
}

/// The beat at or after this time since the start.
fn on_beat(at: Duration) -> Duration {
    let beats = at.as_millis().div_ceil(BEAT.as_millis());
    BEAT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

/// Up to a tenth more or less, so that what started together does not stay together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_at_the_next_beat_and_never_before_its_time() {
        let at = |millis| on_beat(Duration::from_millis(millis)).as_millis();
        assert_eq!([at(0), at(1), at(250), at(251), at(30_000)], [0, 250, 250, 500, 30_000]);
    }

    #[test]
    fn waits_double_with_each_failure_and_stay_bounded() {
        let waits: Vec<_> = [1, 2, 3, 8, 40].map(retry_after).map(|wait| wait.as_millis()).into();
        assert_eq!(waits, [250, 500, 1000, 30_000, 30_000]);
    }
}

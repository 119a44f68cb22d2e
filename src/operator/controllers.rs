//! The controllers: watches that ask for turns, and workers that take them.
//! A key that takes long holds up nobody but itself.

use super::bundles::{BundleSource, Bundles, follow_config_map, follow_federation, follow_workload_api};
use super::card::{self, reevaluate_all};
use super::context::Context;
use super::events::Events;
use super::flags::BundleOrigin;
use super::index::{Index, follow_everything};
use super::metrics::ReconcileResult;
use super::{OperatorError, Shared};
use super::{kinds, namespace};
use countersign_controller::admin::Check;
use countersign_controller::next::Next;
use countersign_controller::watches::Broken;
use countersign_controller::workers::{Ended, Workers};
use countersign_core::time::Seconds;
use countersign_io::clock::{instant, now, until};
use countersign_io::shutdown::Shutdown;
use futures::future::{BoxFuture, join};
use kube::runtime::watcher::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The first wait for lists that were not read yet, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait for them.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often readiness, and what ends by the clock, are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is said that a trust bundle cannot be read.
const SAY: Duration = Duration::from_secs(30);

/// What every replica does, leader or not: it watches, so that it knows as much as the leader when its turn comes.
pub struct Observer {
    context: Arc<Context>,
    tasks: JoinSet<()>,
    caches: Check,
}

impl Observer {
    /// Starts to watch.
    pub fn start(shared: Shared) -> (Self, Controllers) {
        let caches = shared.readiness.check("caches");
        let bundle = shared.readiness.check("bundle");
        let watches = shared.readiness.check("watches");
        let max_age = u32::try_from(shared.config.bundle.max_age.as_secs()).unwrap_or(u32::MAX);
        let index = Arc::new(Index::new(shared.config.concurrency, shared.config.min_sync_period));
        let (events, write_events) =
            Events::new(shared.client.clone(), shared.metrics.clone(), Arc::clone(&index));
        let context = Arc::new(Context::new(
            shared.config,
            shared.client,
            index,
            Arc::new(Bundles::new(Seconds::new(max_age), shared.metrics.clone())),
            events,
            shared.metrics,
        ));
        // Each in a task of its own: what wakes one does not wake the others.
        let mut tasks = JoinSet::new();
        observe(&mut tasks, &context);
        tasks.spawn(report(Arc::clone(&context), [caches.clone(), bundle, watches]));
        let controllers = Controllers { context: Arc::clone(&context), write_events: Box::pin(write_events) };
        (Self { context, tasks, caches }, controllers)
    }

    /// Returns when a task ended that never should.
    pub async fn failed(&mut self) -> OperatorError {
        let ended = self.tasks.join_next().await;
        OperatorError::Controller { name: "agentcard", error: format!("a watch ended: {ended:?}") }
    }

    /// Stops to watch.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.caches.fail("stopping");
        drop(self.context);
    }
}

/// What the leader alone does: it evaluates cards, and writes.
pub struct Controllers {
    context: Arc<Context>,
    write_events: BoxFuture<'static, ()>,
}

impl Controllers {
    /// Takes turns until `shutdown`. Dropping the future stops everything at once.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), OperatorError> {
        let Self { context, write_events } = self;
        // What the leader before wrote last may not have come by the watch yet.
        context.index.relist_cards.request().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(reevaluate(Arc::clone(&context)));
        tasks.spawn(follow_the_clock(Arc::clone(&context)));
        tasks.spawn(take_turns(context));
        tasks.spawn(write_events);
        let ended = tokio::select! {
            () = shutdown.requested() => Ok(()),
            ended = tasks.join_next() => Err(ended),
        };
        tasks.shutdown().await;
        ended.map_err(|ended| OperatorError::Controller {
            name: "agentcard",
            error: format!("a task ended that never should: {ended:?}"),
        })
    }
}

/// Says whether the lists are read and kept up to date, and the bundle is there, and counts, until dropped.
async fn report(context: Arc<Context>, [caches, bundle, watches]: [Check; 3]) {
    loop {
        match context.index.unread().as_slice() {
            [] => caches.pass(),
            unread => caches.fail(format!("not read yet: {}", unread.join(", "))),
        }
        match context.own_bundle() {
            Ok(()) => bundle.pass(),
            Err(refusal) => bundle.fail(refusal.to_string()),
        }
        match context.index.health.failing(instant()).as_slice() {
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
    let (index, told) = (Arc::clone(&context.index), Arc::clone(&broken));
    let noted: Broken = Arc::new(move |kind, error| {
        index.health.failed(kind, instant());
        told(kind, error);
    });
    follow_everything(tasks, &context.client, &context.index, &noted);
    tasks.spawn(follow_bundles(Arc::clone(context), broken));
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
    match &context.config.identity.trust_domain {
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
async fn reevaluate(context: Arc<Context>) {
    let mut changes = context.bundles.changes();
    while changes.changed().await.is_ok() {
        changes.mark_unchanged();
        reevaluate_all(&context);
    }
}

/// Waits until everything is known: a turn before that would judge by half of the facts. Meanwhile agents are closed.
async fn wait_for_facts(context: &Context) {
    let mut wait = FIRST_WAIT;
    while !context.index.is_synced() {
        tokio::time::sleep(wait).await;
        if context.index.can_isolate() {
            isolate_all(context).await;
            wait = wait.saturating_mul(2).min(LAST_WAIT);
        }
    }
}

/// Closes the agents of all namespaces while something is missing that verdicts need, such as the kind of AgentCards.
async fn isolate_all(context: &Context) {
    for name in context.index.namespaces_of_agents() {
        if !context.watches(&name) {
            continue;
        }
        if let Err(error) = namespace::reconcile(context, &name).await {
            tracing::warn!(namespace = name, %error, "the agents of a namespace could not be isolated yet");
        }
    }
}

/// Hands out turns, once everything is known that verdicts need.
async fn take_turns(context: Arc<Context>) {
    wait_for_facts(&context).await;
    let metrics = context.metrics.clone();
    let ended: Ended = Box::new(move |kind, result, took| {
        let outcome = match result {
            Ok(Next::Never) => ReconcileResult::success,
            Ok(Next::In(_)) => ReconcileResult::requeue_after,
            Err(_) => ReconcileResult::error,
        };
        metrics.reconciled(kind.controller, outcome, took);
    });
    Workers::new(kinds::all(&context), Arc::clone(&context.index.work), ended).run().await;
}

//! Watches of every replica, and the controllers of the leader.
//! Watches enqueue turns; workers run them, each in a task of its own.

use super::bundles::{BundleSource, Bundles, follow_config_map, follow_federation, follow_workload_api};
use super::card::{self, reevaluate_all};
use super::context::Context;
use super::error::OperatorError;
use super::events::Events;
use super::flags::BundleOrigin;
use super::index::{Index, follow_everything};
use super::metrics::ReconcileResult;
use super::shared::Shared;
use super::{kinds, namespace};
use countersign_controller::admin::Check;
use countersign_controller::next::Next;
use countersign_controller::relist::Relist;
use countersign_controller::watches::Broken;
use countersign_controller::workers::{Ended, Workers};
use countersign_core::time::Seconds;
use countersign_io::clock::{instant, now, until};
use countersign_io::shutdown::Shutdown;
use futures::future::{BoxFuture, join, join_all};
use kube::runtime::watcher::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// First wait for lists that are not read yet; doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Longest wait for lists that are not read yet.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Period of checks of readiness and of ends by the clock.
const POLL: Duration = Duration::from_millis(500);
/// Period of log lines about trust bundles that cannot be read.
const LOG_PROBLEMS: Duration = Duration::from_secs(30);

/// Watches of every replica, leader or not, so that a new leader starts with a complete index.
pub struct Observer {
    context: Arc<Context>,
    tasks: JoinSet<()>,
    caches: Check,
}

impl Observer {
    /// Starts the watches and readiness checks; the returned controllers run once this replica leads.
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
        // Each watch has a task of its own, so that an event wakes one watch only.
        let mut tasks = JoinSet::new();
        let relists = observe(&mut tasks, &context);
        tasks.spawn(report(Arc::clone(&context), [caches.clone(), bundle, watches]));
        let write_events = Box::pin(write_events);
        let controllers = Controllers { context: Arc::clone(&context), relists, write_events };
        (Self { context, tasks, caches }, controllers)
    }

    /// Waits until a watch ends, which it should not, and returns the error.
    pub async fn failed(&mut self) -> OperatorError {
        let ended = self.tasks.join_next().await;
        OperatorError::Controller { name: "agentcard", error: format!("a watch ended: {ended:?}") }
    }

    /// Stops all watches and fails the readiness check of the caches.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.caches.fail("stopping");
        drop(self.context);
    }
}

/// Controllers of the leader, which evaluate cards and write.
pub struct Controllers {
    context: Arc<Context>,
    relists: Vec<Arc<Relist>>,
    write_events: BoxFuture<'static, ()>,
}

impl Controllers {
    /// Runs turns until `shutdown`. Dropping the future stops all turns at once.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), OperatorError> {
        let Self { context, relists, write_events } = self;
        context.index.work.resume();
        // A watch may lag behind the previous leader, or be broken without having noticed. The status of AgentCards is
        // the memory against replays (rule 55), and a policy or mark that looks as planned would never be written.
        join_all(relists.iter().map(|relist| relist.request())).await;
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

/// Updates readiness checks for lists, bundle and watches, and gauges, until dropped.
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
        tokio::time::sleep(POLL).await;
    }
}

/// Starts the watches of objects, bundles and the operator's SVID; returns the signals for fresh lists of objects.
fn observe(tasks: &mut JoinSet<()>, context: &Arc<Context>) -> Vec<Arc<Relist>> {
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
    let relists = follow_everything(tasks, &context.client, &context.index, &noted);
    tasks.spawn(follow_bundles(Arc::clone(context), broken));
    let telling = Arc::clone(context);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(LOG_PROBLEMS).await;
            for (domain, refusal) in telling.bundles.problems() {
                tracing::warn!(trust_domain = %domain, problem = %refusal, "the trust bundle cannot be refreshed");
            }
        }
    });
    let own = Arc::clone(context);
    tasks.spawn(async move { own.identity.follow(&own.config).await });
    relists
}

/// Ends proofs and stale bundles by the clock, until dropped. The wall clock may be set at any time, so it is read
/// again at least once per [`POLL`].
async fn follow_the_clock(context: Arc<Context>) {
    loop {
        let wait = context.next_end().map_or(POLL, |end| until(end).min(POLL));
        // A timeout and a notification of an earlier end both lead to a check.
        drop(timeout(wait, context.ends_earlier.notified()).await);
        let at = now();
        context.bundles.announce(at);
        card::end_proofs(&context, at);
    }
}

/// Follows the configured sources of bundles until dropped.
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

/// Evaluates all cards again when authorities change, until dropped.
async fn reevaluate(context: Arc<Context>) {
    let mut changes = context.bundles.changes();
    while changes.changed().await.is_ok() {
        changes.mark_unchanged();
        reevaluate_all(&context);
    }
}

/// Waits until all lists are read, because evaluations of partial input would be wrong. Meanwhile it isolates agents.
async fn wait_until_synced(context: &Context) {
    let mut wait = FIRST_WAIT;
    while !context.index.is_synced() {
        tokio::time::sleep(wait).await;
        if context.index.can_isolate() {
            isolate_all(context).await;
            wait = wait.saturating_mul(2).min(LAST_WAIT);
        }
    }
}

/// Isolates the agents of all namespaces while a list that verdicts need is missing, such as that of AgentCards.
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

/// Runs turns, once all lists that verdicts need are read.
async fn take_turns(context: Arc<Context>) {
    wait_until_synced(&context).await;
    context.index.enqueue_everything();
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

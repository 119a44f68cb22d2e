//! Watches of every replica, and the controllers of the leader.
//! Watches enqueue turns; workers run them, each in a task of its own.

use super::bundles::{
    Bundles, ConfigMapKey, follow_cluster_trust_bundle, follow_config_map, follow_federation,
    follow_workload_api,
};
use super::card::{self, Cause, reevaluate_all};
use super::context::Context;
use super::error::OperatorError;
use super::events::Events;
use super::flags::BundleOrigin;
use super::kinds;
use super::metrics::ReconcileResult;
use super::policies::Policies;
use super::runtime;
use super::scc;
use super::shared::Shared;
use countersign_controller::admin::Check;
use countersign_controller::api_error::ExplainedWatch;
use countersign_controller::next::Next;
use countersign_controller::registry::{FailedWatch, Registry, Running, WatchFailed};
use countersign_controller::turns::Work;
use countersign_controller::workers::TurnEnded;
use countersign_core::time::Seconds;
use countersign_io::clock::{instant, now, until};
use countersign_io::shutdown::Shutdown;
use futures::future::{BoxFuture, join};
use kube::runtime::watcher::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Evaluations of one card that may follow each other at once after a rest: workload, Service and Pods of a new
/// agent appear one after the other.
const BURST: u32 = 5;
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
    ///
    /// # Errors
    /// The policy file cannot be used, or two kinds have one name.
    pub fn start(shared: Shared) -> Result<(Self, Controllers), OperatorError> {
        let caches = shared.readiness.check("caches");
        let bundle = shared.readiness.check("bundle");
        let watches = shared.readiness.check("watches");
        let sidecars = shared.readiness.check("sidecars");
        let max_age = u32::try_from(shared.config.bundle.max_age.as_secs()).unwrap_or(u32::MAX);
        let (slots, period) = (shared.config.concurrency, shared.config.min_sync_period);
        let policies = Policies::new(&shared.config)?;
        let work = Arc::new(Work::paused(slots, period, BURST));
        let (events, write_events) =
            Events::new(shared.client.clone(), shared.metrics.clone(), Arc::clone(&work));
        let context = Arc::new(Context::new(
            shared.config,
            (shared.client, shared.watching),
            (work, policies),
            (Arc::new(Bundles::new(Seconds::new(max_age), shared.metrics.clone())), shared.sidecars),
            events,
            shared.metrics,
        ));
        let mut tasks = JoinSet::new();
        let running = observe(&mut tasks, &context)?;
        tasks.spawn(report(
            Arc::clone(&context),
            Arc::clone(&running),
            [caches.clone(), bundle, watches, sidecars],
        ));
        let write_events = Box::pin(write_events);
        let controllers =
            Controllers { context: Arc::clone(&context), running, write_events, others: Vec::new() };
        Ok((Self { context, tasks, caches }, controllers))
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
    running: Arc<Running>,
    write_events: BoxFuture<'static, ()>,
    others: Vec<BoxFuture<'static, ()>>,
}

impl Controllers {
    /// Adds work of the leader that never ends by itself.
    pub fn also(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.others.push(Box::pin(work));
    }

    /// Runs turns until `shutdown`. Dropping the future stops all turns at once.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), OperatorError> {
        let Self { context, running, write_events, others } = self;
        // A process leads once: it ends when it loses the lease.
        let _ = context.leading_since.set(now());
        let mut tasks = JoinSet::new();
        tasks.spawn(reevaluate(Arc::clone(&context)));
        tasks.spawn(follow_the_clock(Arc::clone(&context)));
        tasks.spawn(take_turns(context, running));
        tasks.spawn(write_events);
        for work in others {
            tasks.spawn(work);
        }
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

/// Updates readiness checks for lists, bundle, watches and sidecars, and gauges, until dropped.
async fn report(
    context: Arc<Context>,
    running: Arc<Running>,
    [caches, bundle, watches, sidecars]: [Check; 4],
) {
    let mut lacked_runtimes = false;
    loop {
        let lacks_runtimes = context.index.runtimes.is_absent();
        if lacks_runtimes && !lacked_runtimes {
            tracing::warn!(
                "this cluster does not serve AgentRuntimes, so that no workload is enrolled or put back: install \
                 crds/agentruntimes.agent.kagenti.dev.yaml (crd.enable in the chart); agents are verified all the same"
            );
        }
        lacked_runtimes = lacks_runtimes;
        if context.sidecars.settings().is_some() {
            sidecars.pass();
        } else {
            // The webhook would refuse whoever asks for a sidecar.
            sidecars.fail("what the cluster offers to sidecars was not read yet");
        }
        match running.unread().as_slice() {
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

/// Starts the watches of all kinds, of bundles and of the operator's SVID.
fn observe(tasks: &mut JoinSet<()>, context: &Arc<Context>) -> Result<Arc<Running>, OperatorError> {
    let metrics = context.metrics.clone();
    let broken: WatchFailed = Arc::new(move |FailedWatch { kind, .. }, error| {
        metrics.watch_failed(kind);
        tracing::warn!(kind, error = %ExplainedWatch(error), "a watch failed and is tried again");
    });
    let (index, told) = (Arc::clone(&context.index), Arc::clone(&broken));
    let noted: WatchFailed = Arc::new(move |watch, error| {
        // Agents of other kinds must not wait for an optional one, and a replica that is not ready stops an upgrade.
        if !watch.is_optional {
            index.health.failed(watch.kind, instant());
        }
        told(watch, error);
    });
    let mut registry = Registry::new(noted);
    kinds::register(&mut registry, context).map_err(|error| OperatorError::setup("the kinds", error))?;
    let running = Arc::new(registry.start(tasks));
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
    let ruled = Arc::clone(context);
    tasks.spawn(async move { ruled.policies.follow(&ruled.metrics).await });
    let own = Arc::clone(context);
    tasks.spawn(async move { own.identity.follow(&own.config).await });
    let cluster = Arc::clone(context);
    tasks.spawn(async move {
        let changed = || runtime::settings_changed(&cluster);
        let path = cluster.config.sidecar_host_path.as_deref();
        cluster.sidecars.follow(path, &cluster.client, changed).await;
    });
    let constrained = Arc::clone(context);
    tasks.spawn(async move { scc::follow(&constrained).await });
    Ok(running)
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
async fn follow_bundles(context: Arc<Context>, broken: WatchFailed) {
    let (config, bundles) = (&context.config.bundle, &*context.bundles);
    match &context.config.identity.trust_domain {
        Some(domain) if config.origin == BundleOrigin::WorkloadApi => {
            follow_workload_api(&context.config.workload_api, domain, bundles).await;
        }
        Some(domain) => {
            let (client, every) = (&context.watching, config.read_every());
            let failed = |kind, error: &Error| broken(FailedWatch { kind, is_optional: false }, error);
            let others = follow_federation(client.clone(), domain, every, bundles, failed);
            if config.origin == BundleOrigin::ClusterTrustBundle {
                let (client, name) = (client.clone(), &config.name);
                let own = follow_cluster_trust_bundle(client, domain, name, every, bundles, failed);
                join(own, others).await;
                return;
            }
            let source = ConfigMapKey {
                trust_domain: domain.clone(),
                namespace: config.namespace.as_str().to_owned(),
                name: config.name.clone(),
                key: config.key.clone(),
            };
            join(follow_config_map(client.clone(), &source, every, bundles, failed), others).await;
        }
        None => std::future::pending::<()>().await,
    }
}

/// Evaluates all cards again when authorities or policies change, until dropped.
async fn reevaluate(context: Arc<Context>) {
    let (mut authorities, mut policies) = (context.bundles.changes(), context.policies.changes());
    loop {
        let (changed, cause) = tokio::select! {
            changed = authorities.changed() => (changed, Cause::Authorities),
            changed = policies.changed() => (changed, Cause::Policy),
        };
        if changed.is_err() {
            return;
        }
        reevaluate_all(&context, cause);
    }
}

/// Runs the turns of all kinds.
async fn take_turns(context: Arc<Context>, running: Arc<Running>) {
    let metrics = context.metrics.clone();
    let ended: TurnEnded = Box::new(move |reconciler, result, took| {
        let outcome = match result {
            Ok(Next::Never) => ReconcileResult::success,
            Ok(Next::In(_)) => ReconcileResult::requeue_after,
            Err(_) => ReconcileResult::error,
        };
        metrics.reconciled(reconciler.controller, outcome, took);
    });
    running.lead(&context.work, ended).await;
}

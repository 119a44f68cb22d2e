//! Kubernetes Events: one per transition, written when no turn is due, because closing comes before telling.
//! Events beyond the buffer are counted and dropped; status holds the outcome in any case.

use super::index::ObjectRef;
use super::metrics::Metrics;
use countersign_controller::api_error::Explained;
use countersign_controller::queue::Shares;
use countersign_controller::turns::Work;
use countersign_plan::agent_card::transition::Transition;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Maximum number of waiting events; one namespace may hold half of them.
const WAITING: usize = 2048;
/// Maximum wait of an event for due turns, so that an operator that never catches up still writes events.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Period of checks whether turns are due.
const POLL: Duration = Duration::from_millis(50);

/// Group, version and kind of the object that an event is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventSource {
    /// Reporting controller, by which existing tools filter.
    pub(crate) controller: &'static str,
    /// API group and version.
    pub(crate) api_version: &'static str,
    /// Name of the kind.
    pub(crate) kind: &'static str,
    /// Action that led to the event.
    pub(crate) action: &'static str,
}

type QueuedEvent = (&'static str, ObjectReference, Event);

/// Sender of events to the loop that writes them.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<QueuedEvent>,
    shares: Arc<Mutex<Shares>>,
    metrics: Metrics,
}

impl Events {
    /// Sender, and the loop that writes events until every sender is dropped.
    pub(crate) fn new(
        client: Client,
        metrics: Metrics,
        work: Arc<Work>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel::<QueuedEvent>(WAITING);
        let counted = metrics.clone();
        let shares = Arc::new(Mutex::new(Shares::fair(WAITING)));
        let waiting = Arc::clone(&shares);
        let write = async move {
            let mut patience = LONGEST_WAIT;
            while let Some((controller, about, event)) = receiver.recv().await {
                lock(&waiting).give(about.namespace.as_deref().unwrap_or_default());
                // After `LONGEST_WAIT` the event is written all the same, and later ones wait for `POLL` only: a namespace
                // that keeps the operator busy delays the events of others once, and not once per event.
                let is_idle = timeout(patience, work.short.caught_up(POLL)).await.is_ok();
                patience = if is_idle { LONGEST_WAIT } else { POLL };
                // A recorder counts repetitions of a reason in the first event, whose note then stays the old one, and
                // needs the right to patch events. Each transition gets an event of its own here.
                let reporter = Reporter { controller: controller.to_owned(), instance: None };
                let recorder = Recorder::new(client.clone(), reporter);
                match recorder.publish(&event, &about).await {
                    Ok(()) => counted.wrote("events"),
                    Err(error) => {
                        tracing::warn!(error = %Explained(&error), reason = event.reason, "an event was not written");
                    }
                }
            }
        };
        (Self { sender, shares, metrics }, write)
    }

    /// Sends an event about an object; drops and counts it if too many wait. True if it was taken.
    pub(crate) fn send(
        &self,
        about: EventSource,
        object: &ObjectRef,
        uid: &str,
        transition: &Transition,
    ) -> bool {
        let event = Event {
            type_: if transition.is_warning() { EventType::Warning } else { EventType::Normal },
            reason: transition.reason().to_owned(),
            note: Some(transition.note().to_owned()),
            action: about.action.to_owned(),
            secondary: None,
        };
        let reference = ObjectReference {
            api_version: Some(about.api_version.to_owned()),
            kind: Some(about.kind.to_owned()),
            namespace: Some(object.namespace.to_string()),
            name: Some(object.name.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let has_share = lock(&self.shares).take(&object.namespace);
        let is_taken = has_share && self.sender.try_send((about.controller, reference, event)).is_ok();
        if has_share && !is_taken {
            lock(&self.shares).give(&object.namespace);
        }
        if !is_taken {
            self.metrics.dropped_event();
        }
        is_taken
    }
}

fn lock(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

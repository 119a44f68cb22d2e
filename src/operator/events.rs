//! Kubernetes Events: one per transition, written when no turn is due, because closing comes before telling.
//! Events beyond the buffer are counted and dropped; status holds the outcome in any case.

use super::index::{ObjectRef, Workload, WorkloadKind, WorkloadRef};
use super::metrics::Metrics;
use countersign_api::keys::{AGENT_CARD_API_VERSION, AGENT_CARD_KIND};
use countersign_controller::queue::Shares;
use countersign_controller::turns::Work;
use countersign_plan::agent_card::turn::Transition;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Reporting controller of events, by which existing tools filter.
const CONTROLLER: &str = "agentcard-controller";
/// Maximum number of waiting events; one namespace may hold half of them.
const WAITING: usize = 2048;
/// Number of events after which the recorder forgets which it has seen.
const REMEMBERED: usize = 256;
/// Maximum wait of an event for due turns, so that an operator that never catches up still writes events.
const PATIENCE: Duration = Duration::from_secs(2);
/// Period of checks whether turns are due.
const POLL: Duration = Duration::from_millis(50);
/// Maximum length of an event note at the API server, in bytes.
const NOTE_BYTES: usize = 1024;

/// Sender of events to the loop that writes them.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<(ObjectReference, Event)>,
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
        let (sender, mut receiver) = mpsc::channel::<(ObjectReference, Event)>(WAITING);
        let counted = metrics.clone();
        let shares = Arc::new(Mutex::new(Shares::fair(WAITING)));
        let waiting = Arc::clone(&shares);
        let write = async move {
            let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: None };
            let mut recorder = Recorder::new(client.clone(), reporter.clone());
            let (mut written, mut patience) = (0_usize, PATIENCE);
            while let Some((about, event)) = receiver.recv().await {
                lock(&waiting).give(about.namespace.as_deref().unwrap_or_default());
                // A recorder keeps the events of some minutes to count repetitions, and scans all of them per event.
                written = written.wrapping_add(1);
                if written.is_multiple_of(REMEMBERED) {
                    recorder = Recorder::new(client.clone(), reporter.clone());
                }
                // After `PATIENCE` the event is written all the same, and later ones wait for `POLL` only: a namespace
                // that keeps the operator busy delays the events of others once, and not once per event.
                let is_idle = timeout(patience, work.short.caught_up(POLL)).await.is_ok();
                patience = if is_idle { PATIENCE } else { POLL };
                match recorder.publish(&event, &about).await {
                    Ok(()) => counted.wrote("events"),
                    Err(error) => tracing::warn!(%error, reason = event.reason, "an event was not written"),
                }
            }
        };
        (Self { sender, shares, metrics }, write)
    }

    /// Sends an event about an AgentCard; drops and counts it if too many wait.
    pub(crate) fn about_card(&self, card: &ObjectRef, uid: &str, transition: Transition) {
        let about = reference((AGENT_CARD_API_VERSION, AGENT_CARD_KIND), card, uid);
        self.send(about, "VerifySignature", transition);
    }

    /// Sends a warning about a workload; drops and counts it if too many wait.
    pub(crate) fn about_workload(&self, key: &WorkloadRef, workload: &Workload, reason: &str, note: &str) {
        let about = reference((WorkloadKind::API_VERSION, key.kind.as_str()), &key.object, &workload.uid);
        let (reason, note) = (reason.to_owned(), note.to_owned());
        self.send(about, "Reconcile", Transition { is_warning: true, reason, note });
    }

    fn send(&self, about: ObjectReference, action: &str, transition: Transition) {
        let Transition { is_warning, reason, note } = transition;
        let type_ = if is_warning { EventType::Warning } else { EventType::Normal };
        let note = Some(bounded(&note));
        let event = Event { type_, reason, note, action: action.to_owned(), secondary: None };
        let namespace = about.namespace.clone().unwrap_or_default();
        if !lock(&self.shares).take(&namespace) {
            self.metrics.dropped_event();
        } else if self.sender.try_send((about, event)).is_err() {
            lock(&self.shares).give(&namespace);
            self.metrics.dropped_event();
        }
    }
}

fn reference((api_version, kind): (&str, &str), object: &ObjectRef, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(object.namespace.clone()),
        name: Some(object.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

fn lock(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Start of a text, at most 1024 bytes, cut between characters.
fn bounded(text: &str) -> String {
    let mut end = text.len().min(NOTE_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        assert_eq!(bounded(&"é".repeat(600)).len(), NOTE_BYTES);
        assert_eq!(bounded(&format!("x{}", "é".repeat(600))).len(), NOTE_BYTES - 1);
    }
}

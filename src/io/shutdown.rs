//! The way to a graceful end: one token that everything long-running listens to.
//! Controllers stop first, then the lease is released, then the servers stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Asks for the end of everything that holds the matching [`Shutdown`].
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Told when the end was asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and its token.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Asks for the end. Dropping the trigger does the same.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits until the end was asked for. May be dropped and called again at any time.
    pub async fn requested(&self) {
        // An error means that the trigger is gone, which is the end too.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// The same as a future without a borrow, for servers that ask for one.
    pub async fn into_requested(self) {
        self.requested().await;
    }

    /// True once the end was asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// A token for the signals that ask a process to end. They are caught from now on.
pub fn on_signal() -> std::io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (trigger, shutdown) = channel();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("stopping after {name}");
        trigger.request();
    });
    Ok(shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_token_learns_of_the_end_also_afterwards() {
        let (trigger, shutdown) = channel();
        let early = shutdown.clone();
        assert!(!shutdown.is_requested());
        let waiting = tokio::spawn(async move { early.requested().await });
        trigger.request();
        waiting.await.unwrap();
        shutdown.requested().await;
        shutdown.clone().into_requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_dropped_trigger_is_the_end() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}

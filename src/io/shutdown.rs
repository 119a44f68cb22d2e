//! Graceful shutdown: one token that every long-running task waits for.
//! Controllers stop first, then the lease is released, then the servers stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The sender of a shutdown request to every clone of the matching [`Shutdown`].
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// The token that learns of a shutdown request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Makes a trigger and its token.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Requests the shutdown. Dropping the trigger requests it, too.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits until the shutdown was requested. The future may be dropped and made again at any time.
    pub async fn requested(&self) {
        // An error means that the trigger was dropped, which requests the shutdown.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// Waits until the shutdown was requested, as a future that owns the token, for servers that need `'static`.
    pub async fn into_requested(self) {
        self.requested().await;
    }

    /// True once the shutdown was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Makes a token that SIGTERM or SIGINT requests to shut down. The process catches both signals from now on.
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

//! Admission webhook. Every replica serves it, on a thread of its own; the leader keeps the Secret with its certificate and
//! the authorities that the API server is told.

mod admit;
mod arrivals;
mod ca_bundle;
mod certificates;
mod key_pair;
mod limits;
mod request;
mod review;
mod secret;
mod server;
mod stored;
#[cfg(test)]
mod tests;

pub(super) use admit::admit;
pub(super) use review::Decide;

use super::flags::{WebhookCertificate, WebhookServer};
use super::metrics::Metrics;
use super::tls::Current;
use certificates::{Certificates, follow_files, follow_secret};
use countersign_controller::admin::Check;
use countersign_io::shutdown::Shutdown;
use countersign_plan::Namespace;
use countersign_plan::webhook::service_names;
use futures::future::join;
use kube::Client;
use request::Reviewer;
use rustls::sign::CertifiedKey;
use std::io;
use std::sync::Arc;
use std::thread;
use stored::{SecretName, Stored};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};

/// Path at which reviews are received, and the name of the webhook in metrics without its slash.
const PATH: &str = "/mutate-workloads-authbridge";

/// Webhook of one replica; clones share what is stored.
#[derive(Clone)]
pub(super) struct Webhook {
    server: WebhookServer,
    secret: SecretName,
    stored: Arc<watch::Sender<Stored>>,
    client: Client,
    watching: Client,
    metrics: Metrics,
}

impl Webhook {
    /// Webhook of an operator in `namespace`; nothing runs yet.
    pub(super) fn new(
        server: WebhookServer,
        namespace: &Namespace,
        (client, watching): (Client, Client),
        metrics: Metrics,
    ) -> Self {
        let secret = SecretName::in_namespace(namespace.as_str());
        Self {
            server,
            secret,
            stored: Arc::new(watch::channel(Stored::default()).0),
            client,
            watching,
            metrics,
        }
    }

    /// Serves reviews on `listener`'s address until `stop`, from the first certificate on; `check` passes while it is served.
    pub(super) async fn serve(
        self,
        decide: Decide,
        check: Check,
        listen: impl AsyncFnOnce() -> io::Result<TcpListener>,
        stop: Shutdown,
    ) -> io::Result<()> {
        let certificates = Certificates::default();
        let mut keys = certificates.subscribe();
        let reviewer = Arc::new(Reviewer::new(decide, self.metrics.clone()));
        let serving = async {
            let key = tokio::select! {
                key = first(&mut keys, &check) => key,
                () = stop.requested() => return Ok(()),
            };
            let current = Current::new(key);
            let listener = listen().await?;
            tracing::info!(address = %listener.local_addr()?, "serving the admission webhook");
            let served = on_a_thread(listener, &current, reviewer, stop.clone())?;
            check.pass();
            tokio::select! {
                ended = served => ended,
                never = swap(&mut keys, &current) => match never {},
            }
        };
        tokio::select! {
            ended = serving => ended,
            () = self.follow(&certificates) => Ok(()),
        }
    }

    async fn follow(&self, certificates: &Certificates) {
        match &self.server.certificate {
            WebhookCertificate::Files(files) => follow_files(files, certificates).await,
            WebhookCertificate::Secret { .. } => {
                let failed = || self.metrics.watch_failed("secrets");
                let watched = stored::follow(self.watching.clone(), &self.secret, &self.stored, failed);
                join(watched, follow_secret(&self.secret, self.stored.subscribe(), certificates)).await;
            }
        }
    }

    /// Keeps the Secret and the API server's authorities until dropped. For the leader.
    pub(super) async fn keep(self) {
        let WebhookCertificate::Secret { service, configuration } = &self.server.certificate else {
            return std::future::pending().await;
        };
        let names = service_names(service, &self.secret.namespace);
        let secret = secret::keep(&self.client, &self.secret, &names, self.stored.subscribe(), &self.metrics);
        let bundle = async {
            if let Some(configuration) = configuration {
                let clients = (&self.client, self.watching.clone());
                ca_bundle::keep(clients, configuration, self.stored.subscribe(), &self.metrics).await;
            }
        };
        join(secret, bundle).await;
    }
}

/// First certificate; until it comes, `check` says why there is none.
async fn first(keys: &mut watch::Receiver<certificates::Latest>, check: &Check) -> CertifiedKey {
    loop {
        match &*keys.borrow_and_update() {
            Ok(key) => return key.clone(),
            Err(problem) => check.fail(problem),
        }
        if keys.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Serves with each new certificate; one that is unusable leaves the last in use.
async fn swap(
    keys: &mut watch::Receiver<certificates::Latest>,
    current: &Current,
) -> std::convert::Infallible {
    loop {
        if keys.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        match &*keys.borrow_and_update() {
            Ok(key) => current.set(key.clone()),
            Err(problem) => tracing::warn!(%problem, "the webhook goes on with the certificate that it has"),
        }
    }
}

/// Serves on a thread of its own, so that no turn of a controller delays an admission.
fn on_a_thread(
    listener: TcpListener,
    current: &Current,
    reviewer: Arc<Reviewer>,
    stop: Shutdown,
) -> io::Result<impl Future<Output = io::Result<()>>> {
    let (listener, acceptor) = (listener.into_std()?, current.acceptor()?);
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("admission".to_owned()).spawn(move || {
        let served = runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            runtime.block_on(async {
                server::serve(TcpListener::from_std(listener)?, acceptor, reviewer, stop).await
            })
        });
        // Whoever waited is gone only with the process.
        let _ = end.send(served);
    })?;
    Ok(async { ended.await.unwrap_or_else(|_| Err(io::Error::other("the thread of the webhook ended"))) })
}

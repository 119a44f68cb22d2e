//! Watch of the Secret with the webhook's certificate. It selects the one name, so that no other Secret is ever listed.

use countersign_controller::api_error::ExplainedWatch;
use countersign_plan::webhook::SecretData;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::fmt::{self, Display, Formatter};
use std::pin::pin;
use tokio::sync::watch;

/// Name of the Secret, which the existing operator's manifests use.
const NAME: &str = "kagenti-operator-webhook-server-cert";

/// Namespace and name of the Secret.
#[derive(Clone, Debug)]
pub(super) struct SecretName {
    pub(super) namespace: String,
    pub(super) name: &'static str,
}

impl SecretName {
    pub(super) fn in_namespace(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: NAME }
    }
}

impl Display for SecretName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the Secret {}/{}", self.namespace, self.name)
    }
}

/// What the watch last said.
#[derive(Clone, Default)]
pub(super) enum Stored {
    /// Nothing yet.
    #[default]
    Unread,
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// There is none.
    Absent,
    /// The Secret.
    Found(Box<Secret>),
}

/// Data of a Secret, as plans take it.
pub(super) fn data(secret: &Secret) -> SecretData {
    let all = secret.data.iter().flatten();
    all.map(|(name, value)| (name.clone(), value.0.clone())).collect()
}

/// Follows the Secret until dropped; `failed` is called for each failed request.
pub(super) async fn follow(
    client: Client,
    name: &SecretName,
    stored: &watch::Sender<Stored>,
    failed: impl Fn(),
) {
    let api: Api<Secret> = Api::namespaced(client, &name.namespace);
    let only = Config::default().fields(&format!("metadata.name={}", name.name));
    let mut events = pin!(watcher(api, only).default_backoff());
    let mut listed = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = None,
            Ok(Event::InitApply(secret)) => listed = Some(secret),
            Ok(Event::InitDone) => {
                let found = listed.take().map_or(Stored::Absent, |secret| Stored::Found(Box::new(secret)));
                stored.send_replace(found);
            }
            Ok(Event::Apply(secret)) => {
                stored.send_replace(Stored::Found(Box::new(secret)));
            }
            Ok(Event::Delete(_)) => {
                stored.send_replace(Stored::Absent);
            }
            Err(error) => {
                failed();
                let problem = ExplainedWatch(&error).to_string();
                tracing::warn!(%problem, "{name} cannot be followed");
                // What was read goes on to count: a certificate is no less trusted because the API server is away.
                stored.send_if_modified(|last| {
                    let is_unread = matches!(last, Stored::Unread | Stored::Unreadable(_));
                    if is_unread {
                        *last = Stored::Unreadable(problem);
                    }
                    is_unread
                });
            }
        }
    }
}

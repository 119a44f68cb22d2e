//! The leader's writes of the Secret: created if it is absent, else replaced on the version that was read.

use super::key_pair::make;
use super::limits::{LOOK, RETRY, WRITTEN};
use super::stored::{SecretName, Stored, data};
use crate::metrics::Metrics;
use countersign_api::keys::{MANAGED_BY, MANAGED_BY_APP_LABEL};
use countersign_controller::api_error::Explained;
use countersign_controller::apply::FIELD_MANAGER;
use countersign_io::clock::now;
use countersign_plan::webhook::{Change, PlannedSecret, plan_certificate};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::BTreeMap;
use tokio::sync::watch;
use tokio::time::timeout;

/// Keeps the Secret as it is planned until dropped.
pub(super) async fn keep(
    client: &Client,
    name: &SecretName,
    names: &[String],
    mut stored: watch::Receiver<Stored>,
    metrics: &Metrics,
) {
    let api: Api<Secret> = Api::namespaced(client.clone(), &name.namespace);
    loop {
        let read = stored.borrow_and_update().clone();
        let wait = match plan(read, name, names) {
            Ok(None) => LOOK,
            Ok(Some((secret, change))) => match write(&api, &secret, &change).await {
                Ok(()) => {
                    metrics.wrote("secrets");
                    match change {
                        Change::Created => tracing::info!("{name} was made"),
                        Change::Rotated => tracing::info!("{name} was rotated"),
                        Change::Repaired(why) => tracing::warn!(%why, "{name} was mended"),
                    }
                    WRITTEN
                }
                Err(error) => {
                    tracing::warn!("{name} could not be written: {}", Explained(&error));
                    RETRY
                }
            },
            Err(problem) => {
                tracing::warn!(%problem, "no certificate can be made for the webhook");
                RETRY
            }
        };
        // Time and a word of the watch both lead to another look.
        if let Ok(Err(_)) = timeout(wait, stored.changed()).await {
            return;
        }
    }
}

/// Secret to write, if any.
fn plan(stored: Stored, name: &SecretName, names: &[String]) -> Result<Option<(Secret, Change)>, String> {
    let secret = match stored {
        Stored::Unread | Stored::Unreadable(_) => return Ok(None),
        Stored::Absent => None,
        Stored::Found(secret) => Some(*secret),
    };
    let now = now();
    let stored = secret.as_ref().map(data);
    let planned = plan_certificate(stored.as_ref(), names, now, |not_after| make(names, now, not_after))?;
    let Some(PlannedSecret { data, change }) = planned else { return Ok(None) };
    let mut secret = secret.unwrap_or_else(|| new(name));
    secret.data = Some(data.into_iter().map(|(name, value)| (name, ByteString(value))).collect());
    Ok(Some((secret, change)))
}

fn new(name: &SecretName) -> Secret {
    let mut secret = Secret { type_: Some("kubernetes.io/tls".to_owned()), ..Secret::default() };
    secret.metadata.namespace = Some(name.namespace.clone());
    secret.metadata.name = Some(name.name.to_owned());
    secret.metadata.labels = Some(BTreeMap::from([(MANAGED_BY_APP_LABEL.to_owned(), MANAGED_BY.to_owned())]));
    secret
}

async fn write(api: &Api<Secret>, secret: &Secret, change: &Change) -> Result<(), kube::Error> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    // The version of the metadata refuses the replacement of what another replica wrote meanwhile.
    let written = match (change, secret.metadata.name.as_deref()) {
        (Change::Rotated | Change::Repaired(_), Some(name)) => api.replace(name, &parameters, secret).await,
        _ => api.create(&parameters, secret).await,
    };
    written.map(drop)
}

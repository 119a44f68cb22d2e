//! The leader's patches of the `MutatingWebhookConfiguration`: `caBundle` alone, and only where it differs.

use super::limits::{PATCHES_APART, RETRY};
use super::stored::{Stored, data};
use crate::metrics::Metrics;
use countersign_controller::api_error::{Explained, ExplainedWatch};
use countersign_controller::apply::FIELD_MANAGER;
use countersign_plan::webhook::{authorities, plan_ca_bundle};
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

const RESOURCE: &str = "mutatingwebhookconfigurations";

/// Keeps `caBundle` of the configuration `name` equal to the authorities of the Secret until dropped.
pub(super) async fn keep(
    (client, watching): (&Client, Client),
    name: &str,
    mut stored: watch::Receiver<Stored>,
    metrics: &Metrics,
) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let only = Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(Api::all(watching), only).default_backoff());
    let (mut listed, mut configuration) = (None, None);
    let mut retry = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                None => return,
                Some(Ok(Event::Init)) => listed = None,
                Some(Ok(Event::InitApply(object))) => listed = Some(object),
                Some(Ok(Event::InitDone)) => {
                    configuration = listed.take();
                    if configuration.is_none() {
                        tracing::warn!("the MutatingWebhookConfiguration {name} does not exist, so nothing calls the webhook");
                    }
                }
                Some(Ok(Event::Apply(object))) => configuration = Some(object),
                Some(Ok(Event::Delete(_))) => configuration = None,
                Some(Err(error)) => {
                    metrics.watch_failed(RESOURCE);
                    tracing::warn!("the MutatingWebhookConfiguration {name} cannot be followed: {}", ExplainedWatch(&error));
                }
            },
            changed = stored.changed() => if changed.is_err() { return },
            () = wait(retry) => {}
        }
        let planned = {
            let secret = stored.borrow_and_update();
            match (&*secret, &configuration) {
                (Stored::Found(secret), Some(configuration)) => authorities(&data(secret))
                    .and_then(|authorities| plan_ca_bundle(configuration, authorities)),
                _ => None,
            }
        };
        retry = None;
        let Some(patch) = planned else { continue };
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(name, &parameters, &Patch::Json::<()>(patch)).await {
            Ok(patched) => {
                metrics.wrote(RESOURCE);
                tracing::info!(
                    "the MutatingWebhookConfiguration {name} was told the authorities of the webhook"
                );
                configuration = Some(patched);
                sleep(PATCHES_APART).await;
            }
            Err(error) => {
                tracing::warn!(
                    "the MutatingWebhookConfiguration {name} could not be patched: {}",
                    Explained(&error)
                );
                retry = Some(RETRY);
            }
        }
    }
}

async fn wait(retry: Option<Duration>) {
    match retry {
        Some(after) => sleep(after).await,
        None => std::future::pending().await,
    }
}

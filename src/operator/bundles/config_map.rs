//! The trust bundle in one pinned ConfigMap, watched by its name alone.
//! No other ConfigMap is ever listed, and the name comes from configuration.

use super::Bundles;
use crate::core::refusal::{Reason, Refusal};
use crate::core::spiffe::TrustDomain;
use crate::core::text::Quoted;
use crate::io::clock::now;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use std::pin::pin;

/// Which ConfigMap holds the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BundleSource {
    /// The trust domain whose bundle it is: configuration, never content (rule 43).
    pub(crate) trust_domain: TrustDomain,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The key that holds the bundle.
    pub(crate) key: String,
}

/// Follows the ConfigMap until dropped.
pub(crate) async fn follow_config_map(
    client: Client,
    source: &BundleSource,
    bundles: &Bundles,
    broken: impl Fn(&'static str, &watcher::Error),
) {
    let api: Api<ConfigMap> = Api::namespaced(client, &source.namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={}", source.name));
    let mut events = pin!(watch(api, only).default_backoff());
    let mut listed = false;
    while let Some(event) = events.next().await {
        let at = now();
        let content = match event {
            Ok(Event::Init) => {
                listed = false;
                continue;
            }
            Ok(Event::InitApply(map) | Event::Apply(map)) => {
                listed = true;
                source.content(map)
            }
            Ok(Event::InitDone) if listed => continue,
            Ok(Event::InitDone | Event::Delete(_)) => Err(source.missing("does not exist")),
            Err(error) => {
                broken("configmaps", &error);
                continue;
            }
        };
        bundles.update(&source.trust_domain, at, |state| state.update(content, at));
    }
}

impl BundleSource {
    fn content(&self, map: ConfigMap) -> Result<Vec<u8>, Refusal> {
        map.data
            .and_then(|mut data| data.remove(&self.key))
            .map(String::into_bytes)
            .ok_or_else(|| self.missing(&format!("has no key {}", Quoted(&self.key))))
    }

    fn missing(&self, what: &str) -> Refusal {
        let message = format!("the ConfigMap {}/{} {what}", self.namespace, self.name);
        Refusal::new(Reason::BundleMalformed, message)
    }
}

//! Trust bundle from one pinned ConfigMap, whose name comes from configuration.
//! The watch selects that name, so that no other ConfigMap is ever listed.

use super::Bundles;
use super::source::{ReadFailure, read, until_next};
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_io::clock::now;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::pin::pin;
use std::time::Duration;

/// ConfigMap key that holds a trust bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigMapKey {
    /// Trust domain of the bundle, from configuration and never from content (rule 43).
    pub(crate) trust_domain: TrustDomain,
    /// Namespace of the ConfigMap.
    pub(crate) namespace: String,
    /// Name of the ConfigMap.
    pub(crate) name: String,
    /// Data key that holds the bundle.
    pub(crate) key: String,
}

/// Follows the ConfigMap until dropped, and reads it at least once per `every`.
pub(crate) async fn follow_config_map(
    client: Client,
    source: &ConfigMapKey,
    every: Duration,
    bundles: &Bundles,
    broken: impl Fn(&'static str, &Error),
) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &source.namespace);
    let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client, &source.namespace);
    let only = Config::default().fields(&format!("metadata.name={}", source.name));
    let mut events = pin!(watcher(metadata, only).default_backoff());
    let what = format!("the ConfigMap {}/{}", source.namespace, source.name);
    loop {
        let answer = read(&what, api.get_opt(&source.name)).await;
        let content = answer.and_then(|map| match map {
            Some(map) => source.content(map),
            None => Err(source.missing("does not exist")),
        });
        let was_read = bundles.accept(&source.trust_domain, now(), content);
        until_next(&mut events, every, was_read, |error| broken("configmaps", error)).await;
    }
}

impl ConfigMapKey {
    fn content(&self, map: ConfigMap) -> Result<Vec<u8>, ReadFailure> {
        map.data
            .and_then(|mut data| data.remove(&self.key))
            .map(String::into_bytes)
            .ok_or_else(|| self.missing(&format!("has no key {}", Quoted(&self.key))))
    }

    fn missing(&self, what: &str) -> ReadFailure {
        ReadFailure::missing(format!("the ConfigMap {}/{} {what}", self.namespace, self.name))
    }
}

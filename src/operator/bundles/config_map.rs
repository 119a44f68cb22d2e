//! Trust bundle from one pinned ConfigMap, whose name comes from configuration.
//! The watch selects that name, so that no other ConfigMap is ever listed.

use super::Bundles;
use super::follow::{Source, follow};
use super::source::{ReadFailure, read};
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::future::ready;
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
    let events = watcher(metadata, only).default_backoff();
    let what = format!("the ConfigMap {}/{}", source.namespace, source.name);
    let content = || async {
        match read(&what, api.get_opt(&source.name)).await? {
            Some(map) => source.content(map),
            None => Err(source.missing("does not exist")),
        }
    };
    let from = Source { plural: "configmaps", trust_domain: &source.trust_domain, every, bundles };
    follow(&from, events, content, || ready(false), broken).await;
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

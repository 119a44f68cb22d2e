//! Trust bundle from one pinned `ClusterTrustBundle` of Kubernetes (KEP-3257), whose name comes from configuration. Its
//! PEM names no trust domain, so the domain comes from configuration too (rule 43).

use super::Bundles;
use super::source::{ReadFailure, read, until_next};
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_io::clock::now;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "ClusterTrustBundle";
/// Plural name of the kind, for errors and metrics.
const PLURAL: &str = "clustertrustbundles";
/// Wait before a cluster that does not serve the kind is asked again.
const RETRY: Duration = Duration::from_secs(10);

/// Follows the `ClusterTrustBundle` of this name until dropped, and reads it at least once per `every`.
pub(crate) async fn follow_cluster_trust_bundle(
    client: Client,
    trust_domain: &TrustDomain,
    name: &str,
    every: Duration,
    bundles: &Bundles,
    broken: impl Fn(&'static str, &Error),
) {
    let resource = loop {
        match read(PLURAL, served(&client)).await.and_then(|found| found.ok_or_else(not_served)) {
            Ok(resource) => break resource,
            Err(failure) => {
                bundles.accept(trust_domain, now(), Err(failure));
                sleep(RETRY).await;
            }
        }
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let metadata: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
    let only = Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(metadata, only).default_backoff());
    let what = format!("the {KIND} {}", Quoted(name));
    loop {
        let answer = read(&what, api.get_opt(name)).await;
        let content = answer.and_then(|object| match object {
            Some(object) => content(&what, &object),
            None => Err(ReadFailure::missing(format!("{what} does not exist"))),
        });
        let was_read = bundles.accept(trust_domain, now(), content);
        until_next(&mut events, every, was_read, |error| broken(PLURAL, error)).await;
    }
}

/// Most stable version in which the cluster serves the kind; `None` if in none.
async fn served(client: &Client) -> Result<Option<ApiResource>, kube::Error> {
    let group = kube::discovery::group(client, GROUP).await?;
    let mut all = group.resources_by_stability().into_iter().map(|(resource, _)| resource);
    Ok(all.find(|resource| resource.kind == KIND))
}

fn not_served() -> ReadFailure {
    ReadFailure::missing(format!(
        "the cluster serves no {KIND}: switch on its feature gate and its version of {GROUP}, or choose another source"
    ))
}

fn content(what: &str, object: &DynamicObject) -> Result<Vec<u8>, ReadFailure> {
    let pem = object.data.get("spec").and_then(|spec| spec.get("trustBundle")?.as_str());
    match pem.filter(|pem| !pem.is_empty()) {
        Some(pem) => Ok(pem.as_bytes().to_vec()),
        None => Err(ReadFailure::missing(format!("{what} has no spec.trustBundle"))),
    }
}

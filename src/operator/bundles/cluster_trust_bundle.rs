//! Trust bundle from one pinned `ClusterTrustBundle` of Kubernetes (KEP-3257), whose name comes from configuration. Its
//! PEM names no trust domain, so the domain comes from configuration too (rule 43).

use super::Bundles;
use super::follow::{Source, follow};
use super::source::{ReadFailure, read};
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_io::clock::now;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::sleep;

const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "ClusterTrustBundle";
/// Plural name of the kind, for errors and metrics.
const PLURAL: &str = "clustertrustbundles";
/// Wait before a cluster that does not serve the kind is asked again.
const RETRY: Duration = Duration::from_secs(10);

/// Follows the `ClusterTrustBundle` of this name until dropped, and reads it at least once per `every`. An upgrade of the
/// cluster may end the version that it is read in, so the kind is discovered again if the object is not there.
pub(crate) async fn follow_cluster_trust_bundle(
    client: Client,
    trust_domain: &TrustDomain,
    name: &str,
    every: Duration,
    bundles: &Bundles,
    broken: impl Fn(&'static str, &Error),
) {
    let what = format!("the {KIND} {}", Quoted(name));
    let only = Config::default().fields(&format!("metadata.name={name}"));
    let from = Source { plural: PLURAL, trust_domain, every, bundles };
    loop {
        let resource =
            match read(PLURAL, served(&client)).await.and_then(|found| found.ok_or_else(not_served)) {
                Ok(resource) => resource,
                Err(failure) => {
                    bundles.accept(trust_domain, now(), Err(failure));
                    sleep(RETRY).await;
                    continue;
                }
            };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let metadata: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
        let events = watcher(metadata, only.clone()).default_backoff();
        let content = || async {
            match read(&what, api.get_opt(name)).await? {
                Some(object) => content(&what, &object),
                None => Err(ReadFailure::missing(format!("{what} does not exist"))),
            }
        };
        let is_elsewhere = || async { is_other(&resource, read(PLURAL, served(&client)).await) };
        Box::pin(follow(&from, events, content, is_elsewhere, &broken)).await;
    }
}

/// True if the cluster serves the kind in another version than `known`, or in none; false if it did not say.
fn is_other(known: &ApiResource, found: Result<Option<ApiResource>, ReadFailure>) -> bool {
    found.is_ok_and(|found| found.as_ref() != Some(known))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use axum::extract::{Path, State};
    use axum::http::StatusCode;
    use axum::http::header::{CONTENT_TYPE, HeaderName};
    use axum::routing::get;
    use countersign_core::time::Seconds;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio::sync::RwLock;

    /// Version in which the cluster serves the kind; `None` if in none.
    type Served = Arc<RwLock<Option<&'static str>>>;

    type Answer = (StatusCode, [(HeaderName, &'static str); 1], String);

    fn answer(code: StatusCode, body: &Value) -> Answer {
        (code, [(CONTENT_TYPE, "application/json")], body.to_string())
    }

    async fn group(State(served): State<Served>) -> Answer {
        let version = served.read().await.unwrap_or("v1");
        let version = json!({ "groupVersion": format!("{GROUP}/{version}"), "version": version });
        let group = json!({ "name": GROUP, "versions": [version], "preferredVersion": version });
        answer(StatusCode::OK, &json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group] }))
    }

    async fn kinds(State(served): State<Served>, Path(version): Path<String>) -> Answer {
        let kind = json!({ "name": PLURAL, "singularName": "", "namespaced": false, "kind": KIND,
            "verbs": ["get", "list", "watch"] });
        let all = served.read().await.map_or_else(Vec::new, |_| vec![kind]);
        let version = format!("{GROUP}/{version}");
        answer(
            StatusCode::OK,
            &json!({ "kind": "APIResourceList", "groupVersion": version, "resources": all }),
        )
    }

    /// The object of the version as its authorities, so that a bundle tells in which version it was read.
    async fn object(State(served): State<Served>, Path((version, _)): Path<(String, String)>) -> Answer {
        if *served.read().await != Some(version.as_str()) {
            return answer(StatusCode::NOT_FOUND, &json!("404 page not found"));
        }
        let pem = match version.as_str() {
            "v1beta1" => include_str!("../../../tests/fixtures/chains/same120-root.pem"),
            _ => include_str!("../../../tests/fixtures/chains/two-uri-san-root.pem"),
        };
        let object = json!({ "apiVersion": format!("{GROUP}/{version}"), "kind": KIND,
            "metadata": { "name": "spire" }, "spec": { "trustBundle": pem } });
        answer(StatusCode::OK, &object)
    }

    async fn cluster(served: &Served) -> Client {
        let root = format!("/apis/{GROUP}/{{version}}");
        let routes = axum::Router::new()
            .route("/apis", get(group))
            .route(&root, get(kinds))
            .route(&format!("{root}/{PLURAL}/{{name}}"), get(object))
            .with_state(Arc::clone(served));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_version_that_the_cluster_ends_is_followed_by_the_next() {
        let served: Served = Arc::new(RwLock::new(Some("v1beta1")));
        let client = cluster(&served).await;
        let domain = TrustDomain::parse("example.org").unwrap();
        let bundles = Bundles::new(Seconds::new(3600), Metrics::default());
        let fingerprint = || bundles.get(&domain, now()).ok().map(|bundle| bundle.fingerprint());
        let follow = follow_cluster_trust_bundle(
            client,
            &domain,
            "spire",
            Duration::from_millis(50),
            &bundles,
            |_, _| {},
        );
        let upgrade = async {
            let until_changed = async |before| {
                while fingerprint() == before {
                    sleep(Duration::from_millis(5)).await;
                }
                fingerprint()
            };
            let first = until_changed(None).await;
            *served.write().await = Some("v1");
            let second = until_changed(first).await;
            assert!(second.is_some() && second != first);
        };
        tokio::select! {
            () = follow => panic!("the object is followed no more"),
            done = tokio::time::timeout(Duration::from_secs(20), upgrade) => done.unwrap(),
        }
    }

    #[test]
    fn the_version_is_another_one_only_if_the_cluster_says_so() {
        let of = |version: &str| ApiResource {
            group: GROUP.to_owned(),
            version: version.to_owned(),
            api_version: format!("{GROUP}/{version}"),
            kind: KIND.to_owned(),
            plural: PLURAL.to_owned(),
        };
        let known = of("v1beta1");
        for (found, expected) in [
            (Ok(Some(of("v1beta1"))), false),
            (Ok(Some(of("v1"))), true),
            (Ok(None), true),
            (Err(ReadFailure::missing("no answer".to_owned())), false),
        ] {
            assert_eq!(is_other(&known, found), expected);
        }
    }
}

//! Trust bundles of other domains, from SPIRE's `ClusterFederatedTrustDomain` objects.
//! A cluster without that kind simply federates with nobody.

use super::Bundles;
use crate::core::spiffe::TrustDomain;
use crate::io::clock::now;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::pin::pin;

/// Follows the federated domains until dropped. `own` is never taken from here.
pub(crate) async fn follow_federation(
    client: Client,
    own: &TrustDomain,
    bundles: &Bundles,
    broken: impl Fn(&'static str, &watcher::Error),
) {
    let resource = ApiResource {
        group: "spire.spiffe.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "spire.spiffe.io/v1alpha1".to_owned(),
        kind: "ClusterFederatedTrustDomain".to_owned(),
        plural: "clusterfederatedtrustdomains".to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = pin!(watch(api, watcher::Config::default()).default_backoff());
    let mut known: BTreeMap<String, TrustDomain> = BTreeMap::new();
    let mut listed: Vec<String> = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.extend(object.metadata.name.clone());
                take_over(&object, own, bundles, &mut known);
            }
            Ok(Event::InitDone) => {
                let gone: Vec<String> = known.keys().filter(|name| !listed.contains(name)).cloned().collect();
                for name in gone {
                    drop_domain(&name, bundles, &mut known);
                }
            }
            Ok(Event::Apply(object)) => take_over(&object, own, bundles, &mut known),
            Ok(Event::Delete(object)) => {
                drop_domain(&object.metadata.name.unwrap_or_default(), bundles, &mut known);
            }
            Err(error) => broken("clusterfederatedtrustdomains", &error),
        }
    }
}

fn take_over(
    object: &DynamicObject,
    own: &TrustDomain,
    bundles: &Bundles,
    known: &mut BTreeMap<String, TrustDomain>,
) {
    let name = object.metadata.name.clone().unwrap_or_default();
    let spec = object.data.get("spec");
    let text = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(|value| value.as_str());
    let domain = text("trustDomain").and_then(|text| TrustDomain::parse(text).ok());
    // An object that now names another domain, or none, speaks for the old one no longer.
    if known.get(&name) != domain.as_ref() {
        drop_domain(&name, bundles, known);
    }
    let Some(domain) =
        domain.filter(|domain| domain != own && !known.iter().any(|(by, d)| d == domain && *by != name))
    else {
        return;
    };
    let Some(bundle) = text("trustDomainBundle").filter(|bundle| !bundle.is_empty()) else { return };
    let at = now();
    bundles.update(&domain, at, |state| state.update(Ok(bundle.as_bytes().to_vec()), at));
    known.insert(name, domain);
}

fn drop_domain(name: &str, bundles: &Bundles, known: &mut BTreeMap<String, TrustDomain>) {
    if let Some(domain) = known.remove(name) {
        bundles.forget(&domain, now());
    }
}

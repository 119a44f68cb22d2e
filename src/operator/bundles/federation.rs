//! Trust bundles of other domains, from `ClusterFederatedTrustDomain` objects of SPIRE.
//! A cluster without that kind federates with no domain. Every other error is a failure, and ages the bundles read.

use super::Bundles;
use super::source::{ReadFailure, read, until_next};
use countersign_controller::watch::is_absent;
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_io::clock::now;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

/// Plural name of the kind, for the API, errors and metrics.
const PLURAL: &str = "clusterfederatedtrustdomains";

/// Follows the federated domains until dropped, and reads them at least once per `every`. An object that names `own`
/// is ignored, so that federation cannot replace the operator's own authorities.
pub(crate) async fn follow_federation(
    client: Client,
    own: &TrustDomain,
    every: Duration,
    bundles: &Bundles,
    broken: impl Fn(&'static str, &Error),
) {
    let resource = ApiResource {
        group: "spire.spiffe.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "spire.spiffe.io/v1alpha1".to_owned(),
        kind: "ClusterFederatedTrustDomain".to_owned(),
        plural: PLURAL.to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let metadata: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
    let mut events = pin!(watcher(metadata, Config::default()).default_backoff());
    let mut federated = Federated { own, bundles, known: BTreeMap::new() };
    loop {
        let was_read = match read(PLURAL, api.list(&ListParams::default())).await {
            Ok(list) => federated.take_over(&list.items),
            Err(unread) => federated.fail(&unread),
        };
        until_next(&mut events, every, was_read, |error| {
            if !is_absent(error) {
                broken(PLURAL, error);
            }
        })
        .await;
    }
}

/// Federated domains, by the name of the object that provides each.
struct Federated<'a> {
    own: &'a TrustDomain,
    bundles: &'a Bundles,
    known: BTreeMap<String, TrustDomain>,
}

impl Federated<'_> {
    /// Accepts a complete list of objects, and forgets domains without one. True if every bundle was accepted.
    fn take_over(&mut self, objects: &[DynamicObject]) -> bool {
        let listed: BTreeSet<&str> =
            objects.iter().filter_map(|object| object.metadata.name.as_deref()).collect();
        let gone: Vec<String> =
            self.known.keys().filter(|name| !listed.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
        let read: Vec<bool> = objects.iter().map(|object| self.take_over_one(object)).collect();
        read.iter().all(|read| *read)
    }

    fn take_over_one(&mut self, object: &DynamicObject) -> bool {
        let name = object.metadata.name.clone().unwrap_or_default();
        let spec = object.data.get("spec");
        let text = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(|value| value.as_str());
        let domain = text("trustDomain").and_then(|text| TrustDomain::parse(text).ok());
        // An object that now names another domain, or none, no longer provides the old one.
        if self.known.get(&name) != domain.as_ref() {
            self.forget(&name);
        }
        let is_taken = |domain: &TrustDomain| self.known.iter().any(|(by, d)| d == domain && *by != name);
        let Some(domain) = domain.filter(|domain| domain != self.own && !is_taken(domain)) else {
            return true;
        };
        let content = match text("trustDomainBundle").filter(|bundle| !bundle.is_empty()) {
            Some(bundle) => Ok(bundle.as_bytes().to_vec()),
            // SPIRE may fetch this bundle from an endpoint instead; before the first bundle, its absence is no failure.
            None if !self.known.contains_key(&name) => return true,
            None => {
                Err(ReadFailure::missing(format!("the object {} has no trustDomainBundle", Quoted(&name))))
            }
        };
        self.known.insert(name, domain.clone());
        self.bundles.accept(&domain, now(), content)
    }

    /// Records a failed list, which ages all federated bundles. True if the kind is absent and no domain was known.
    fn fail(&self, unread: &ReadFailure) -> bool {
        if self.known.is_empty() {
            if unread.word == "not_found" {
                return true;
            }
            self.bundles.could_not_read(&unread.refusal, unread.word);
        }
        // A starting API server also lacks the kind for a moment, so an absent kind ages bundles and revokes none.
        for domain in self.known.values() {
            self.bundles.accept(domain, now(), Err(unread.clone()));
        }
        false
    }

    fn forget(&mut self, name: &str) {
        if let Some(domain) = self.known.remove(name) {
            self.bundles.forget(&domain, now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use countersign_core::refusal::{Reason, Refusal};
    use countersign_core::time::Seconds;
    use serde_json::json;

    fn object(name: &str, domain: &str, bundle: &str) -> DynamicObject {
        serde_json::from_value(json!({ "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": "ClusterFederatedTrustDomain", "metadata": { "name": name },
            "spec": { "trustDomain": domain, "trustDomainBundle": bundle } }))
        .unwrap()
    }

    fn unread(word: &'static str) -> ReadFailure {
        ReadFailure { word, refusal: Refusal::new(Reason::BundleMalformed, "no") }
    }

    #[test]
    fn a_federation_that_cannot_be_read_ages_and_one_that_never_was_is_none() {
        let own = TrustDomain::parse("ours.example").unwrap();
        let partner = TrustDomain::parse("example.org").unwrap();
        let metrics = Metrics::default();
        let bundles = Bundles::new(Seconds::new(3600), metrics.clone());
        let mut federated = Federated { own: &own, bundles: &bundles, known: BTreeMap::new() };
        let errors = |word: &str| {
            let line = format!("kagenti_x5c_trust_bundle_load_errors_total{{reason=\"{word}\"}} ");
            let text = metrics.text();
            text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
        };
        // An absent kind is no failure; a missing right is one, even while no domain is known.
        assert!(federated.fail(&unread("not_found")) && !federated.fail(&unread("forbidden")));
        assert_eq!((errors("not_found"), errors("forbidden")), (0, 1));
        let text = include_str!("../../../tests/fixtures/doc/bundle.json");
        assert!(
            federated
                .take_over(&[object("partner", "example.org", text), object("us", "ours.example", text)])
        );
        assert!(bundles.get(&partner, now()).is_ok() && bundles.get(&own, now()).is_err());
        // Once a domain is known, an absent kind is a failure, and revokes nothing at once.
        for word in ["not_found", "forbidden", "unavailable"] {
            assert!(!federated.fail(&unread(word)));
            assert_eq!(bundles.problems().len(), 1, "{word}");
            assert!(bundles.get(&partner, now()).is_ok());
        }
        let later = now().plus(Seconds::new(3605));
        assert_eq!(bundles.get(&partner, later).unwrap_err().reason(), Reason::BundleStale);
        assert!(!federated.take_over(&[object("partner", "example.org", "")]));
        assert_eq!(bundles.problems().len(), 1);
        assert!(federated.take_over(&[object("partner", "example.org", text)]));
        assert!(bundles.problems().is_empty());
        assert!(federated.take_over(&[]));
        assert_eq!(bundles.get(&partner, now()).unwrap_err().reason(), Reason::TrustDomainUnknown);
    }
}

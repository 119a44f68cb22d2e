//! Trust bundles from the SPIFFE Workload API: the operator's own domain and federated domains, each kept apart.
//! A failing SPIRE agent leaves the accepted bundles in force within their maximum age.

use super::Bundles;
use super::source::ReadFailure;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::TrustDomain;
use countersign_io::clock::now;
use countersign_io::workload_api::{DomainBundle, WorkloadApiError, follow_bundles};
use std::collections::BTreeSet;
use std::time::Duration;

/// Maximum time for an answer of the SPIRE agent.
const ANSWER: Duration = Duration::from_secs(10);

/// Follows the bundles until dropped. The absence of `own` is a failure; any other absent domain is removed.
pub(crate) async fn follow_workload_api(socket: &str, own: &TrustDomain, bundles: &Bundles) {
    let mut known = BTreeSet::from([own.clone()]);
    follow_bundles(socket, ANSWER, |update| take_over(update, own, &mut known, bundles)).await;
}

fn take_over(
    update: Result<Vec<DomainBundle>, WorkloadApiError>,
    own: &TrustDomain,
    known: &mut BTreeSet<TrustDomain>,
    bundles: &Bundles,
) {
    let at = now();
    let received = match update {
        Ok(received) => received,
        Err(error) => {
            let refusal = Refusal::new(Reason::BundleMalformed, error.to_string());
            let unread = ReadFailure { word: "unavailable", refusal };
            for domain in known.iter() {
                bundles.accept(domain, at, Err(unread.clone()));
            }
            return;
        }
    };
    let mut named = BTreeSet::new();
    for bundle in received {
        let Ok(domain) = TrustDomain::parse(&bundle.trust_domain) else {
            tracing::warn!(trust_domain = bundle.trust_domain, "the agent names a trust domain that is none");
            continue;
        };
        bundles.accept(&domain, at, Ok(bundle.document()));
        named.insert(domain);
    }
    for gone in known.difference(&named).filter(|domain| *domain != own) {
        bundles.forget(gone, at);
    }
    if named.insert(own.clone()) {
        let missing = format!("the Workload API gives no bundle of {own}; check --spire-trust-domain");
        bundles.accept(own, at, Err(ReadFailure::missing(missing)));
    }
    *known = named;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use countersign_core::bundle::parse_bundle;
    use countersign_core::time::Seconds;

    fn authority(domain: &TrustDomain) -> Vec<u8> {
        let text = include_bytes!("../../../tests/fixtures/doc/bundle.json").to_vec();
        parse_bundle(domain, text).unwrap().anchors()[0].der().to_vec()
    }

    #[test]
    fn domains_are_kept_apart_and_a_domain_no_longer_named_is_forgotten() {
        let own = TrustDomain::parse("example.org").unwrap();
        let other = TrustDomain::parse("other.example").unwrap();
        let bundles = Bundles::new(Seconds::new(60), Metrics::default());
        let mut known = BTreeSet::from([own.clone()]);
        let of = |domain: &TrustDomain, authorities: Vec<Vec<u8>>| DomainBundle {
            trust_domain: domain.to_string(),
            authorities,
        };
        let reason =
            |domain: &TrustDomain| bundles.get(domain, now()).map(drop).map_err(|refusal| refusal.reason());
        let mut give = |update| take_over(update, &own, &mut known, &bundles);

        give(Ok(vec![of(&own, vec![authority(&own)]), of(&other, vec![])]));
        assert_eq!((reason(&own), reason(&other)), (Ok(()), Err(Reason::BundleEmpty)));
        give(Ok(vec![of(&own, vec![authority(&own)])]));
        assert_eq!(reason(&other), Err(Reason::TrustDomainUnknown));

        let failed =
            WorkloadApiError::Timeout { socket: "/x".to_owned(), asked: "trust bundle", timeout: ANSWER };
        give(Err(failed));
        assert_eq!(reason(&own), Ok(()), "the last good bundle counts for its limit");
        assert_eq!(bundles.problems().len(), 1);
        give(Ok(vec![of(&other, vec![])]));
        assert_eq!((reason(&own), bundles.problems().len()), (Ok(()), 2), "its absence is no revocation");
        give(Ok(vec![of(&own, vec![])]));
        assert_eq!(reason(&own), Err(Reason::BundleEmpty), "an empty bundle revokes at once");
    }
}

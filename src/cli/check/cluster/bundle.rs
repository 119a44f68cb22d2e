//! Trust bundle that the operator verifies with.

use super::arguments::{Arguments, BundleSource};
use crate::check::finding::Finding;
use crate::check::unread::Answer;
use crate::page::counted;
use countersign_core::bundle::parse_bundle;
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_core::time::{Seconds, Timestamp};
use countersign_plan::webhook::parse_expiry;
use k8s_openapi::api::core::v1::ConfigMap;

const ID: &str = "trust-bundle";
/// Time before the end of the last authority from which it is told.
const SOON: Seconds = Seconds::new(60 * 60);

/// Judges the ConfigMap with the bundle, which is `None` if the source is another.
pub(super) fn judge_bundle(
    arguments: &Arguments,
    answer: Option<&Answer<ConfigMap>>,
    now: Timestamp,
) -> Finding {
    let source = arguments.bundle();
    let (BundleSource::ConfigMap { namespace, name, key }, Some(answer)) = (&source, answer) else {
        return elsewhere(&source);
    };
    let what = format!("ConfigMap {namespace}/{name}");
    let map = match answer {
        Ok(map) => map,
        Err(unread) => {
            let fix = "install SPIRE with its bundle publisher, or name the ConfigMap in signatureVerification.spireTrustBundle";
            return Finding::unread(ID, &what, unread, || Finding::fail(ID, &what, "does not exist", fix));
        }
    };
    let Some(text) = map.data.as_ref().and_then(|data| data.get(key)) else {
        let fix = "name the key in signatureVerification.spireTrustBundle.configMapKey";
        return Finding::fail(ID, &what, &format!("has no key {}", Quoted(key)), fix);
    };
    let Some(trust_domain) = arguments.trust_domain() else {
        return Finding::skipped(ID, &what, "was not read: the operator is told no trust domain");
    };
    let domain = match TrustDomain::parse(trust_domain) {
        Ok(domain) => domain,
        Err(refusal) => {
            let found = format!("was not read: the operator's trust domain is none: {}", refusal.message());
            return Finding::fail(ID, &what, &found, refusal.reason().fix());
        }
    };
    let bundle = match parse_bundle(&domain, text.clone().into_bytes()) {
        Ok(bundle) => bundle,
        Err(refusal) => {
            return Finding::fail(
                ID,
                &what,
                &format!("is no trust bundle: {refusal}"),
                refusal.reason().fix(),
            );
        }
    };
    let ends = bundle.anchors().iter().map(|anchor| parse_expiry(anchor.der()));
    let last = ends.flatten().max();
    let number = counted(bundle.anchors().len(), "authority", "authorities");
    let fix = "look at SPIRE's server, which has to rotate its authority and to publish it";
    match last {
        Some(last) if last <= now => {
            Finding::fail(ID, &what, &format!("has {number} of {domain}, all of which have expired"), fix)
        }
        Some(last) if last <= now.plus(SOON) => {
            Finding::warn(ID, &what, &format!("has {number} of {domain}, which end within an hour"), fix)
        }
        _ => Finding::ok(ID, &what, &format!("has {number} of the trust domain {domain}")),
    }
}

fn elsewhere(source: &BundleSource) -> Finding {
    let from = match source {
        BundleSource::ClusterTrustBundle(name) => {
            format!("comes from the ClusterTrustBundle {}", Quoted(name))
        }
        BundleSource::WorkloadApi => "comes from the Workload API of the operator's node".to_owned(),
        BundleSource::ConfigMap { .. } => "comes from a ConfigMap".to_owned(),
    };
    let found = format!("{from}, and was not read; /readyz of the operator says whether it has one");
    Finding::skipped(ID, "the trust bundle", &found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use serde_json::json;

    const PEM: &str = include_str!("../../../../tests/fixtures/pki/root.pem");

    fn arguments(words: &[&str]) -> Arguments {
        let container = json!({ "name": "manager", "args": words });
        Arguments::of(&serde_json::from_value(container).unwrap())
    }

    #[test]
    fn a_bundle_is_there_and_is_read_as_the_operator_reads_it() {
        let map = |data: serde_json::Value| {
            Ok(serde_json::from_value(json!({ "metadata": {}, "data": data })).unwrap())
        };
        let named = arguments(&["--spire-trust-domain=example.org"]);
        let now = Timestamp::from_unix(1_796_027_225);
        for (answer, arguments, status, found) in [
            (map(json!({ "bundle.spiffe": PEM })), &named, Status::Ok, "of the trust domain example.org"),
            (map(json!({ "bundle.spiffe": "{}" })), &named, Status::Fail, "is no trust bundle"),
            (map(json!({ "bundle.spiffe": "" })), &named, Status::Fail, "is no trust bundle"),
            (map(json!({ "other": PEM })), &named, Status::Fail, "has no key \"bundle.spiffe\""),
            (map(json!({ "bundle.spiffe": PEM })), &arguments(&[]), Status::Skipped, "no trust domain"),
            (
                map(json!({ "bundle.spiffe": PEM })),
                &arguments(&["--spire-trust-domain=A B"]),
                Status::Fail,
                "is none",
            ),
            (Err(Unread::Absent), &named, Status::Fail, "does not exist"),
            (Err(Unread::Forbidden("get configmaps".to_owned())), &named, Status::Skipped, "may not"),
        ] {
            let judged = judge_bundle(arguments, Some(&answer), now);
            assert_eq!((judged.status, judged.found.contains(found)), (status, true), "{judged:?}");
        }
        let late =
            judge_bundle(&named, Some(&map(json!({ "bundle.spiffe": PEM }))), Timestamp::from_unix(i64::MAX));
        assert_eq!(late.status, Status::Fail, "{late:?}");
        for source in ["cluster-trust-bundle", "workload-api"] {
            let elsewhere = arguments(&["--trust-bundle-source", source]);
            assert_eq!(judge_bundle(&elsewhere, None, now).status, Status::Skipped);
        }
    }
}

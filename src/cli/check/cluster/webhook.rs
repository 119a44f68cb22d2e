//! Admission webhook: its configuration, whom the API server trusts as it, and whether somebody answers.

use super::arguments::Arguments;
use crate::check::finding::{Finding, listed};
use crate::check::unread::Answer;
use countersign_api::keys::{Family, WEBHOOK_CONFIGURATION};
use countersign_core::time::{Seconds, Timestamp};
use countersign_plan::webhook::parse_expiries;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::discovery::v1::EndpointSlice;

const ID: &str = "webhook";
const CERTIFICATE: &str = "webhook-certificate";
const ENDPOINTS: &str = "webhook-endpoints";
/// Time before the end of the last certificate from which it is told: it is replaced a term, 90 days, before that.
const SOON: Seconds = Seconds::new(14 * 24 * 60 * 60);

/// Name of the configuration to look for.
pub(super) fn configuration_name(arguments: &Arguments) -> &str {
    arguments.webhook_configuration().unwrap_or(WEBHOOK_CONFIGURATION)
}

/// Namespace and name of the Service at which the API server calls the webhooks.
pub(super) fn service(answer: &Answer<MutatingWebhookConfiguration>) -> Option<(String, String)> {
    let mut webhooks = answer.as_ref().ok()?.webhooks.iter().flatten();
    let service = webhooks.find_map(|webhook| webhook.client_config.service.as_ref())?;
    Some((service.namespace.clone(), service.name.clone()))
}

/// Judges the configuration and its certificates.
pub(super) fn judge_configuration(
    arguments: &Arguments,
    answer: &Answer<MutatingWebhookConfiguration>,
    now: Timestamp,
) -> Vec<Finding> {
    let what = format!("MutatingWebhookConfiguration {}", configuration_name(arguments));
    let absent = || {
        if arguments.serves_webhook() {
            let fix = "upgrade the chart with webhook.enable, or turn the webhook off with --webhook-bind-address=0";
            Finding::fail(ID, &what, "does not exist, so nothing is injected", fix)
        } else {
            Finding::skipped(ID, &what, "does not exist, and the operator serves no webhook")
        }
    };
    let configuration = match answer {
        Ok(configuration) => configuration,
        Err(unread) => return vec![Finding::unread(ID, &what, unread, absent)],
    };
    let webhooks: Vec<&MutatingWebhook> = configuration.webhooks.iter().flatten().collect();
    let missing: Vec<&str> = Family::ALL
        .map(Family::webhook)
        .into_iter()
        .filter(|name| !webhooks.iter().any(|webhook| webhook.name == *name))
        .collect();
    let found = if !arguments.serves_webhook() {
        let fix = "remove it, or serve the webhook: the API server asks somebody who is not there";
        Finding::warn(ID, &what, "exists, and the operator serves no webhook", fix)
    } else if missing.is_empty() {
        Finding::ok(ID, &what, "has the webhooks of both names")
    } else {
        Finding::fail(ID, &what, &format!("lacks {}", listed(&missing)), "upgrade the chart")
    };
    let certificates = webhooks.iter().map(|webhook| certificate(webhook, now));
    [found].into_iter().chain(certificates).collect()
}

fn certificate(webhook: &MutatingWebhook, now: Timestamp) -> Finding {
    let what = format!("caBundle of {}", webhook.name);
    let fix = "look at the log of the operator's leader, or of cert-manager: one of the two writes it";
    let Some(bundle) = webhook.client_config.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty()) else {
        return Finding::fail(
            CERTIFICATE,
            &what,
            "is empty, so the API server trusts nobody as the webhook",
            fix,
        );
    };
    let ends = match parse_expiries(&bundle.0) {
        Ok(ends) => ends,
        Err(problem) => return Finding::fail(CERTIFICATE, &what, problem, fix),
    };
    let Some(last) = ends.iter().max() else {
        return Finding::fail(CERTIFICATE, &what, "holds no certificate", fix);
    };
    let days = last.since(now).checked_div(24 * 60 * 60).unwrap_or(0);
    if *last <= now {
        Finding::fail(CERTIFICATE, &what, "has expired", fix)
    } else if *last <= now.plus(SOON) {
        Finding::warn(CERTIFICATE, &what, &format!("ends in {days} days, and nothing has replaced it"), fix)
    } else {
        Finding::ok(CERTIFICATE, &what, &format!("is valid for {days} more days"))
    }
}

/// Judges whether a Pod answers behind the Service.
pub(super) fn judge_endpoints(
    service: Option<&(String, String)>,
    answer: &Answer<Vec<EndpointSlice>>,
) -> Finding {
    let Some((namespace, name)) = service else {
        let found = "is called at an address that is no Service, and was not tried";
        return Finding::skipped(ENDPOINTS, "the webhook", found);
    };
    let what = format!("Service {namespace}/{name}");
    let none = || {
        let fix = "look at the operator's Pods: while none is ready, the webhook's failurePolicy decides about Pods";
        Finding::fail(ENDPOINTS, &what, "has no ready endpoint, so nobody answers the webhook", fix)
    };
    let slices = match answer {
        Ok(slices) => slices,
        Err(unread) => return Finding::unread(ENDPOINTS, &what, unread, none),
    };
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    // Without a word about readiness an endpoint counts as ready (discovery.k8s.io/v1, EndpointConditions).
    let is_ready = |ready: Option<bool>| ready.unwrap_or(true);
    let ready = endpoints
        .filter(|one| is_ready(one.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .count();
    match ready {
        0 => none(),
        ready => Finding::ok(
            ENDPOINTS,
            &what,
            &format!("has {}", crate::page::counted(ready, "ready endpoint", "ready endpoints")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Status;
    use crate::check::unread::Unread;
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::{Value, json};
    use time::OffsetDateTime;

    const NOW: i64 = 1_796_027_225;

    fn now() -> Timestamp {
        Timestamp::from_unix(NOW)
    }

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::of(&serde_json::from_value(json!({ "name": "manager", "args": words })).unwrap())
    }

    fn pem(days: i64) -> Value {
        let mut wanted = CertificateParams::new(vec!["webhook".to_owned()]).unwrap();
        wanted.not_after =
            OffsetDateTime::from_unix_timestamp(days.saturating_mul(86_400).saturating_add(NOW)).unwrap();
        let pem = wanted.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        serde_json::to_value(ByteString(pem.into_bytes())).unwrap()
    }

    fn stored(names: &[&str], bundle: &Value) -> MutatingWebhookConfiguration {
        let service = json!({ "namespace": "system", "name": "webhook" });
        let webhooks: Vec<Value> = names
            .iter()
            .map(|name| {
                json!({ "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": { "service": service, "caBundle": bundle } })
            })
            .collect();
        serde_json::from_value(json!({ "metadata": {}, "webhooks": webhooks })).unwrap()
    }

    const BOTH: [&str; 2] = ["inject.kagenti.io", "inject.rossoctl.io"];

    #[test]
    fn the_configuration_is_there_where_it_is_served_and_trusts_somebody() {
        let configuration = |names: &[&str], bundle: &Value| Answer::Ok(stored(names, bundle));
        let (served, off) = (arguments(&[]), arguments(&["--webhook-bind-address=0"]));
        let certificate = |status| vec![(CERTIFICATE, status); 2];
        let with = |first, status| [vec![(ID, first)], certificate(status)].concat();
        for (arguments, answer, expected) in [
            (&served, configuration(&BOTH, &pem(90)), with(Status::Ok, Status::Ok)),
            (&served, configuration(&BOTH, &pem(13)), with(Status::Ok, Status::Warn)),
            (&served, configuration(&BOTH, &pem(-1)), with(Status::Ok, Status::Fail)),
            (&served, configuration(&BOTH, &json!("eA==")), with(Status::Ok, Status::Fail)),
            (&served, configuration(&BOTH, &Value::Null), with(Status::Ok, Status::Fail)),
            (&off, configuration(&BOTH, &pem(90)), with(Status::Warn, Status::Ok)),
            (
                &served,
                configuration(&BOTH[..1], &pem(90)),
                vec![(ID, Status::Fail), (CERTIFICATE, Status::Ok)],
            ),
            (&served, Err(Unread::Absent), vec![(ID, Status::Fail)]),
            (&off, Err(Unread::Absent), vec![(ID, Status::Skipped)]),
            (&served, Err(Unread::Forbidden("get".to_owned())), vec![(ID, Status::Skipped)]),
        ] {
            let judged = judge_configuration(arguments, &answer, now());
            let found: Vec<_> = judged.iter().map(|one| (one.id, one.status)).collect();
            assert_eq!(found, expected, "{judged:?}");
        }
        assert_eq!(configuration_name(&arguments(&["--webhook-configuration=x"])), "x");
    }

    #[test]
    fn somebody_answers_behind_the_service() {
        let service = service(&Ok(stored(&BOTH, &Value::Null)));
        assert_eq!(service, Some(("system".to_owned(), "webhook".to_owned())));
        let slice = |conditions: Value| {
            let object = json!({ "metadata": {}, "addressType": "IPv4",
                "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": conditions }] });
            Ok(vec![serde_json::from_value(object).unwrap()])
        };
        for (answer, status) in [
            (slice(json!({ "ready": true })), Status::Ok),
            (slice(json!({})), Status::Ok),
            (slice(json!({ "ready": false })), Status::Fail),
            (Ok(vec![]), Status::Fail),
            (Err(Unread::Forbidden("list".to_owned())), Status::Skipped),
        ] {
            assert_eq!(judge_endpoints(service.as_ref(), &answer).status, status, "{answer:?}");
        }
        assert_eq!(judge_endpoints(None, &Ok(vec![])).status, Status::Skipped);
    }
}

//! Authorities in a `MutatingWebhookConfiguration`, by which the API server knows the webhook.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::json;

/// Plans a JSON Patch (RFC 6902) that sets `caBundle` alone, of every webhook where it differs; `None` if there is none. The
/// patch fails if the webhooks were ordered anew meanwhile.
pub fn plan_ca_bundle(configuration: &MutatingWebhookConfiguration, authorities: &[u8]) -> Option<Patch> {
    let at = |index: usize, members: &[&str]| {
        let index = index.to_string();
        PointerBuf::from_tokens(["webhooks", &index].into_iter().chain(members.iter().copied()))
    };
    let webhooks = configuration.webhooks.iter().flatten().enumerate();
    let differing = webhooks.filter(|(_, webhook)| {
        webhook.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0 != authorities)
    });
    let operations: Vec<PatchOperation> = differing
        .flat_map(|(index, webhook)| {
            let bundle = json!(ByteString(authorities.to_vec()));
            [
                PatchOperation::Test(TestOperation {
                    path: at(index, &["name"]),
                    value: json!(webhook.name),
                }),
                PatchOperation::Add(AddOperation {
                    path: at(index, &["clientConfig", "caBundle"]),
                    value: bundle,
                }),
            ]
        })
        .collect();
    (!operations.is_empty()).then_some(Patch(operations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;

    fn webhook(name: &str, bundle: Option<&[u8]>) -> MutatingWebhook {
        let mut webhook = MutatingWebhook { name: name.to_owned(), ..MutatingWebhook::default() };
        webhook.client_config.ca_bundle = bundle.map(|bundle| ByteString(bundle.to_vec()));
        webhook
    }

    #[test]
    fn only_bundles_that_differ_are_patched() {
        let of = |webhooks: Vec<MutatingWebhook>| {
            let configuration = MutatingWebhookConfiguration {
                webhooks: Some(webhooks),
                ..MutatingWebhookConfiguration::default()
            };
            plan_ca_bundle(&configuration, b"abc").map(|patch| json!(patch))
        };
        let (good, empty, old) = (webhook("a", Some(b"abc")), webhook("b", None), webhook("c", Some(b"old")));
        assert_eq!(of(Vec::new()), None);
        assert_eq!(of(vec![good.clone()]), None);
        let patch = of(vec![empty, good, old]).unwrap();
        assert_eq!(
            patch,
            json!([
                { "op": "test", "path": "/webhooks/0/name", "value": "b" },
                { "op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "YWJj" },
                { "op": "test", "path": "/webhooks/2/name", "value": "c" },
                { "op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "YWJj" },
            ])
        );
        assert_eq!(plan_ca_bundle(&MutatingWebhookConfiguration::default(), b"abc"), None);
    }
}

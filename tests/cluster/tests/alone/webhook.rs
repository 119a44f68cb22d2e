//! The admission webhook, as the API server calls it.

use crate::alone;
use anyhow::{Context, Result};
use countersign_cluster_tests::{Operator, Scene, served_certificate};
use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const NAME: &str = "countersign-test";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/countersign-test";
const SECRET: &str = "/api/v1/namespaces/countersign-system/secrets/kagenti-operator-webhook-server-cert";
const ADDRESSES: [&str; 2] = ["127.0.0.1:19443", "127.0.0.1:19444"];
const METRICS: &str = "127.0.0.1:18090";

/// A webhook that the API server calls at the first replica for labelled Pods of `team`.
fn webhook(team: &str, policy: &str) -> Value {
    json!({
        "name": "inject.kagenti.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "failurePolicy": policy, "timeoutSeconds": 3, "reinvocationPolicy": "IfNeeded",
        "clientConfig": { "url": format!("https://{}/mutate-workloads-authbridge", ADDRESSES[0]) },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": team } },
        "objectSelector": { "matchLabels": { "kagenti.io/type": "agent" } },
    })
}

fn pod(team: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": team, "labels": labels },
        "spec": { "serviceAccountName": "weather", "containers": [{ "name": "agent", "image": "none" }] },
    })
}

/// How many requests of admission had this result at the first replica.
fn admissions(scene: &Scene, result: &str) -> Result<u32> {
    let relay = scene.rig.relay(METRICS.parse()?)?;
    let mut stream = TcpStream::connect(relay.address())?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = format!(
        "countersign_admissions_total{{webhook=\"mutate-workloads-authbridge\",result=\"{result}\"}} "
    );
    Ok(text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap()))
}

/// Data of the Secret as text.
fn stored(scene: &Scene, name: &str) -> Result<String> {
    let secret = scene.rig.get(SECRET)?.unwrap_or_default();
    decoded(&secret["data"][name])
}

fn decoded(value: &Value) -> Result<String> {
    if value.is_null() {
        return Ok(String::new());
    }
    Ok(String::from_utf8(serde_json::from_value::<ByteString>(value.clone())?.0)?)
}

/// Whether the API server is told the authorities of the Secret.
fn is_told(scene: &Scene) -> Result<bool> {
    let configuration = scene.rig.get(CONFIGURATION)?.unwrap_or_default();
    let told = decoded(&configuration["webhooks"][0]["clientConfig"]["caBundle"])?;
    Ok(!told.is_empty() && told == stored(scene, "ca.crt")?)
}

/// The certificate of the Secret as both replicas present it, once they do.
fn served_by_both(scene: &Scene) -> Result<String> {
    let (certificate, authorities) = (stored(scene, "tls.crt")?, stored(scene, "ca.crt")?);
    let der = CertificateDer::from_pem_slice(certificate.as_bytes())?.to_vec();
    for address in ADDRESSES {
        scene.rig.wait("the certificate of the Secret", || {
            let address = address.parse()?;
            Ok(served_certificate(scene.rig, address, &authorities).is_ok_and(|served| served == der))
        })?;
    }
    Ok(certificate)
}

#[test]
fn the_api_server_calls_the_webhook_by_a_certificate_that_the_operator_keeps() {
    let (scene, team) = (alone(&["admitted"]), "admitted");
    let rig = scene.rig;
    let pods = format!("/api/v1/namespaces/{team}/pods");
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": NAME }, "webhooks": [webhook(team, "Fail")],
    });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "weather", "namespace": team } });
    scene.apply_all(&[account, configuration]).unwrap();
    let agent = json!({ "kagenti.io/type": "agent" });
    // Nobody serves yet, and the policy of this test is to refuse.
    let refused = rig.create(&pods, &pod(team, "early", &agent)).unwrap_err().to_string();
    assert!(refused.contains("inject.kagenti.io"), "{refused}");

    let inside = rig.kubeconfig_inside();
    let start = |health: &str, address: &str, more: &[&str]| {
        let address = format!("--webhook-bind-address={address}");
        let flags = ["--leader-elect", &address, "--webhook-configuration", NAME];
        Operator::start_with(rig, &inside, health, &[&flags[..], more].concat()).unwrap()
    };
    let metrics = ["--metrics-bind-address", METRICS, "--metrics-secure=false"];
    let first = start("127.0.0.1:18081", ADDRESSES[0], &metrics);
    let second = start("127.0.0.1:18082", ADDRESSES[1], &[]);
    first.wait_ready().unwrap();
    second.wait_ready().unwrap();
    rig.wait("the authorities at the API server", || is_told(&scene)).unwrap();
    let certificate = served_by_both(&scene).unwrap();
    assert!(stored(&scene, "tls.key").unwrap().contains("PRIVATE KEY"));

    // The API server learns of a changed configuration a moment after it is stored.
    let admit = |name: &str| {
        let mut said = String::new();
        let waited = rig.wait("an admitted Pod", || {
            said = rig
                .create(&pods, &pod(team, name, &agent))
                .err()
                .map_or(String::new(), |error| error.to_string());
            Ok(said.is_empty())
        });
        waited.with_context(|| format!("{said}\n{}", first.log())).unwrap();
    };
    admit("weather");
    // Nothing asks for a sidecar, which the Pod's annotation notes.
    assert_eq!(admissions(&scene, "patched").unwrap(), 1);
    // What is not labelled is nobody's business.
    rig.create(&pods, &pod(team, "plain", &json!({}))).unwrap();
    assert_eq!(admissions(&scene, "patched").unwrap(), 1);

    // As an upgrade of the release does, whose chart has no authorities.
    rig.patch(CONFIGURATION, &json!({ "webhooks": [webhook(team, "Fail")] })).unwrap();
    rig.wait("the authorities at the API server again", || is_told(&scene)).unwrap();
    admit("after-upgrade");

    // One that is deleted is made anew, of new keys, and both replicas take it without a restart.
    rig.delete(SECRET).unwrap();
    rig.wait("another Secret", || Ok(rig.get(SECRET)?.is_some())).unwrap();
    rig.wait("the new authorities at the API server", || is_told(&scene)).unwrap();
    let renewed = served_by_both(&scene).unwrap();
    assert_ne!(renewed, certificate);
    admit("after-deletion");

    // What is broken is mended by the certificate that is trusted already.
    let next = stored(&scene, "next.crt").unwrap();
    rig.patch(SECRET, &json!({ "data": { "tls.crt": "YWJj" } })).unwrap();
    rig.wait("a mended Secret", || Ok(stored(&scene, "tls.crt")? == next)).unwrap();
    served_by_both(&scene).unwrap();
    admit("after-repair");
    assert_eq!(admissions(&scene, "patched").unwrap(), 4);

    // Whoever leads next goes on with the same.
    rig.wait("the last patch", || is_told(&scene)).unwrap();
    let version = |path: &str| rig.get(path).unwrap().unwrap()["metadata"]["resourceVersion"].clone();
    let before = (version(SECRET), version(CONFIGURATION));
    first.stop().unwrap();
    second.wait_ready().unwrap();
    let lease = "/apis/coordination.k8s.io/v1/namespaces/countersign-system/leases/b7c4ae34.kagenti.dev";
    rig.wait("the second leader", || {
        let lease = rig.get(lease)?.unwrap_or_default();
        Ok(lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty()))
    })
    .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!((version(SECRET), version(CONFIGURATION)), before, "{}", second.log());
    second.stop().unwrap();

    // With the policy of the chart, Pods are created while no operator runs.
    rig.patch(CONFIGURATION, &json!({ "webhooks": [webhook(team, "Ignore")] })).unwrap();
    rig.wait("a Pod without the operator", || Ok(rig.create(&pods, &pod(team, "unserved", &agent)).is_ok()))
        .unwrap();
    rig.delete(CONFIGURATION).unwrap();
}

//! The node runs real pods: they serve over Services, and get their identity from SPIRE.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use countersign_rig::{AGNHOST, Entry, Image, Options, Rig, SOCKET, SOCKET_FOLDER, libraries};
use serde_json::{Value, json};

fn pod(name: &str, image: &str, arguments: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "Never", "args": arguments}],
    }})
}

#[test]
fn a_pod_reaches_another_over_a_service_unless_a_policy_forbids_it() {
    let rig = Rig::node(&Options { without_spire: true, ..Options::default() }).unwrap();
    rig.apply(&pod("server", AGNHOST, &["netexec", "--http-port=8080"]).to_string()).unwrap();
    rig.apply(&pod("client", AGNHOST, &["pause"]).to_string()).unwrap();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    rig.apply(&service.to_string()).unwrap();
    rig.kubectl(&["wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=60s"]).unwrap();
    let address = rig.kubectl(&["get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"]).unwrap();
    let target = format!("{address}:80");
    let connect = || rig.kubectl(&["exec", "client", "--", "/agnhost", "connect", "--timeout=2s", &target]);
    rig.wait("the service", || Ok(connect().is_ok())).unwrap();

    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]}});
    rig.apply(&policy.to_string()).unwrap();
    rig.wait("the policy", || Ok(connect().is_err())).unwrap();
    let refused = connect().unwrap_err().to_string();
    assert!(refused.contains("TIMEOUT"), "{refused}");
    rig.kubectl(&["delete", "networkpolicy", "deny"]).unwrap();
    rig.wait("the service", || Ok(connect().is_ok())).unwrap();
    rig.down().unwrap();
}

/// How many X.509 authorities a published bundle has.
fn x509_authorities(bundle: &str) -> usize {
    let bundle: Value = serde_json::from_str(bundle).unwrap();
    bundle["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "x509-svid").count()
}

#[test]
fn a_pod_gets_its_identity_and_a_new_one_when_the_root_is_replaced() {
    let rig = Rig::node(&Options { without_policy: true, ..Options::default() }).unwrap();
    let spire = rig.spire();
    let program = spire.agent_program().unwrap();
    let shared = libraries(&program).unwrap();
    let mut files: Vec<Entry> = shared.iter().map(|path| Entry::File(path, path.to_str().unwrap())).collect();
    files.push(Entry::File(&program, "/spire-agent"));
    let name = "countersign.test/spire-agent:1";
    rig.import_image(&Image { name, files, entrypoint: vec!["/spire-agent"], user: "65532:65532" }).unwrap();

    let id = spire.register("default", "default").unwrap();
    assert_eq!(id, "spiffe://rig.example/ns/default/sa/default");
    let socket = format!("/spire/{SOCKET}");
    let mut watcher = pod("watcher", name, &["api", "watch", "-socketPath", &socket]);
    watcher["spec"]["volumes"] = json!([{"name": "spire", "hostPath": {"path": SOCKET_FOLDER}}]);
    watcher["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "spire", "mountPath": "/spire"}]);
    rig.apply(&watcher.to_string()).unwrap();
    let times = || rig.kubectl(&["logs", "watcher"]).unwrap_or_default().matches(&id).count();
    rig.wait("the first SVID", || Ok(times() >= 1)).unwrap();
    assert_eq!(x509_authorities(&spire.published().unwrap()), 1);

    let old = spire.authorities().unwrap().active.unwrap();
    let new = spire.prepare().unwrap();
    rig.wait("both roots", || Ok(x509_authorities(&spire.published()?) == 2)).unwrap();
    spire.activate(&new).unwrap();
    let authorities = spire.authorities().unwrap();
    assert_eq!((authorities.active.as_ref(), authorities.old.as_ref()), (Some(&new), Some(&old)));
    let before = times();
    spire.taint(&old).unwrap();
    rig.wait("an SVID of the new root", || Ok(times() > before)).unwrap();
    spire.revoke(&old).unwrap();
    rig.wait("the new root alone", || Ok(x509_authorities(&spire.published()?) == 1)).unwrap();
    rig.down().unwrap();
}

//! The node runs real pods: they serve over Services, and get their identity from SPIRE.

use countersign_rig::{AGNHOST, Options, Rig, SOCKET_FOLDER};
use serde_json::json;

fn options() -> Options {
    Options { without_policy: true, ..Options::default() }
}

fn pod(name: &str, arguments: &[&str]) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": AGNHOST, "imagePullPolicy": "Never", "args": arguments}],
    }})
}

#[test]
fn a_pod_serves_another_over_a_service_and_gets_its_identity() {
    let rig = Rig::node(&options()).unwrap();
    rig.apply(&pod("server", &["netexec", "--http-port=8080"]).to_string()).unwrap();
    rig.apply(&pod("client", &["pause"]).to_string()).unwrap();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    rig.apply(&service.to_string()).unwrap();
    rig.kubectl(&["wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=60s"]).unwrap();
    let address = rig.kubectl(&["get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"]).unwrap();
    let target = format!("{address}:80");
    rig.wait("the service", || {
        let probe = ["exec", "client", "--", "/agnhost", "connect", "--timeout=2s", &target];
        Ok(rig.kubectl(&probe).is_ok())
    })
    .unwrap();
    assert!(
        rig.kubectl(&["exec", "client", "--", "/agnhost", "connect", "--timeout=2s", "10.77.0.250:80"])
            .is_err()
    );
    rig.down().unwrap();
}

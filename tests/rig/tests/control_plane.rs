//! The control plane comes up, answers from outside, and obeys when it is broken on purpose.

use countersign_rig::Rig;

#[test]
fn answers_from_outside_within_the_rights_of_the_caller() {
    let rig = Rig::control_plane().unwrap();
    assert!(rig.kubectl(&["version", "-o", "json"]).unwrap().contains("\"v1.35.4\""));
    rig.kubectl(&["create", "namespace", "agents"]).unwrap();
    // Made by the controller manager with a service account of its own.
    rig.wait("the root of trust", || {
        Ok(rig.kubectl(&["-n", "agents", "get", "configmap", "kube-root-ca.crt"]).is_ok())
    })
    .unwrap();

    let nobody = rig.kubeconfig_for("nobody", None).unwrap();
    let refused = rig.kubectl(&["--kubeconfig", nobody.to_str().unwrap(), "get", "secrets"]).unwrap_err();
    assert!(refused.to_string().contains("User \"nobody\" cannot list resource \"secrets\""), "{refused}");

    let audit = std::fs::read_to_string(rig.audit_log()).unwrap();
    assert!(audit.lines().any(|line| line.contains("\"verb\":\"create\"") && line.contains("/namespaces?")));
    rig.down().unwrap();
}

#[test]
fn survives_a_restart_and_a_stall_of_its_parts() {
    let rig = Rig::control_plane().unwrap();
    rig.kubectl(&["create", "namespace", "before"]).unwrap();

    rig.stop_component("apiserver").unwrap();
    assert!(rig.kubectl(&["get", "--raw", "/readyz"]).is_err());
    rig.start_component("apiserver").unwrap();
    rig.wait_ready().unwrap();
    rig.kubectl(&["get", "namespace", "before"]).unwrap();

    rig.pause_component("etcd").unwrap();
    let stalled = rig.kubectl(&["--request-timeout=2s", "create", "namespace", "during"]);
    rig.resume_component("etcd").unwrap();
    assert!(stalled.is_err());
    rig.wait("a write", || Ok(rig.kubectl(&["create", "namespace", "after"]).is_ok())).unwrap();
    rig.down().unwrap();
}

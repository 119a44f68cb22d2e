//! `countersign plan` of Pods: what the admission webhook would decide, without a cluster.

use crate::run::{Folder, Run};
use countersign_plan::injection::{Injection, NewPod, SidecarSettings, SpireSocket, plan_injection};
use serde_json::{Value, json};

const IMAGE: [&str; 2] = ["--sidecar-image", "authbridge:1"];

/// A template of Pods that ask for a sidecar with an identity, as the operator writes it.
fn template() -> Value {
    json!({
        "metadata": { "labels": { "app": "weather", "kagenti.io/type": "agent" }, "annotations": {
            "countersign.dev/sidecar": "proxy-sidecar", "countersign.dev/sidecar-config": "authbridge-config-weather",
            "countersign.dev/sidecar-spiffe": "workload-api" } },
        "spec": { "containers": [{ "name": "agent", "image": "weather", "ports": [{ "containerPort": 8000 }] }] },
    })
}

fn object(version: &str, kind: &str, spec: &Value) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "weather", "namespace": "team" }, "spec": spec })
}

fn pod() -> Value {
    let mut pod = template();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("weather");
    pod["metadata"]["namespace"] = json!("team");
    pod
}

fn plan(folder: &Folder, object: &Value, more: &[&str]) -> Run {
    folder.write("pod.yaml", object.to_string());
    folder.run(&[&["plan", "-f", "pod.yaml", "--trust-domain", "example.org"], more].concat())
}

/// The one decision.
fn decided(folder: &Folder, object: &Value, more: &[&str]) -> Value {
    let run = plan(folder, object, &[&["-o", "json"], more].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let pods = run.json()["pods"].as_array().unwrap().clone();
    assert_eq!(pods.len(), 1, "{pods:?}");
    pods.into_iter().next().unwrap()
}

#[test]
fn a_pod_gets_the_decision_of_the_webhook_with_its_patch() {
    let folder = Folder::new("plan-pod");
    let settings = |spire, is_native| SidecarSettings { image: "authbridge:1".to_owned(), spire, is_native };
    let on_node = Some(SpireSocket::HostPath("/run/spire".to_owned()));
    for (flags, settings) in [
        (&[][..], settings(Some(SpireSocket::Csi), true)),
        (&["--kube-version", "1.28"], settings(Some(SpireSocket::Csi), false)),
        (&["--sidecar-spire-host-path", "/run/spire"], settings(on_node, true)),
    ] {
        let new: NewPod = serde_json::from_value(pod()).unwrap();
        let Injection::Injected { patch, said, .. } = plan_injection(&new, Some(&settings)) else {
            panic!("{flags:?}")
        };
        let found = decided(&folder, &pod(), &[&IMAGE, flags].concat());
        assert_eq!((&found["pod"], &found["decision"]), (&json!("Pod team/weather"), &json!("injected")));
        assert_eq!(found["patch"], serde_json::to_value(patch).unwrap(), "{flags:?}");
        assert_eq!(format!("injected: {}", found["because"].as_str().unwrap()), said);
    }
    let run = plan(&folder, &pod(), &IMAGE);
    let line = "# Pod team/weather gets the sidecar: the sidecar listens on 8000, the agent on";
    let (_, told) = run.stdout.split_once(line).unwrap_or_else(|| panic!("{}", run.stdout));
    assert!(told.lines().skip(1).all(|line| line.starts_with("# ")), "{told}");
    assert!(run.stdout.contains("\n# {\"op\":\"add\",\"path\":\"/spec/initContainers\""), "{}", run.stdout);
    assert!(!run.stderr.contains("is assumed to be authbridge"), "{}", run.stderr);
    let assumed = plan(&folder, &pod(), &[]).stderr;
    assert!(assumed.contains("the image of the sidecar is assumed to be authbridge"), "{assumed}");
    assert!(assumed.contains("Namespace \"team\" is not among the manifests"), "{assumed}");
}

#[test]
fn a_pod_that_stays_as_it_is_or_is_refused_is_told_why() {
    let folder = Folder::new("plan-pod-not");
    let with = |pointer: &str, value: Value| {
        let mut pod = pod();
        *pod.pointer_mut(pointer).unwrap() = value;
        pod
    };
    let mut opted_out = pod();
    opted_out["metadata"]["labels"]["kagenti.io/inject"] = json!("disabled");
    let enabled = |labels: Value| {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team", "labels": labels } });
        json!({ "apiVersion": "v1", "kind": "List", "items": [namespace, pod()] })
    };
    for (object, flags, decision, told) in [
        (with("/metadata/labels", json!({})), &[][..], "skipped", "has no label kagenti.io/type"),
        (with("/metadata/annotations", json!({})), &[], "skipped", "no AgentRuntime"),
        (opted_out, &[], "skipped", "kagenti.io/inject=disabled"),
        (enabled(json!({})), &[], "skipped", "does not have the label kagenti-enabled: \"true\""),
        (enabled(json!({ "rossoctl-enabled": "true" })), &[], "injected", "listens on 8000"),
        (pod(), &["--operator-namespace", "team"], "skipped", "operator's own namespace"),
        (pod(), &["--sidecar-image", ""], "refused", "without --sidecar-image"),
        (pod(), &["--spire-csi-driver", "false"], "refused", "needs SPIRE"),
        (with("/spec", json!({ "hostNetwork": true, "containers": [] })), &[], "refused", "spec.hostNetwork"),
    ] {
        let found = decided(&folder, &object, flags);
        assert_eq!(found["decision"], decision, "{object}");
        assert!(found["because"].as_str().unwrap().contains(told), "{found}");
        let text = plan(&folder, &object, flags).stdout;
        let shown = text.lines().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join(" ");
        assert!(shown.contains(told), "{text}");
    }
}

#[test]
fn every_template_that_asks_for_a_sidecar_is_decided_like_its_pods() {
    let folder = Folder::new("plan-templates");
    let selected = json!({ "selector": { "matchLabels": { "app": "weather" } }, "template": template() });
    for (version, kind, spec) in [
        ("apps/v1", "Deployment", selected.clone()),
        ("apps/v1", "StatefulSet", selected.clone()),
        ("apps/v1", "DaemonSet", selected.clone()),
        ("apps/v1", "ReplicaSet", selected.clone()),
        ("agents.x-k8s.io/v1alpha1", "Sandbox", json!({ "podTemplate": template() })),
        ("batch/v1", "Job", json!({ "template": template() })),
        ("batch/v1", "CronJob", json!({ "jobTemplate": { "spec": { "template": template() } } })),
    ] {
        let found = decided(&folder, &object(version, kind, &spec), &IMAGE);
        assert_eq!(found["pod"], format!("{kind} team/weather"));
        assert_eq!(found["decision"], "injected", "{found}");
        assert_eq!(found["patch"], decided(&folder, &pod(), &IMAGE)["patch"]);
    }
    let mut plain = selected;
    plain["template"]["metadata"]["annotations"] = json!({});
    let run = plan(&folder, &object("apps/v1", "DaemonSet", &plain), &["-o", "json"]);
    assert_eq!((run.code, &run.json()["pods"]), (0, &json!([])), "{}", run.stderr);
}

#[test]
fn a_pod_that_calls_for_no_policy_needs_neither_a_bundle_nor_the_address_of_the_api_server() {
    let folder = Folder::new("plan-pod-alone");
    let mut plain = pod();
    plain["metadata"]["labels"] = json!({ "app": "weather" });
    let run = plan(&folder, &plain, &IMAGE);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("API server"), "{}", run.stderr);
    assert!(run.stdout.starts_with("# Pod team/weather stays without a sidecar: "), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.starts_with("# ")), "{}", run.stdout);
}

#[test]
fn what_a_manifest_says_begins_no_line_of_its_own() {
    let folder = Folder::new("plan-pod-hostile");
    let mut hostile = pod();
    hostile["metadata"]["name"] = json!("x\nkind: Pod");
    hostile["spec"]["containers"][0]["name"] = json!("a\n---\nkind: Pod\u{202e}");
    hostile["spec"]["containers"][0]["env"] =
        json!([{ "name": "HTTP_PROXY", "value": "x" }, { "name": "NO_PROXY", "value": "\u{2028}kind: Pod" }]);
    let other = json!({ "name": "b", "env": [{ "name": "NO_PROXY", "value": "\u{2028}kind: Pod\u{202e}" }] });
    hostile["spec"]["containers"].as_array_mut().unwrap().push(other);
    let run = plan(&folder, &hostile, &IMAGE);
    assert!(!run.stdout.contains(['\u{2028}', '\u{202e}']), "{}", run.stdout);
    assert!(!run.stdout.lines().any(|line| line.starts_with("kind: Pod")), "{}", run.stdout);
    let (_, told) = run.stdout.split_once("gets the sidecar").unwrap();
    assert!(told.lines().skip(1).all(|line| line.starts_with("# ")), "{told}");
    assert!(told.contains("names a proxy of its own"), "{told}");
}

#[test]
fn a_flag_about_sidecars_is_read_or_refused() {
    let folder = Folder::new("plan-pod-flags");
    plan(&folder, &pod(), &["--sidecar-spire-host-path", "run"]).assert_unusable("no absolute path");
    plan(&folder, &pod(), &["--kube-version", "latest"]).assert_unusable("a version of Kubernetes 1");
    plan(&folder, &pod(), &["--spire-csi-driver", "maybe"]).assert_unusable("--spire-csi-driver");
}

//! `countersign check` asks a real API server: a cluster and an agent with everything, and what it says of each part that is
//! taken away.
#![cfg(test)]

use anyhow::{Context, Result};
use countersign_cluster_tests::{Agents, OPERATOR_USER, Operator, SYSTEM, Scene, chart, list, program};
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TEAM: &str = "team";
/// The one agent, as the command line names it.
const AGENT: [&str; 4] = ["agent", "weather", "-n", TEAM];
const WEBHOOK: &str = "kagenti-operator-mutating-webhook-configuration";

/// What one check printed.
struct Checked {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Checked {
    /// Runs the program with a kubeconfig.
    fn new(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let output = Command::new(program()?)
            .arg("check")
            .args(arguments)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        Ok(Self {
            code: output.status.code().context("an exit code")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// The text without the ends of its lines.
    fn said(&self) -> String {
        self.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Names of the checks with a status.
    fn with(&self, status: &str) -> BTreeSet<String> {
        let json = self.json();
        let findings = json["findings"].as_array().unwrap();
        let found = findings.iter().filter(|finding| finding["status"] == status);
        found.map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Checks until it says so, as what was changed takes a moment.
fn wait(rig: &Rig, arguments: &[&str], done: impl Fn(&Checked) -> bool) -> Checked {
    let mut last = None;
    let waited = rig.wait("a check", || {
        let checked = Checked::new(&rig.kubeconfig(), arguments)?;
        let is_done = done(&checked);
        last = Some(checked);
        Ok(is_done)
    });
    let last = last.unwrap();
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}{}", last.stdout, last.stderr));
    last
}

/// Kubeconfig of the operator's account for a process inside the rig.
fn account(rig: &Rig) -> Result<PathBuf> {
    let server = |text: &str| {
        let from = text.find("https://").context("a server")?;
        let rest = &text[from..];
        let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
        anyhow::Ok(rest[..end].to_owned())
    };
    let inside = server(&std::fs::read_to_string(rig.kubeconfig_inside())?)?;
    let text = std::fs::read_to_string(rig.kubeconfig_for(OPERATOR_USER, None)?)?;
    let file = rig.folder().join("operator.kubeconfig");
    std::fs::write(&file, text.replace(&server(&text)?, &inside))?;
    Ok(file)
}

/// The chart, whose Pods a stand-in for nodes runs, and the operator as the process that they would be.
fn start(rig: &'static Rig) -> Result<Operator<'static>> {
    let chart = chart().display().to_string();
    let mut arguments = vec!["install", "countersign", &chart, "--namespace", SYSTEM];
    for set in [
        // Whoever prepares agents applies the definitions.
        "crd.enable=false",
        "controllerManager.replicas=1",
        "signatureVerification.enabled=true",
        "signatureVerification.enforceNetworkPolicies=true",
        "signatureVerification.spireTrustDomain=rig.example",
        "signatureVerification.spireTrustBundle.configMapNamespace=spire",
        "sidecar.image.repository=countersign.test/authbridge",
        "sidecar.image.tag=test",
        "sidecar.spireHostPath=/run/spire",
    ] {
        arguments.extend(["--set", set]);
    }
    rig.helm(&arguments)?;
    // The Pods are on no node, and others are left out of the endpoints then.
    rig.patch(
        &format!("/api/v1/namespaces/{SYSTEM}/services/kagenti-operator-webhook-service"),
        &json!({ "spec": { "publishNotReadyAddresses": true } }),
    )?;
    let configuration = format!("--webhook-configuration={WEBHOOK}");
    let flags = [
        "--leader-elect",
        "--webhook-bind-address=127.0.0.1:19443",
        &configuration,
        "--sidecar-image=countersign.test/authbridge:test",
        "--sidecar-spire-host-path=/run/spire",
    ];
    Operator::start_with(rig, &account(rig)?, "127.0.0.1:18081", &flags)
}

/// Workload, Service and account of an agent, enrolled by an `AgentRuntime` alone.
fn enrol(scene: &Scene, name: &str) {
    scene.agents.serve(TEAM, name, &scene.honest(TEAM, name)).unwrap();
    let mut items = Agents::manifests(TEAM, name);
    items[0]["metadata"]["labels"] = json!({ "app": name });
    items[0]["spec"]["template"]["metadata"]["labels"] = json!({ "app": name });
    items.push(json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": name, "namespace": TEAM },
        "spec": { "type": "agent", "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name } } }));
    scene.apply_all(&items).unwrap();
}

/// Every request of the checks, as the API server saw it.
fn verbs(rig: &Rig) -> BTreeSet<String> {
    let text = std::fs::read_to_string(rig.audit_log()).unwrap();
    let requests = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = requests
        .filter(|one| one["userAgent"].as_str().is_some_and(|agent| agent.starts_with("countersign-check/")));
    ours.filter_map(|one| one["verb"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_cluster_and_an_agent_with_everything_are_well_and_each_part_that_is_missing_is_named() {
    let scene = Scene::prepare(start).unwrap();
    scene.operator.wait_ready().unwrap();
    scene.namespace(TEAM, &json!({ "countersign.dev/mode": "enforce" })).unwrap();
    scene.namespace("sidecars", &json!({ "kagenti-enabled": "true" })).unwrap();
    let open = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "authbridge-runtime-config", "namespace": "sidecars" },
        "data": { "config.yaml": "pipeline: {dangerously_allow_unauthenticated: true}\n" } });
    scene.apply_all(&[open]).unwrap();
    the_cluster_is_well(scene.rig);
    the_agent_is_well(&scene);
    who_may_read_nothing_is_told_what_to_ask_for(scene.rig);
    a_card_that_is_refused_is_the_link_to_mend(&scene);
    each_part_that_is_missing_is_named(scene.rig);
    let read = verbs(scene.rig);
    assert!(read.contains("list") && read.is_subset(&["get", "list"].map(str::to_owned).into()), "{read:?}");
    scene.stop().unwrap();
}

fn the_cluster_is_well(rig: &Rig) {
    let well = wait(rig, &[], |checked| checked.code == 0);
    for line in [
        "ok crds agentcards.agent.kagenti.dev serves v1alpha1",
        "agentruntimes.agent.kagenti.dev serves v1alpha1",
        "has 1 of 1 replicas ready",
        "enforces verdicts",
        "the lease of the operator is held by",
        "ConfigMap spire/spire-bundle has 1 authority of the trust domain rig.example",
        "comes from the folder /run/spire of each node",
        "caBundle of inject.kagenti.io is valid for",
        "caBundle of inject.rossoctl.io is valid for",
        "Service countersign-system/kagenti-operator-webhook-service has 1 ready endpoint",
        "are in force: 14 of 14",
        "Namespace team has countersign.dev/mode=enforce",
        "Namespace sidecars has a configuration for sidecars",
        "was not probed",
        "0 failed,",
    ] {
        assert!(well.said().contains(line), "{line}\n{}", well.stdout);
    }
    assert!(!well.stdout.contains("fix:") && well.stderr.is_empty(), "{}{}", well.stdout, well.stderr);
}

fn the_agent_is_well(scene: &Scene) {
    let rig = scene.rig;
    enrol(scene, "weather");
    let well = wait(rig, &AGENT, |checked| checked.code == 0);
    for line in [
        "AgentRuntime weather is ready: Configured",
        "have kagenti.io/type=agent",
        "has 1 of 1 Pod ready",
        "Service team/weather selects the Pods of the workload",
        "is verified: signed by spiffe://rig.example/ns/team/sa/weather until",
        "is enforced",
        "has the mark of verified agents on each ready Pod",
        "that of the verdict says Verified",
    ] {
        assert!(well.said().contains(line), "{line}\n{}", well.stdout);
    }
    let absent = Checked::new(&rig.kubeconfig(), &["agent", "statefulset/weather", "-n", TEAM]).unwrap();
    assert_eq!(absent.code, 1);
    assert!(absent.said().contains("first: workload"), "{}", absent.stdout);
}

fn who_may_read_nothing_is_told_what_to_ask_for(rig: &Rig) {
    let nobody = rig.kubeconfig_for("nobody", None).unwrap();
    let skipped = Checked::new(&nobody, &["-o", "json"]).unwrap();
    assert_eq!((skipped.code, skipped.with("fail").len()), (0, 0), "{}", skipped.stdout);
    assert!(
        skipped
            .with("skipped")
            .is_superset(&["crds", "operator", "guards", "namespace"].map(str::to_owned).into())
    );
    assert!(skipped.stdout.contains("you may not list deployments.apps in the namespace countersign-system"));
}

fn a_card_that_is_refused_is_the_link_to_mend(scene: &Scene) {
    let rig = scene.rig;
    scene.agents.serve(TEAM, "weather", b"{}").unwrap();
    let refused = wait(rig, &[&AGENT[..], &["-o", "json"]].concat(), |checked| {
        checked.with("fail") == BTreeSet::from(["agentcard".to_owned()])
    });
    assert_eq!((refused.code, &refused.json()["firstFailure"]), (1, &"agentcard".into()));
    assert!(refused.stdout.contains("`countersign explain "), "{}", refused.stdout);
}

fn each_part_that_is_missing_is_named(rig: &Rig) {
    let fails = |id: &str| {
        let found = wait(rig, &["-o", "json"], |checked| checked.with("fail").contains(id));
        assert_eq!(found.code, 1);
        found.with("fail")
    };
    let mut expected = BTreeSet::new();
    let mut then = |id: &str| {
        expected.insert(id.to_owned());
        assert_eq!(fails(id), expected);
    };
    rig.patch(
        "/api/v1/namespaces/team",
        &json!({ "metadata": { "labels": { "countersign.dev/mode": "Enforce" } } }),
    )
    .unwrap();
    then("namespace");
    rig.patch(
        "/api/v1/namespaces/sidecars/configmaps/authbridge-runtime-config",
        &json!({ "data": { "config.yaml": "mode: waypoint" } }),
    )
    .unwrap();
    then("namespace-sidecar");
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    rig.delete(&format!("{bindings}/guard-enrolment.agent.kagenti.dev")).unwrap();
    then("guards");
    rig.patch(
        "/api/v1/namespaces/spire/configmaps/spire-bundle",
        &json!({ "data": { "bundle.spiffe": "{}" } }),
    )
    .unwrap();
    then("trust-bundle");
    rig.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentruntimes.agent.kagenti.dev")
        .unwrap();
    then("crds");
    rig.delete(&format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{WEBHOOK}"))
        .unwrap();
    then("webhook");
    // Without its Deployment nothing is known of what the operator needs.
    let deployments = list(rig, "deployments", SYSTEM).unwrap();
    assert_eq!(deployments.len(), 1);
    rig.delete(&format!("/apis/apps/v1/namespaces/{SYSTEM}/deployments/kagenti-controller-manager")).unwrap();
    assert_eq!(fails("operator"), ["crds", "guards", "namespace", "operator"].map(str::to_owned).into());
}

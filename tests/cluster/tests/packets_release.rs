//! A release of the chart from its first day to its last: an upgrade that nobody notices, exactly the rights that the
//! operator uses, and an uninstallation that opens nothing and leaves nothing stuck.

use countersign_cluster_tests::{
    Agents, Node, OPERATOR_USER, Packets, SYSTEM, Signer, card_of, chart, look_every, reason, until,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TEAM: &str = "release";

/// Rights that no request in the audit log shows, and why the operator has them.
const UNSEEN: [(&str, &str); 11] = [
    ("/pods delete", "needs the definition of Sandboxes, whose Pod is made anew once it is enrolled"),
    ("/secrets update", "writes the webhook's certificate again before it ends, after weeks"),
    (
        "agent.kagenti.dev/agentcards create",
        "server-side apply that creates is recorded as patch and needs both",
    ),
    (
        "networking.k8s.io/networkpolicies create",
        "server-side apply that creates is recorded as patch and needs both",
    ),
    (
        "agent.kagenti.dev/agentcards/finalizers update",
        "asked for by OwnerReferencesPermissionEnforcement alone",
    ),
    ("agent.rossoctl.dev/agentruntimes patch", "takes the finalizer of the existing operator off"),
    ("agent.rossoctl.dev/agentcards watch", "needs the newer definition of the existing project"),
    ("agents.x-k8s.io/sandboxes get", "needs the definition of Sandboxes"),
    ("agents.x-k8s.io/sandboxes patch", "needs the definition of Sandboxes"),
    ("agents.x-k8s.io/sandboxes watch", "needs the definition of Sandboxes"),
    ("spire.spiffe.io/clusterfederatedtrustdomains watch", "needs SPIRE's controller manager"),
];

/// Domain of Ingresses, without which the operator reads none.
const INGRESSES: [&str; 2] = ["--set", "signatureVerification.ingressHostSuffixes={weather.example}"];

/// The chart as an archive of an earlier version.
fn earlier(node: &Node) -> PathBuf {
    let folder = node.rig.folder().join("charts");
    let (chart, to) = (chart().display().to_string(), folder.display().to_string());
    node.rig.helm(&["package", &chart, "--version", "0.0.9", "--app-version", "0.0.9", "-d", &to]).unwrap();
    folder.join("countersign-0.0.9.tgz")
}

/// What the operator asked for and what it was refused, as `GROUP/RESOURCE VERB`, from the audit log.
fn asked(node: &Node) -> (BTreeSet<String>, Vec<String>) {
    let (mut asked, mut forbidden) = (BTreeSet::new(), Vec::new());
    for line in std::fs::read_to_string(node.rig.audit_log()).unwrap().lines() {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let about = &event["objectRef"];
        if event["user"]["username"] != OPERATOR_USER || about.is_null() {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let part = about["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
        let (group, resource) = (text(&about["apiGroup"]), text(&about["resource"]));
        let right = format!("{group}/{resource}{part} {}", text(&event["verb"]));
        if event["responseStatus"]["code"] == 403 {
            forbidden.push(format!("{right}: {}", event["responseStatus"]["message"]));
        }
        asked.insert(right);
    }
    (asked, forbidden)
}

/// A right that some runs use: the audit log of the first second may miss an empty list.
const SOMETIMES: &str = "apps/statefulsets list";

/// `helm test`, on a node without cluster DNS.
fn the_test_of_the_chart_succeeds(node: &Node) {
    let said = node.rig.helm(&["test", "countersign", "-n", SYSTEM]).unwrap();
    assert!(said.contains("Succeeded"), "{said}");
}

/// What the chart's roles grant on resources.
fn granted(node: &Node) -> BTreeSet<String> {
    let selector = "app.kubernetes.io/name=countersign";
    let text = node.rig.kubectl(&["get", "clusterroles,roles", "-A", "-l", selector, "-o", "json"]).unwrap();
    let roles: Value = serde_json::from_str(&text).unwrap();
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in roles["items"].as_array().unwrap().iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let all = strings(&rule["verbs"]);
                granted.extend(all.iter().map(|verb| format!("{group}/{resource} {verb}")));
            }
        }
    }
    granted
}

/// Reads the operator's metrics as Prometheus would, which makes it ask who reads.
fn read_metrics(node: &Node) {
    let objects = [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "prometheus", "namespace": TEAM } }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "prometheus" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kagenti-metrics-reader" },
            "subjects": [{ "kind": "ServiceAccount", "name": "prometheus", "namespace": TEAM }],
        }),
    ];
    node.apply_all(&objects).unwrap();
    let token = node.rig.kubectl(&["create", "token", "-n", TEAM, "prometheus"]).unwrap();
    let path = "jsonpath={.items[0].status.podIP}";
    let selector = "control-plane=controller-manager";
    let address = node.rig.kubectl(&["get", "pods", "-n", SYSTEM, "-l", selector, "-o", path]).unwrap();
    let url = format!("https://{address}:8443/metrics");
    let get = |token: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        let output =
            node.rig.command("curl").args(["-sSk", "-w", "%{http_code}", "-H", &bearer, &url]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let metrics = get(token.trim());
    assert!(metrics.contains("controller_runtime_reconcile_total") && metrics.ends_with("200"), "{metrics}");
    assert!(get("nobody").ends_with("401"));
}

#[test]
fn a_release_is_upgraded_uses_its_rights_and_is_uninstalled_without_opening_anything() {
    let node = Node::bare().unwrap();
    node.install(&earlier(&node), &[]).unwrap_or_else(|error| panic!("{error:#}\n{}", node.report()));
    node.namespace(TEAM).unwrap();
    for name in ["caller", "weather"] {
        node.create_honest(TEAM, name).unwrap();
    }
    node.serve(TEAM, "bad", card_of("bad", TEAM).to_string().as_bytes()).unwrap();
    node.create(TEAM, "bad", Signer::Test).unwrap();
    for (name, reason) in [("caller", None), ("weather", None), ("bad", Some("CardUnsigned"))] {
        node.wait_verdict(TEAM, name, reason).unwrap();
    }
    let (weather, bad) = (node.pod(TEAM, "weather").unwrap(), node.pod(TEAM, "bad").unwrap());
    node.wait_packets((TEAM, "deploy/caller"), &weather, Packets::Pass).unwrap();
    let assert_as_before = |when: &str| {
        let fare = |address: &str| node.connect(TEAM, "deploy/caller", address).unwrap();
        assert_eq!(fare(&weather), Packets::Pass, "{when}: an honest agent\n{}", node.report());
        assert_eq!(fare(&bad), Packets::Dropped, "{when}: an unsigned one\n{}", node.report());
    };
    assert_as_before("the earlier version");

    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert_as_before("while it is upgraded");
            }
        });
        let upgraded = node.install(&chart(), &INGRESSES);
        ended.store(true, Ordering::Relaxed);
        upgraded.unwrap();
    });
    let shown = node.rig.helm(&["list", "-n", SYSTEM, "-o", "json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["status"], "deployed");
    assert_ne!(shown[0]["chart"], "countersign-0.0.9");
    the_test_of_the_chart_succeeds(&node);
    new_agent_is_verified_and_guarded(&node);
    rights_are_those_that_are_used(&node);

    node.rig.helm(&["uninstall", "countersign", "-n", SYSTEM, "--wait", "--timeout", "120s"]).unwrap();
    assert_as_before("once it is uninstalled");
    assert!(!node.card(TEAM, "bad-deployment-card").unwrap().is_null(), "the cards stay");
    // The policies that stay still admit the mark, so nobody may forge it now either.
    let forge =
        ["label", "--overwrite", "pod", "-n", TEAM, "stranger", "agent.kagenti.dev/verified-peer=later"];
    let refused = node.rig.kubectl(&forge).unwrap_err().to_string();
    assert!(refused.contains("belongs to the operator"), "{refused}");
    // As the notes of the chart say.
    let opened = ["delete", "networkpolicies", "-A", "-l", "agent.kagenti.dev/policy-role"];
    node.rig.kubectl(&opened).unwrap();
    node.rig
        .kubectl(&[
            "delete",
            "validatingadmissionpolicies,validatingadmissionpolicybindings",
            "guard-operator-labels.agent.kagenti.dev",
            "guard-network-policies.agent.kagenti.dev",
        ])
        .unwrap();
    node.wait_packets((TEAM, "deploy/caller"), &bad, Packets::Pass).unwrap();
    for namespace in [TEAM, SYSTEM] {
        node.rig.kubectl(&["delete", "namespace", namespace, "--timeout=120s"]).unwrap();
    }
    let kinds = [
        "agentcards.agent.kagenti.dev",
        "agentruntimes.agent.kagenti.dev",
        "agentruntimes.agent.rossoctl.dev",
    ];
    node.rig.kubectl(&[&["delete", "crd", "--timeout=120s"][..], &kinds].concat()).unwrap();
}

/// After the upgrade the operator works, and nobody else sets the mark that it sets.
fn new_agent_is_verified_and_guarded(node: &Node) {
    node.create_honest(TEAM, "later").unwrap();
    node.wait_verdict(TEAM, "later", None).unwrap();
    let later = node.pod(TEAM, "later").unwrap();
    node.wait_packets((TEAM, "deploy/caller"), &later, Packets::Pass).unwrap();
    let forge = ["label", "pod", "-n", TEAM, "stranger", "agent.kagenti.dev/verified-peer=later"];
    let refused = node.rig.kubectl(&forge).unwrap_err().to_string();
    assert!(refused.contains("belongs to the operator"), "{refused}");
    assert_eq!(node.connect(TEAM, "pod/stranger", &later).unwrap(), Packets::Dropped);
}

/// Enrols an agent that is one already, whose card its object then shows.
fn show_the_card_of_an_agent(node: &Node) {
    let runtime = json!({
        "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": "later", "namespace": TEAM },
        "spec": { "type": "agent", "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "later" } },
    });
    node.apply_all(&[runtime]).unwrap();
    for what in ["--for=condition=Verified", "--for=jsonpath={.status.card.name}=later"] {
        let shown = ["wait", what, "-n", TEAM, "agentruntime", "later", "--timeout=120s"];
        node.rig.kubectl(&shown).unwrap();
    }
}

/// Enrols a Deployment and a `StatefulSet` without Pods, which nothing else looks at, and gives them up again: each by an
/// object of one of the two groups.
fn enrol_plain_workloads(node: &Node) {
    for (kind, group) in [("Deployment", "agent.kagenti.dev"), ("StatefulSet", "agent.rossoctl.dev")] {
        let runtimes = format!("agentruntimes.{group}");
        let (name, labels) = (format!("plain-{}", kind.to_lowercase()), json!({ "app": "plain" }));
        let mut workload = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name, "namespace": TEAM },
            "spec": { "replicas": 0, "serviceName": "plain", "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "agent", "image": "none" }] } } },
        });
        if kind == "Deployment" {
            workload["spec"].as_object_mut().unwrap().remove("serviceName").unwrap();
        }
        let runtime = json!({
            "apiVersion": format!("{group}/v1alpha1"), "kind": "AgentRuntime",
            "metadata": { "name": name, "namespace": TEAM },
            "spec": { "type": "tool", "targetRef": { "apiVersion": "apps/v1", "kind": kind, "name": name } },
        });
        node.apply_all(&[workload, runtime]).unwrap();
        let ready = ["wait", "--for=condition=Ready", "-n", TEAM, &runtimes, &name, "--timeout=120s"];
        node.rig.kubectl(&ready).unwrap();
        let strict = r#"{"spec":{"mtlsMode":"strict"}}"#;
        node.rig.kubectl(&["patch", "--type=merge", "-n", TEAM, &runtimes, &name, "-p", strict]).unwrap();
        let path = "jsonpath={.spec.template.metadata.annotations.kagenti\\.io/mtls-mode}";
        until("the changed mode", Duration::from_mins(2), || {
            Ok(node.rig.kubectl(&["get", "-n", TEAM, kind, &name, "-o", path])? == "strict")
        })
        .unwrap();
        node.rig.kubectl(&["delete", "-n", TEAM, &runtimes, &name]).unwrap();
        until("the workload as it was", Duration::from_mins(2), || {
            let labels = ["get", "-n", TEAM, kind, &name, "-o", "jsonpath={.metadata.labels}"];
            Ok(node.rig.kubectl(&labels)?.is_empty())
        })
        .unwrap();
        node.rig.kubectl(&["delete", "-n", TEAM, kind, &name]).unwrap();
    }
}

/// Uses everything that the operator does, and compares with what it may do.
fn rights_are_those_that_are_used(node: &Node) {
    read_metrics(node);
    enrol_plain_workloads(node);
    show_the_card_of_an_agent(node);
    // Somebody's own card: the made one goes.
    let own = json!({
        "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": "own", "namespace": TEAM },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "later" } },
    });
    node.rig.apply(&own.to_string()).unwrap();
    until("the made card goes", Duration::from_mins(2), || {
        Ok(node.card(TEAM, "later-deployment-card")?.is_null())
    })
    .unwrap();
    // An endpoint of another host: other Services and Ingresses are looked at.
    let mut elsewhere = card_of("weather", TEAM);
    elsewhere["supportedInterfaces"][0]["url"] = json!("https://weather.example/");
    let svid = node.svid(TEAM, "later", "1h").unwrap();
    node.serve(TEAM, "later", &Agents::sign(&elsewhere, &svid)).unwrap();
    look_every(&node.rig, 1, TEAM, "own").unwrap();
    let not_ready = ["wait", "--for=condition=Ready=False", "-n", TEAM, "agentcard", "own", "--timeout=120s"];
    node.rig.kubectl(&not_ready).unwrap();
    node.rig.kubectl(&["delete", "deployment", "-n", TEAM, "later"]).unwrap();
    until("the policies of the deleted agent go", Duration::from_mins(2), || {
        Ok(!node.rig.kubectl(&["get", "networkpolicies", "-n", TEAM, "-o", "name"])?.contains("later"))
    })
    .unwrap();
    // Whether it exists without the label is asked before the card says that it is gone.
    until("the card says so", Duration::from_mins(2), || {
        Ok(reason(&node.card(TEAM, "own")?) == "WorkloadNotFound")
    })
    .unwrap();

    let (asked, forbidden) = asked(node);
    assert!(forbidden.is_empty(), "the operator was refused: {forbidden:#?}");
    let granted = granted(node);
    let reasons = BTreeMap::from(UNSEEN);
    let unseen: Vec<&String> = granted.difference(&asked).collect();
    println!("{} rights, {} used; not seen in use: {unseen:#?}", granted.len(), asked.len());
    let is_explained = |right: &str| reasons.contains_key(right) || right == SOMETIMES;
    let unexplained: Vec<_> = unseen.iter().filter(|right| !is_explained(right)).collect();
    assert!(unexplained.is_empty(), "granted, not used, and no reason given: {unexplained:#?}");
    let stale: Vec<_> =
        reasons.keys().filter(|right| !unseen.iter().any(|unseen| unseen == *right)).collect();
    assert!(stale.is_empty(), "a reason is given for what is used or not granted: {stale:#?}");
}

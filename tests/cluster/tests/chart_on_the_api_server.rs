//! The rendered chart in a real API server: accepted whole, installed, upgraded, and gone without a trace.
//! No Pod runs here; that the operator's Pods are admitted under Pod Security `restricted` is asked by dry run.
#![cfg(test)]

#[path = "../../chart_support/mod.rs"]
mod chart_support;

use chart_support::{NAMESPACE, VERIFYING, chart, find, objects, template};
use countersign_rig::Rig;
use serde_json::{Value, json};

/// The namespaces that people make before they install.
const NAMESPACES: &str = r"
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Namespace
    metadata:
      name: countersign-system
      labels: {pod-security.kubernetes.io/enforce: restricted}
  - {apiVersion: v1, kind: Namespace, metadata: {name: spire-system}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: team1}}
";

const HA: &str = "--values=charts/countersign/values-ha.yaml";

fn apply_dry(rig: &Rig, name: &str, text: &str) -> String {
    let path = rig.folder().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    rig.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &path]).unwrap()
}

fn helm(rig: &Rig, verb: &str, more: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut arguments = vec![verb, "countersign"];
    arguments.extend((verb != "uninstall").then_some(chart.as_str()));
    arguments.extend(["--namespace", NAMESPACE]);
    arguments.extend(more);
    rig.helm(&arguments).map_err(|error| format!("{error:#}"))
}

/// The objects of a rendered chart whose kinds this API server serves by itself.
fn manifest(arguments: &[&str]) -> (String, usize) {
    let rendered = template(arguments).unwrap();
    let built_in: Vec<Value> = objects(&rendered)
        .into_iter()
        .filter(|object| {
            !["ClusterSPIFFEID", "ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"]
                .contains(&object["kind"].as_str().unwrap())
        })
        .collect();
    let count = built_in.len();
    (json!({"apiVersion": "v1", "kind": "List", "items": built_in}).to_string(), count)
}

#[test]
fn the_api_server_takes_the_chart_installs_it_and_forgets_it() {
    let rig = Rig::control_plane().unwrap();
    rig.apply(NAMESPACES).unwrap();
    rig.wait("the default service accounts", || {
        Ok(rig.kubectl(&["-n", NAMESPACE, "get", "serviceaccount", "default"]).is_ok())
    })
    .unwrap();
    every_object_is_valid(&rig);
    what_the_cluster_lacks_is_named(&rig);
    it_installs_and_upgrades(&rig);
    its_pods_are_admitted_as_restricted(&rig);
    its_account_may_do_what_it_needs_and_no_more(&rig);
    its_policies_know_its_account(&rig);
    its_account_may_label_workloads_and_not_change_what_they_run(&rig);
    its_account_may_add_the_labels_of_the_mesh_to_namespaces_if_it_is_asked_to(&rig);
    its_account_may_bind_the_constraint_of_the_sidecar_if_it_is_asked_to(&rig);
    policies_that_are_switched_off_leave_the_guards_of_what_stays(&rig);
    it_leaves_nothing_but_the_cards(&rig);
    rig.down().unwrap();
}

fn every_object_is_valid(rig: &Rig) {
    let everything = "--values=tests/fixtures/chart/everything.yaml";
    let openshift = "--values=charts/countersign/values-openshift.yaml";
    for (name, values) in [
        ("default.json", vec![]),
        ("ha.json", [&[HA], &VERIFYING[..]].concat()),
        ("openshift.json", [&[openshift], &VERIFYING[..]].concat()),
        ("everything.json", vec![everything]),
    ] {
        let (text, count) = manifest(&values);
        let said = apply_dry(rig, name, &text);
        assert_eq!(said.matches("(server dry run)").count(), count, "{said}");
    }
}

fn what_the_cluster_lacks_is_named(rig: &Rig) {
    let trust_domain = "--set=signatureVerification.spireTrustDomain=example.org";
    let by_hand = "--set=verifiedFetch.clusterSPIFFEID.create=false";
    for (switch, more, said_of_it) in [
        (
            "prometheus.enable",
            trust_domain,
            "does not serve monitoring.coreos.com/v1/ServiceMonitor: install what brings it, or switch",
        ),
        ("prometheus.rules.enable", trust_domain, "does not serve monitoring.coreos.com/v1/PrometheusRule"),
        ("verifiedFetch.enabled", trust_domain, "does not serve spire.spiffe.io/v1alpha1/ClusterSPIFFEID"),
        (
            "verifiedFetch.enabled",
            by_hand,
            "has no CSI driver csi.spiffe.io, so the operator's Pod would never start",
        ),
    ] {
        let switch = format!("--set={switch}=true");
        let said = helm(rig, "install", &[trust_domain, more, &switch]).unwrap_err();
        assert!(said.contains(said_of_it), "{said}");
    }
}

fn it_installs_and_upgrades(rig: &Rig) {
    let notes = helm(rig, "install", &[]).unwrap();
    assert!(notes.contains("Verdicts close nothing yet"), "{notes}");
    let notes = helm(rig, "upgrade", &VERIFYING).unwrap();
    assert!(notes.contains("kubectl get agentcards -A"), "{notes}");
    let selected = rig
        .kubectl(&[
            "-n",
            NAMESPACE,
            "get",
            "deployment",
            "kagenti-controller-manager",
            "-o",
            "jsonpath={.spec.template.spec.containers[0].args}",
        ])
        .unwrap();
    assert!(selected.contains("--enforce-network-policies=true"), "{selected}");
    rig.wait("the definition", || {
        Ok(rig.kubectl(&["wait", "--for=condition=Established", "crd/agentcards.agent.kagenti.dev"]).is_ok())
    })
    .unwrap();
    rig.apply(r#"{"apiVersion":"agent.kagenti.dev/v1alpha1","kind":"AgentCard","metadata":{"name":"weather","namespace":"team1"},
        "spec":{"targetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"weather"}}}"#)
        .unwrap();
}

fn its_pods_are_admitted_as_restricted(rig: &Rig) {
    let rendered = objects(&template(&VERIFYING).unwrap());
    let template = &find(&rendered, "Deployment", "kagenti-controller-manager")["spec"]["template"];
    let mut operator = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    operator["metadata"]["name"] = json!("operator");
    operator["metadata"]["namespace"] = json!(NAMESPACE);
    let test = find(&rendered, "Pod", "kagenti-controller-manager-test");
    for (name, pod) in [("operator.json", &operator), ("test.json", test)] {
        apply_dry(rig, name, &pod.to_string());
    }
    // The level does refuse something.
    operator["spec"]["securityContext"] = json!({});
    let path = rig.folder().join("root.json");
    std::fs::write(&path, operator.to_string()).unwrap();
    let said = rig.kubectl(&["create", "--dry-run=server", "-f", &path.display().to_string()]).unwrap_err();
    assert!(format!("{said:#}").contains("violates PodSecurity \"restricted"), "{said:#}");
}

fn its_account_may_do_what_it_needs_and_no_more(rig: &Rig) {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:controller-manager");
    let can =
        |arguments: &[&str]| rig.kubectl(&[&[account.as_str(), "auth", "can-i"], arguments].concat()).is_ok();
    for allowed in [
        &["patch", "networkpolicies.networking.k8s.io", "-n", "team1"][..],
        &["patch", "pods", "-n", "team1"],
        &["patch", "agentcards.agent.kagenti.dev", "--subresource=status", "-n", "team1"],
        &["get", "configmap/weather-card-signed", "-n", "team1"],
        &["watch", "configmap/spire-bundle", "-n", "spire-system"],
        &["update", "leases.coordination.k8s.io/b7c4ae34.kagenti.dev", "-n", NAMESPACE],
        &["create", "events.events.k8s.io", "-n", "team1"],
        // What it may patch there is for a policy to say.
        &["patch", "deployments.apps", "-n", "team1"],
        &["list", "configmaps", "-n", "team1"],
    ] {
        assert!(can(allowed), "it may not {allowed:?}");
    }
    for refused in [
        &["get", "secrets", "-n", "team1"][..],
        &["watch", "configmaps", "-n", "team1"],
        &["update", "configmap/spire-bundle", "-n", "spire-system"],
        &["create", "pods", "-n", "team1"],
        &["create", "deployments.apps", "-n", "team1"],
        &["update", "leases.coordination.k8s.io/other", "-n", NAMESPACE],
        &["update", "leases.coordination.k8s.io/b7c4ae34.kagenti.dev", "-n", "team1"],
        &["create", "clusterrolebindings.rbac.authorization.k8s.io"],
        &["override", "guards.agent.kagenti.dev"],
    ] {
        assert!(!can(refused), "it may {refused:?}");
    }
}

fn its_policies_know_its_account(rig: &Rig) {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:controller-manager");
    let agent = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"agent","namespace":"team1"},
        "spec":{"containers":[{"name":"agent","image":"agent"}]}}"#;
    rig.wait("the service account of team1", || Ok(rig.apply(agent).is_ok())).unwrap();
    // Server-side apply reads nothing first, which the operator may not do either.
    let marked = rig.folder().join("marked.json");
    let labels = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"agent","namespace":"team1",
        "labels":{"agent.kagenti.dev/verified-peer":"x"}}}"#;
    std::fs::write(&marked, labels).unwrap();
    let mark = ["apply", "--server-side", "--validate=false", "-f", marked.to_str().unwrap()];
    // Even the administrator: nobody else sets the mark.
    let said = rig.kubectl(&mark).unwrap_err();
    assert!(
        format!("{said:#}").contains("belongs to the operator, and this UPDATE by rig:admin"),
        "{said:#}"
    );
    rig.kubectl(&[&[account.as_str()], &mark[..]].concat()).unwrap();
}

fn its_account_may_label_workloads_and_not_change_what_they_run(rig: &Rig) {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:controller-manager");
    rig.apply(
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"plain","namespace":"team1"},
        "spec":{"replicas":0,"selector":{"matchLabels":{"app":"plain"}},"template":{
            "metadata":{"labels":{"app":"plain"}},"spec":{"containers":[{"name":"agent","image":"agent"}]}}}}"#,
    )
    .unwrap();
    let patch = |patch: &str| {
        rig.kubectl(&[
            account.as_str(),
            "patch",
            "deployment",
            "plain",
            "-n",
            "team1",
            "--type=strategic",
            "-p",
            patch,
        ])
    };
    // kubectl reads first what it patches, which the operator may do.
    patch(
        r#"{"metadata":{"labels":{"kagenti.io/type":"tool"}},"spec":{"template":{"metadata":{
        "labels":{"kagenti.io/type":"tool"},"annotations":{"kagenti.io/config-hash":"0"}}}}}"#,
    )
    .unwrap();
    for run in [
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"agent","image":"other"}]}}}}"#,
        r#"{"spec":{"template":{"spec":{"serviceAccountName":"other"}}}}"#,
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"more","image":"other"}]}}}}"#,
        r#"{"spec":{"replicas":3}}"#,
    ] {
        let said = format!("{:#}", patch(run).unwrap_err());
        assert!(
            said.contains(
                "changes its own labels and annotations of workloads, ConfigMaps of sidecars and Pods of Sandboxes alone"
            ),
            "{run}: {said}"
        );
    }
    let other = ["--as=system:serviceaccount:team1:default", "--as-group=system:masters"];
    let scale = ["patch", "deployment", "plain", "-n", "team1", "-p", r#"{"spec":{"replicas":1}}"#];
    rig.kubectl(&[&other[..], &scale].concat()).unwrap();
    rig.kubectl(&["delete", "deployment", "plain", "-n", "team1"]).unwrap();
}

/// Applies an object by the operator's account and as it writes: fields of its own, and nothing is read first.
fn apply_as_the_operator(rig: &Rig, manager: &str, text: &str) -> Result<(), String> {
    let file = rig.folder().join("as-the-operator.json");
    std::fs::write(&file, text).unwrap();
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:controller-manager");
    let (file, manager) = (file.display().to_string(), format!("--field-manager={manager}"));
    let apply = ["apply", "--server-side", "--force-conflicts", "--validate=false", "-f", &file];
    let said = rig.kubectl(&[&apply[..], &[&account, &manager]].concat());
    said.map(drop).map_err(|error| format!("{error:#}"))
}

fn its_account_may_add_the_labels_of_the_mesh_to_namespaces_if_it_is_asked_to(rig: &Rig) {
    // Without the annotation that kubectl keeps on what it has applied, and writes again when it applies.
    rig.kubectl(&["create", "namespace", "meshed"]).unwrap();
    let mesh = r#""istio-discovery":"enabled","istio.io/dataplane-mode":"ambient""#;
    let apply = |metadata: &str| {
        let text =
            format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"meshed",{metadata}}}}}"#);
        apply_as_the_operator(rig, "countersign-mesh", &text)
    };
    let labels = |labels: &str| apply(&format!(r#""labels":{{{labels}}}"#));
    assert!(labels(mesh).unwrap_err().contains("cannot patch resource \"namespaces\""));
    helm(rig, "upgrade", &[&VERIFYING[..], &["--set=istio.meshLabels=true"]].concat()).unwrap();
    rig.wait("the right to label", || Ok(labels(mesh).is_ok())).unwrap();
    let refusal = "adds the labels of Istio's mesh to Namespaces alone";
    for others in [
        r#""istio-discovery":"enabled","istio.io/dataplane-mode":"none""#,
        r#""pod-security.kubernetes.io/enforce":"privileged""#,
        r#""istio-discovery":"enabled","kagenti-enabled":"true""#,
        // It gives up what it has written, which takes a label off.
        r#""istio-discovery":"enabled""#,
    ] {
        let said = labels(others).unwrap_err();
        assert!(said.contains(refusal), "{others}: {said}");
    }
    for more in
        [r#""annotations":{"kagenti.io/istio-mesh":"enabled"}"#, r#""finalizers":["example.org/held"]"#]
    {
        let said = apply(&format!(r#""labels":{{{mesh}}},{more}"#)).unwrap_err();
        assert!(said.contains(refusal), "{more}: {said}");
    }
    // Nobody else is asked, and what was set stays.
    rig.kubectl(&["label", "namespace", "meshed", "istio.io/dataplane-mode=none", "--overwrite"]).unwrap();
    labels(mesh).unwrap();
    helm(rig, "upgrade", &VERIFYING).unwrap();
    rig.wait("the right to end", || Ok(labels(mesh).is_err())).unwrap();
    rig.kubectl(&["delete", "namespace", "meshed"]).unwrap();
}

fn its_account_may_bind_the_constraint_of_the_sidecar_if_it_is_asked_to(rig: &Rig) {
    let role = "system:openshift:scc:kagenti-authbridge";
    rig.kubectl(&["create", "clusterrole", role, "--verb=get", "--resource=secrets"]).unwrap();
    let apply = |name: &str, role: &str| {
        let text = format!(
            r#"{{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{{"name":"{name}","namespace":"team1"}},
            "roleRef":{{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"{role}"}},
            "subjects":[{{"kind":"ServiceAccount","name":"weather","namespace":"team1"}}]}}"#
        );
        apply_as_the_operator(rig, "countersign-scc", &text)
    };
    let own = "agent-authbridge-scc";
    assert!(apply(own, role).unwrap_err().contains("cannot patch resource \"rolebindings\""));
    helm(rig, "upgrade", &[&VERIFYING[..], &["--set=openshift.sccBinding=true"]].concat()).unwrap();
    rig.wait("the right to bind", || Ok(apply(own, role).is_ok())).unwrap();
    assert!(apply("other", role).unwrap_err().contains("cannot patch resource \"rolebindings\""));
    rig.kubectl(&["delete", "rolebinding", own, "-n", "team1"]).unwrap();
    let said = apply(own, "cluster-admin").unwrap_err();
    assert!(said.contains("attempting to grant RBAC permissions not currently held"), "{said}");
    helm(rig, "upgrade", &VERIFYING).unwrap();
    rig.kubectl(&["delete", "clusterrole", role]).unwrap();
}

fn policies_that_are_switched_off_leave_the_guards_of_what_stays(rig: &Rig) {
    let guards = || {
        let kind = "validatingadmissionpolicies";
        let said =
            rig.kubectl(&["get", kind, "-o", "name", "-l", "app.kubernetes.io/name=countersign"]).unwrap();
        said.split_whitespace()
            .filter_map(|name| Some(name.split_once('/')?.1.split_once('.')?.0.to_owned()))
            .collect::<Vec<_>>()
    };
    let all = guards();
    assert!(all.len() >= 10, "{all:?}");
    let notes = helm(rig, "upgrade", &[&VERIFYING[..], &["--set=policies.enable=false"]].concat()).unwrap();
    assert!(notes.contains("the guards of marks and NetworkPolicies stay"), "{notes}");
    assert_eq!(guards(), ["guard-network-policies", "guard-operator-labels"]);
    helm(rig, "upgrade", &VERIFYING).unwrap();
    assert_eq!(guards(), all);
}

fn it_leaves_nothing_but_the_cards(rig: &Rig) {
    helm(rig, "uninstall", &["--wait", "--timeout=60s"]).unwrap();
    let left = rig
        .kubectl(&["get", "--ignore-not-found", "-A", "-o", "name", "-l", "app.kubernetes.io/name=countersign",
            "deployments,serviceaccounts,services,networkpolicies,poddisruptionbudgets,roles,rolebindings,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions"])
        .unwrap();
    let mut left: Vec<&str> = left.split_whitespace().collect();
    left.sort_unstable();
    let kept = [
        "customresourcedefinition.apiextensions.k8s.io/agentcards.agent.kagenti.dev",
        "customresourcedefinition.apiextensions.k8s.io/agentruntimes.agent.kagenti.dev",
        "customresourcedefinition.apiextensions.k8s.io/agentruntimes.agent.rossoctl.dev",
        "validatingadmissionpolicy.admissionregistration.k8s.io/guard-network-policies.agent.kagenti.dev",
        "validatingadmissionpolicy.admissionregistration.k8s.io/guard-operator-labels.agent.kagenti.dev",
        "validatingadmissionpolicybinding.admissionregistration.k8s.io/guard-network-policies.agent.kagenti.dev",
        "validatingadmissionpolicybinding.admissionregistration.k8s.io/guard-operator-labels.agent.kagenti.dev",
    ];
    assert_eq!(left, kept);
    rig.kubectl(&["-n", "team1", "get", "agentcard", "weather"]).unwrap();
    // Nothing holds on to a card or a namespace once the operator is gone.
    rig.kubectl(&["delete", "namespace", "team1", NAMESPACE, "--timeout=60s"]).unwrap();
    let kinds = [
        "agentcards.agent.kagenti.dev",
        "agentruntimes.agent.kagenti.dev",
        "agentruntimes.agent.rossoctl.dev",
    ];
    rig.kubectl(&[&["delete", "crd", "--timeout=60s"][..], &kinds].concat()).unwrap();
    for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
        let guards = ["guard-operator-labels.agent.kagenti.dev", "guard-network-policies.agent.kagenti.dev"];
        rig.kubectl(&[&["delete", kind][..], &guards].concat()).unwrap();
    }
}

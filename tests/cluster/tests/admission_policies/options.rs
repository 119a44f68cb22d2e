//! Policies that the chart installs if it is asked to.

use super::sidecar_pods::{Container, NAMESPACE, Shape};
use super::sidecars::{guarded, injected};
use super::{ADMINISTRATOR, Cluster, OPERATOR, OWNER, TENANT, pod, within, workload};
use serde_json::{Value, json};

const UNPROTECTED: &str = include_str!("../../../../policies/optional/guard-unprotected-agents.yaml");
const TYPE_LABELS: &str = include_str!("../../../../policies/optional/guard-type-labels.yaml");
const DEPLOYER: &str = "system:serviceaccount:ci:deployer";
const FAMILIES: [(&str, &str, &str); 2] = [
    ("kagenti.io/type", "kagenti.io/inject", "sidecars"),
    ("rossoctl.io/type", "rossoctl.io/inject", "renamed"),
];

/// The text with one of its parameters set.
fn set(policy: &str, from: &str, to: &str) -> String {
    assert!(policy.contains(from), "{from}");
    policy.replacen(from, to, 1)
}

#[test]
fn an_agent_without_a_sidecar_is_refused_where_that_is_asked_for() {
    let cluster = guarded();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "renamed", "labels": { "rossoctl-enabled": "true" } } });
    cluster.0.apply(&namespace.to_string()).unwrap();
    let account = ["-n", "renamed", "get", "serviceaccount", "default"];
    cluster.0.wait("the default service account", || Ok(cluster.0.kubectl(&account).is_ok())).unwrap();
    cluster.0.apply(UNPROTECTED).unwrap();
    let agent = |namespace: &str, labels: &[(&str, &str)]| within(namespace, pod("agent", labels));
    let plain = agent(NAMESPACE, &[("kagenti.io/type", "agent")]);
    cluster.0.wait("the policy", || Ok(cluster.create_dry(TENANT, &plain).is_err())).unwrap();
    cluster.finds_no_type_error();
    for (label, inject, namespace) in FAMILIES {
        for user in [TENANT, OWNER, OPERATOR] {
            let unprotected = agent(namespace, &[(label, "agent")]);
            cluster.refuses_to_create(
                user,
                &unprotected,
                "asks for none; enrol its workload with an AgentRuntime",
            );
        }
        cluster.create_dry(ADMINISTRATOR, &agent(namespace, &[(label, "agent")])).unwrap();
        // Before it is enrolled a plain workload has no label.
        cluster.create_dry(TENANT, &agent(namespace, &[])).unwrap();
        cluster.create_dry(TENANT, &agent(namespace, &[(label, "tool")])).unwrap();
        cluster.create_dry(TENANT, &agent(namespace, &[(label, "agent"), (inject, "disabled")])).unwrap();
        cluster.create_dry(TENANT, &agent("team1", &[(label, "agent")])).unwrap();
    }
    // After that it has the label and the annotation at once.
    let shape = Shape { is_renamed: true, containers: vec![Container::default()], ..Shape::default() };
    let whole = injected(&shape.pod("whole"));
    cluster.create_dry(TENANT, &whole).unwrap();
    // A sidecar that nobody asks for is not looked at, and so it is none.
    let mut stripped = whole.clone();
    stripped["metadata"]["annotations"] = json!({});
    cluster.refuses_to_create(TENANT, &stripped, "asks for none");
    becoming(&cluster);
    let warning = set(UNPROTECTED, "validationActions: [Deny]", "validationActions: [Warn, Audit]");
    cluster.0.apply(&warning).unwrap();
    cluster.0.wait("the binding", || Ok(cluster.create_dry(TENANT, &plain).is_ok())).unwrap();
    cluster.0.apply(&set(UNPROTECTED, "expression: \"'allow'\"", "expression: \"'refuse'\"")).unwrap();
    let out = agent(NAMESPACE, &[("kagenti.io/type", "agent"), ("kagenti.io/inject", "disabled")]);
    cluster.0.wait("the parameter", || Ok(cluster.create_dry(TENANT, &out).is_err())).unwrap();
    cluster.refuses_to_create(TENANT, &out, "opts out by the label kagenti.io/inject");
    // What the annotation asks for is not injected into a Pod that opts out.
    let mut both = shape.pod("both");
    both["metadata"]["labels"]["kagenti.io/inject"] = json!("disabled");
    cluster.refuses_to_create(TENANT, &both, "opts out by the label kagenti.io/inject");
}

/// A Pod that runs without a sidecar stays what it is.
fn becoming(cluster: &Cluster) {
    cluster.create(TENANT, &within(NAMESPACE, pod("plain", &[])));
    let change = |resource: &[&str], change: &Value| {
        let change = change.to_string();
        let patch = ["-n", NAMESPACE, "patch", "pod", "plain", "--type=merge", "-p", change.as_str()];
        cluster.run(TENANT, &[&patch[..], resource].concat())
    };
    let asks = json!({ "metadata": { "annotations": { "countersign.dev/sidecar": "proxy-sidecar" } } });
    change(&[], &asks).unwrap();
    for (label, ..) in FAMILIES {
        let agent = json!({ "metadata": { "labels": { label: "agent" } } });
        for subresource in [&[][..], &["--subresource=status"]] {
            let refused = change(subresource, &agent).unwrap_err();
            assert!(refused.contains("becomes no agent in the namespace sidecars"), "{refused}");
        }
    }
    change(&[], &json!({ "metadata": { "labels": { "kagenti.io/type": "tool" } } })).unwrap();
}

/// Objects of every kind that has the label or a template with it.
fn labelled(label: &str) -> Vec<Value> {
    let labels = json!({ "app": "x", label: "agent" });
    let mut all = vec![pod("x", &[(label, "agent")])];
    let containers = json!([{ "name": "agent", "image": "agent" }]);
    let template = |restart: &str| json!({ "metadata": { "labels": labels }, "spec": { "containers": containers, "restartPolicy": restart } });
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        let mut object = json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "x", "namespace": "team1" },
            "spec": { "selector": { "matchLabels": { "app": "x" } }, "template": template("Always") } });
        all.push(object.clone());
        object["metadata"]["labels"] = labels.clone();
        object["spec"]["template"]["metadata"]["labels"] = json!({ "app": "x" });
        all.push(object);
    }
    let job = json!({ "template": template("Never") });
    all.push(json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "x", "namespace": "team1" }, "spec": job }));
    all.push(json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "x", "namespace": "team1" },
        "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": job } } }));
    all.push(json!({ "apiVersion": "v1", "kind": "ReplicationController", "metadata": { "name": "x", "namespace": "team1" },
        "spec": { "replicas": 0, "selector": { "app": "x" }, "template": template("Always") } }));
    all
}

/// A definition with the fields of Sandboxes that count here.
const SANDBOXES: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: sandboxes.agents.x-k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, a stand-in"}
spec:
  group: agents.x-k8s.io
  names: {kind: Sandbox, listKind: SandboxList, plural: sandboxes, singular: sandbox}
  scope: Namespaced
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

#[test]
fn the_type_labels_are_set_by_the_operator_and_named_users_alone() {
    let cluster = Cluster::guarded();
    cluster
        .0
        .apply(&set(TYPE_LABELS, "expression: \"[]\"", &format!("expression: \"['{DEPLOYER}']\"")))
        .unwrap();
    cluster.0.apply(SANDBOXES).unwrap();
    let says = "belong to the operator, and this CREATE of a";
    let first = pod("x", &[("kagenti.io/type", "agent")]);
    cluster.0.wait("the policy", || Ok(cluster.create_dry(TENANT, &first).is_err())).unwrap();
    cluster.finds_no_type_error();
    for (label, ..) in FAMILIES {
        for object in labelled(label) {
            for user in [TENANT, OWNER] {
                cluster.refuses_to_create(user, &object, says);
            }
            for user in [OPERATOR, DEPLOYER, ADMINISTRATOR] {
                cluster.create_dry(user, &object).unwrap_or_else(|said| panic!("{user}: {said}"));
            }
        }
        // They copy a template whose label was allowed.
        let copy = pod("copied", &[(label, "agent")]);
        cluster.create_dry("system:serviceaccount:kube-system:replicaset-controller", &copy).unwrap();
    }
    cluster.create_dry(TENANT, &workload("Deployment", &[("app", "x")], 0)).unwrap();
    let sandbox = |label: &str| {
        json!({ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
            "metadata": { "name": "x", "namespace": "team1" },
            "spec": { "podTemplate": { "metadata": { "labels": { label: "agent" } }, "spec": {} } } })
    };
    cluster.0.wait("the kind", || Ok(cluster.create_dry(OWNER, &sandbox("colour")).is_ok())).unwrap();
    for (label, ..) in FAMILIES {
        cluster.refuses_to_create(OWNER, &sandbox(label), "this CREATE of a Sandbox by owner-of-team1");
        cluster.create_dry(ADMINISTRATOR, &sandbox(label)).unwrap();
    }
    for (label, name) in [("kagenti.io/type", "first"), ("rossoctl.io/type", "second")] {
        let mut made = workload("Deployment", &[("app", "x"), (label, "agent")], 0);
        made["metadata"]["name"] = json!(name);
        let made = within("team1", made);
        cluster.create(DEPLOYER, &made);
        // Whoever may change the rest goes on doing so.
        cluster.allows(TENANT, &["scale", "deployment", name, "--replicas=0"]);
        cluster.allows(TENANT, &["label", "deployment", name, "colour=blue"]);
        cluster.allows(TENANT, &["set", "image", &format!("deployment/{name}"), "agent=other"]);
        let says = "this UPDATE of a Deployment by system:serviceaccount:team1:mallory would set, change or remove one";
        for value in [json!(null), json!("tool")] {
            let patch =
                json!({ "spec": { "template": { "metadata": { "labels": { label: value } } } } }).to_string();
            cluster.refuses(TENANT, &["patch", "deployment", name, "--type=merge", "-p", &patch], says);
            cluster.allows(
                OPERATOR,
                &["patch", "deployment", name, "--type=merge", "--dry-run=server", "-p", &patch],
            );
        }
        cluster.refuses(TENANT, &["label", "deployment", name, &format!("{label}=agent")], says);
        cluster.allows(OPERATOR, &["label", "deployment", name, &format!("{label}=agent")]);
        cluster.refuses(TENANT, &["label", "deployment", name, &format!("{label}-")], says);
    }
}

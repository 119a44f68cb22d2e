//! The policies of `policies/` in a real API server: what each lets through, what it refuses, and what it says.
//! Every request comes from a user with every right over Pods, config maps and network policies.
#![cfg(test)]

#[path = "admission_policies/generated.rs"]
mod generated;
#[path = "admission_policies/options.rs"]
mod options;
#[path = "../../support/sidecar_pods.rs"]
mod sidecar_pods;
#[path = "admission_policies/sidecars.rs"]
mod sidecars;

use countersign_cluster_tests::SANDBOXES;
use countersign_rig::Rig;
use serde_json::{Value, json};

const OPERATOR: &str = "system:serviceaccount:countersign-system:controller-manager";
const TENANT: &str = "system:serviceaccount:team1:mallory";
const WEATHER: &str = "system:serviceaccount:team1:weather";
const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const SPIRE: &str = "system:serviceaccount:spire-server:spire-server";
/// A user with every right in the whole cluster.
const ADMINISTRATOR: &str = "administrator";
/// A person with every right in the namespace, over everything that will ever exist.
const OWNER: &str = "owner-of-team1";

const POLICIES: [&str; 10] = [
    include_str!("../../../policies/guard-operator-labels.yaml"),
    include_str!("../../../policies/guard-network-policies.yaml"),
    include_str!("../../../policies/guard-signed-cards.yaml"),
    include_str!("../../../policies/guard-trust-bundle.yaml"),
    include_str!("../../../policies/guard-enrolment.yaml"),
    include_str!("../../../policies/guard-controllers.yaml"),
    include_str!("../../../policies/guard-enrolled-pods.yaml"),
    include_str!("../../../policies/guard-enrolled-workloads.yaml"),
    include_str!("../../../policies/guard-isolation.yaml"),
    include_str!("../../../policies/guard-running-sidecars.yaml"),
];

const CONFIGS: &str = include_str!("../../../policies/guard-sidecar-configs.yaml");
const PATCHES: &str = include_str!("../../../policies/guard-operator-patches.yaml");
const SIDECARS: &str = include_str!("../../../policies/guard-sidecars.yaml");

const RIGHTS: &str = r#"
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: team1}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: spire-system}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: enrolled, labels: {countersign.dev/enrolled: "true"}}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: sidecars, labels: {kagenti-enabled: "true"}}}
  - apiVersion: v1
    kind: Namespace
    metadata: {name: audited, labels: {countersign.dev/enrolled: "true", countersign.dev/mode: audit}}
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: tenant}
    rules:
      - {apiGroups: ["", apps, batch, networking.k8s.io, agents.x-k8s.io], resources: ["*"], verbs: ["*"]}
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRoleBinding
    metadata: {name: tenants}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant}
    subjects: [{kind: Group, name: "system:authenticated", apiGroup: rbac.authorization.k8s.io}]
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRoleBinding
    metadata: {name: administrators}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
    subjects: [{kind: User, name: administrator, apiGroup: rbac.authorization.k8s.io}]
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: owners, namespace: team1}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
    subjects: [{kind: User, name: owner-of-team1, apiGroup: rbac.authorization.k8s.io}]
"#;

struct Cluster(Rig);

impl Cluster {
    /// The policies are in force: they refuse what they should, which takes a moment after they were made.
    fn guarded() -> Self {
        let rig = Rig::control_plane().unwrap();
        rig.apply(RIGHTS).unwrap();
        let sidecars = SIDECARS.replacen("expression: \"''\"", "expression: \"'authbridge:1'\"", 1);
        assert_ne!(sidecars, SIDECARS);
        for policy in POLICIES.into_iter().chain([sidecars.as_str()]) {
            rig.apply(policy).unwrap();
        }
        let cluster = Self(rig);
        let probes = [
            pod("probe", &[("agent.kagenti.dev/verified-peer", "x")]),
            network_policy("probe", &[("agent.kagenti.dev/policy-role", "minimum")], 1),
            config_map("team1", "probe-card-signed", Some("somebody"), "x"),
            config_map("spire-system", "spire-bundle", None, "x"),
            controlled(&pod("probe", &[]), "ReplicaSet"),
        ];
        cluster
            .0
            .wait("the default service account of team1", || {
                Ok(cluster.0.kubectl(&["-n", "team1", "get", "serviceaccount", "default"]).is_ok())
            })
            .unwrap();
        for probe in &probes {
            cluster.0.wait("a policy", || Ok(cluster.create_dry(TENANT, probe).is_err())).unwrap();
        }
        cluster.create(TENANT, &pod("probe", &[("kagenti.io/type", "agent")]));
        cluster
            .0
            .wait("a policy", || {
                let dry = ["--dry-run=server", "-n", "team1", "label", "pod", "probe", "kagenti.io/type-"];
                Ok(cluster.run(TENANT, &dry).is_err())
            })
            .unwrap();
        cluster.finds_no_type_error();
        cluster
    }

    /// A type error in an expression shows here and nowhere else.
    #[track_caller]
    fn finds_no_type_error(&self) {
        let shown = "jsonpath={range .items[*]}{.status.typeChecking.expressionWarnings}{end}";
        let policies = ["get", "validatingadmissionpolicies", "-o"];
        assert_eq!(self.0.kubectl(&[&policies[..], &[shown]].concat()).unwrap(), "");
    }

    fn run(&self, user: &str, arguments: &[&str]) -> Result<String, String> {
        let user = format!("--as={user}");
        let all: Vec<&str> = [user.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        self.0.kubectl(&all).map_err(|error| format!("{error:#}"))
    }

    fn file(&self, object: &Value) -> String {
        let path = self.0.folder().join("object.json");
        std::fs::write(&path, object.to_string()).unwrap();
        path.display().to_string()
    }

    fn create_dry(&self, user: &str, object: &Value) -> Result<String, String> {
        self.run(user, &["create", "--dry-run=server", "-f", &self.file(object)])
    }

    fn create(&self, user: &str, object: &Value) {
        self.run(user, &["create", "-f", &self.file(object)]).unwrap();
    }

    #[track_caller]
    fn allows(&self, user: &str, arguments: &[&str]) {
        self.run(user, &[&["-n", "team1"], arguments].concat())
            .unwrap_or_else(|said| panic!("{user}: {said}"));
    }

    #[track_caller]
    fn refuses(&self, user: &str, arguments: &[&str], message: &str) {
        let said = self.run(user, &[&["-n", "team1"], arguments].concat()).expect_err("this must be refused");
        assert!(said.contains(message), "{said}\n does not contain {message}");
    }

    #[track_caller]
    fn refuses_to_create(&self, user: &str, object: &Value, message: &str) {
        let said = self.create_dry(user, object).expect_err("this must be refused");
        assert!(said.contains(message), "{said}\n does not contain {message}");
    }
}

fn pod(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: Value = labels
        .iter()
        .map(|&(key, value)| (key.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team1", "labels": labels},
        "spec": {"containers": [{"name": "agent", "image": "agent"}]}})
}

fn network_policy(name: &str, labels: &[(&str, &str)], port: u16) -> Value {
    let labels: Value = labels
        .iter()
        .map(|&(key, value)| (key.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "team1", "labels": labels},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": port}]}]}})
}

fn config_map(namespace: &str, name: &str, signer: Option<&str>, card: &str) -> Value {
    let annotations = signer.map_or(json!({}), |signer| json!({"agent.kagenti.dev/signer": signer}));
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations}, "data": {"signed-agent-card.json": card}})
}

/// One API server for all policies, because they also must not stand in each other's way.
#[test]
fn tenants_cannot_forge_what_the_operator_trusts() {
    let cluster = Cluster::guarded();
    the_mark_is_the_operators(&cluster);
    enrolment_of_a_running_pod_stays(&cluster);
    who_controls_a_pod_is_said_by_controllers(&cluster);
    policies_of_verdicts_are_the_operators(&cluster);
    a_signed_card_is_its_signers(&cluster);
    the_trust_bundle_is_spires(&cluster);
    an_enrolled_namespace_has_agents_alone_and_isolates_the_first(&cluster);
    cluster.0.down().unwrap();
}

fn the_mark_is_the_operators(cluster: &Cluster) {
    let mark = "agent.kagenti.dev/verified-peer";
    let says = "the label agent.kagenti.dev/verified-peer belongs to the operator, and this";
    cluster.refuses_to_create(TENANT, &pod("forged", &[(mark, "x")]), says);
    cluster.refuses_to_create(
        OPERATOR,
        &pod("forged", &[(mark, "")]),
        "this CREATE by system:serviceaccount:countersign-system",
    );
    cluster.create(TENANT, &pod("marked", &[]));
    for user in [TENANT, OWNER, ADMINISTRATOR] {
        cluster.refuses(user, &["label", "pod", "marked", "agent.kagenti.dev/verified-peer=x"], says);
    }
    cluster.allows(TENANT, &["label", "pod", "marked", "colour=blue"]);
    cluster.allows(OPERATOR, &["label", "pod", "marked", "agent.kagenti.dev/verified-peer=x"]);
    cluster.refuses(TENANT, &["label", "pod", "marked", "agent.kagenti.dev/verified-peer-"], says);
    let patch = r#"{"metadata":{"labels":{"agent.kagenti.dev/verified-peer":"y"}}}"#;
    cluster.refuses(
        TENANT,
        &["patch", "pod", "marked", "--subresource=status", "--type=merge", "-p", patch],
        says,
    );
    cluster.allows(TENANT, &["label", "pod", "marked", "colour=red", "--overwrite"]);
    cluster.allows(OPERATOR, &["label", "pod", "marked", "agent.kagenti.dev/verified-peer-"]);
}

fn enrolment_of_a_running_pod_stays(cluster: &Cluster) {
    let says = "the label kagenti.io/type of a running Pod keeps it isolated, and this UPDATE by system:serviceaccount:team1:mallory";
    cluster.create(TENANT, &pod("enrolled", &[("kagenti.io/type", "agent")]));
    cluster.refuses(TENANT, &["label", "pod", "enrolled", "kagenti.io/type-"], says);
    cluster.refuses(
        TENANT,
        &["label", "pod", "enrolled", "kagenti.io/type=tool", "--overwrite"],
        "from \"agent\" to \"tool\"; change the label in the Pod template",
    );
    let patch = r#"{"metadata":{"labels":{"kagenti.io/type":null}}}"#;
    cluster.refuses(
        TENANT,
        &["patch", "pod", "enrolled", "--subresource=status", "--type=merge", "-p", patch],
        says,
    );
    cluster.refuses(
        OWNER,
        &["label", "pod", "enrolled", "kagenti.io/type-"],
        "owner-of-team1 would change it",
    );
    cluster.allows(TENANT, &["label", "pod", "enrolled", "colour=blue"]);
    // Enrolling tightens, so it is free.
    cluster.allows(TENANT, &["label", "pod", "marked", "kagenti.io/type=agent"]);
    cluster.allows(OPERATOR, &["label", "pod", "enrolled", "kagenti.io/type=tool", "--overwrite"]);
    cluster.allows(ADMINISTRATOR, &["label", "pod", "enrolled", "kagenti.io/type-"]);
    // The newer name of the label isolates as well.
    cluster.allows(TENANT, &["label", "pod", "marked", "rossoctl.io/type=agent"]);
    cluster.refuses(
        TENANT,
        &["label", "pod", "marked", "rossoctl.io/type-"],
        "the label rossoctl.io/type of a running Pod keeps it isolated",
    );
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "node1"},
        "metadata": {"name": "marked", "namespace": "team1", "labels": {"kagenti.io/type": "tool"}}});
    let endpoint = "/api/v1/namespaces/team1/pods/marked/binding";
    let file = cluster.file(&binding);
    cluster.refuses(
        TENANT,
        &["create", "--raw", endpoint, "-f", &file],
        "would change it from \"\" to \"tool\"",
    );
    cluster.allows(TENANT, &["delete", "pod", "enrolled", "marked", "--now", "--wait=false"]);
}

/// The object with a reference that says who controls it.
fn controlled(object: &Value, kind: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": kind, "name": "weather", "uid": "8d7c9d4e-0000-4000-8000-000000000001",
        "controller": true,
    }]);
    object
}

fn who_controls_a_pod_is_said_by_controllers(cluster: &Cluster) {
    let says = "only the controllers of workloads say that a workload controls a Pod, and this";
    let agent = [("kagenti.io/type", "agent")];
    for kind in ["Deployment", "ReplicaSet", "StatefulSet"] {
        for labels in [&agent[..], &[]] {
            cluster.refuses_to_create(TENANT, &controlled(&pod("forged", labels), kind), says);
        }
    }
    let mut sandboxed = controlled(&pod("forged", &agent), "Sandbox");
    sandboxed["metadata"]["ownerReferences"][0]["apiVersion"] = json!("agents.x-k8s.io/v1alpha1");
    cluster.refuses_to_create(TENANT, &sandboxed, says);
    let controller = "system:serviceaccount:agent-sandbox-system:agent-sandbox-controller";
    cluster.create_dry(controller, &sandboxed).unwrap();
    cluster.refuses_to_create(
        "system:serviceaccount:sandboxes:manager",
        &sandboxed,
        "by system:serviceaccount:sandboxes:manager; leave metadata.ownerReferences out, or name this user in \
        policies.controllers of the chart: in sandboxUsers",
    );
    // It says so of Sandboxes alone.
    cluster.refuses_to_create(controller, &controlled(&pod("forged", &agent), "ReplicaSet"), says);
    cluster.refuses_to_create(OWNER, &controlled(&pod("forged", &agent), "ReplicaSet"), "by owner-of-team1");
    // A ReplicaSet that nobody made for the Deployment would lead its Pods there.
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "forged", "namespace": "team1"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "agent", "image": "agent"}]}}}});
    cluster.create(TENANT, &set);
    cluster.refuses_to_create(
        TENANT,
        &controlled(&set, "Deployment"),
        "controls a ReplicaSet, and this CREATE",
    );
    let adopt = controlled(&json!({ "metadata": {} }), "Deployment").to_string();
    cluster.refuses(
        TENANT,
        &["patch", "replicaset", "forged", "--type=merge", "-p", &adopt],
        "controls a ReplicaSet",
    );
    // Other owners, and references that control nothing, are nobody's business.
    let found =
        cluster.0.kubectl(&["get", "replicaset", "-n", "team1", "forged", "-o", "jsonpath={.metadata.uid}"]);
    let uid = json!(found.unwrap());
    let by = |kind: &str, controls: bool| json!([{ "apiVersion": "apps/v1", "kind": kind, "name": "forged", "uid": uid, "controller": controls }]);
    let mut owned = pod("owned", &agent);
    owned["metadata"]["ownerReferences"] = by("ReplicaSet", false);
    cluster.create(TENANT, &owned);
    let mut daemon = pod("daemon", &[]);
    daemon["metadata"]["ownerReferences"] =
        controlled(&daemon, "DaemonSet")["metadata"]["ownerReferences"].clone();
    let controller = "system:serviceaccount:kube-system:daemon-set-controller";
    cluster.run(controller, &["create", "--dry-run=server", "-f", &cluster.file(&daemon)]).unwrap();
    let adopt = json!({ "metadata": { "ownerReferences": by("ReplicaSet", true) } }).to_string();
    cluster.refuses(TENANT, &["patch", "pod", "owned", "--type=merge", "-p", &adopt], says);
    cluster.allows(
        "system:serviceaccount:kube-system:replicaset-controller",
        &["patch", "pod", "owned", "--type=merge", "-p", &adopt],
    );
    // What it was, it stays, whoever changes something else; and trust may always be taken away.
    cluster.allows(TENANT, &["label", "pod", "owned", "colour=blue"]);
    let release = r#"{"metadata":{"ownerReferences":null}}"#;
    cluster.allows(TENANT, &["patch", "pod", "owned", "--type=merge", "-p", release]);
    cluster.allows(TENANT, &["delete", "pod", "owned", "--now", "--wait=false"]);
    cluster.allows(TENANT, &["delete", "replicaset", "forged"]);
}

fn policies_of_verdicts_are_the_operators(cluster: &Cluster) {
    let says = "belong to the operator, and this";
    let labels = [("managed-by", "kagenti-operator"), ("agent.kagenti.dev/policy-role", "verdict")];
    cluster.refuses_to_create(TENANT, &network_policy("weather-signature-policy", &labels, 80), says);
    cluster.create(TENANT, &network_policy("own", &[("team", "one")], 80));
    cluster.refuses(TENANT, &["label", "networkpolicy", "own", "agent.kagenti.dev/workload=x"], says);
    cluster.create(OPERATOR, &network_policy("weather-signature-policy", &labels, 80));
    let open = r#"{"spec":{"ingress":[{}]}}"#;
    for user in [TENANT, OWNER, GARBAGE_COLLECTOR] {
        cluster.refuses(
            user,
            &["patch", "networkpolicy", "weather-signature-policy", "--type=merge", "-p", open],
            says,
        );
    }
    cluster.refuses(
        TENANT,
        &["label", "networkpolicy", "weather-signature-policy", "agent.kagenti.dev/policy-role-"],
        says,
    );
    cluster.refuses(
        TENANT,
        &["delete", "networkpolicy", "weather-signature-policy"],
        "this DELETE is by system:serviceaccount:team1:mallory; leave them",
    );
    // One deletion of all of them is refused object by object.
    cluster.refuses(
        TENANT,
        &[
            "delete",
            "--raw",
            "/apis/networking.k8s.io/v1/namespaces/team1/networkpolicies?labelSelector=managed-by",
        ],
        says,
    );
    let owners = r#"{"metadata":{"finalizers":["example.org/x"]}}"#;
    cluster.allows(
        GARBAGE_COLLECTOR,
        &["patch", "networkpolicy", "weather-signature-policy", "--type=merge", "-p", owners],
    );
    cluster.allows(
        OPERATOR,
        &[
            "patch",
            "networkpolicy",
            "weather-signature-policy",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ],
    );
    cluster.allows(
        ADMINISTRATOR,
        &["patch", "networkpolicy", "weather-signature-policy", "--type=merge", "-p", open],
    );
    cluster.allows(GARBAGE_COLLECTOR, &["delete", "networkpolicy", "weather-signature-policy"]);
    cluster.allows(TENANT, &["delete", "networkpolicy", "own"]);
}

fn a_signed_card_is_its_signers(cluster: &Cluster) {
    let write = r#"{"data":{"signed-agent-card.json":"forged"}}"#;
    let patch = ["patch", "configmap", "weather-card-signed", "--type=merge", "-p"];
    let patch = |body| [&patch[..], &[body]].concat();
    cluster.create(WEATHER, &config_map("team1", "weather-card-signed", Some("weather"), "{}"));
    let says = "is written by the service account that its annotation agent.kagenti.dev/signer names (weather), and this";
    for user in [TENANT, "system:serviceaccount:team2:weather", OWNER] {
        cluster.refuses(user, &patch(write), says);
        cluster.refuses(user, &["delete", "configmap", "weather-card-signed"], says);
    }
    cluster.refuses(
        TENANT,
        &patch(r#"{"metadata":{"annotations":{"agent.kagenti.dev/signer":"mallory"}}}"#),
        says,
    );
    cluster.refuses(
        TENANT,
        &[
            "delete",
            "--raw",
            "/api/v1/namespaces/team1/configmaps?fieldSelector=metadata.name%3Dweather-card-signed",
        ],
        says,
    );
    cluster.refuses(
        WEATHER,
        &patch(r#"{"metadata":{"annotations":{"agent.kagenti.dev/signer":null}}}"#),
        "or let an administrator change the annotation",
    );
    cluster.allows(WEATHER, &patch(r#"{"data":{"signed-agent-card.json":"renewed"}}"#));
    cluster.allows(
        ADMINISTRATOR,
        &patch(r#"{"metadata":{"annotations":{"agent.kagenti.dev/signer":"weather-signer"}}}"#),
    );
    cluster.allows("system:serviceaccount:team1:weather-signer", &patch(write));
    cluster.refuses(
        GARBAGE_COLLECTOR,
        &patch(r#"{"data":{"signed-agent-card.json":"x"}}"#),
        "(weather-signer)",
    );
    cluster.allows(GARBAGE_COLLECTOR, &["delete", "configmap", "weather-card-signed"]);

    // Nobody signs in somebody else's name, and the name of the workload is cut off once.
    cluster.refuses_to_create(
        TENANT,
        &config_map("team1", "weather-card-signed", Some("weather"), "{}"),
        says,
    );
    cluster.refuses_to_create(
        TENANT,
        &config_map("team1", "mallory-card-signed-card-signed", Some("weather"), "{}"),
        "the signed card of mallory-card-signed is",
    );
    // A signer that does not know the annotation works on, and other ConfigMaps are nobody's business.
    cluster.create(TENANT, &config_map("team1", "plain-card-signed", None, "{}"));
    cluster.allows(WEATHER, &["delete", "configmap", "plain-card-signed"]);
    cluster.create(TENANT, &config_map("team1", "settings", Some("weather"), "{}"));

    // The strict parameter, set as the chart sets it.
    let strict = POLICIES[2].replace("expression: \"'allow'\"", "expression: \"'refuse'\"");
    assert_ne!(strict, POLICIES[2]);
    cluster.0.apply(&strict).unwrap();
    let unsigned = config_map("team1", "weather-card-signed", None, "{}");
    cluster.0.wait("the strict policy", || Ok(cluster.create_dry(TENANT, &unsigned).is_err())).unwrap();
    cluster.refuses_to_create(
        TENANT,
        &unsigned,
        "the signed card of weather is written by the service account of that name, and this CREATE",
    );
    cluster.create(WEATHER, &unsigned);
    cluster.refuses(
        TENANT,
        &["delete", "configmap", "weather-card-signed"],
        "the signed card of weather is written by",
    );
    cluster.allows(WEATHER, &["delete", "configmap", "weather-card-signed"]);
}

fn the_trust_bundle_is_spires(cluster: &Cluster) {
    let says = "the ConfigMap spire-system/spire-bundle holds the trust anchors and is written by system:serviceaccount:spire-server:spire-server, system:serviceaccount:spire-system:spire-server alone";
    let forge = [
        "-n",
        "spire-system",
        "patch",
        "configmap",
        "spire-bundle",
        "--type=merge",
        "-p",
        r#"{"data":{"bundle.spiffe":"forged"}}"#,
    ];
    cluster.refuses_to_create(TENANT, &config_map("spire-system", "spire-bundle", None, "x"), says);
    cluster.create(SPIRE, &config_map("spire-system", "spire-bundle", None, "x"));
    for user in [TENANT, OPERATOR, GARBAGE_COLLECTOR] {
        cluster.refuses(user, &forge, says);
        cluster.refuses(user, &["-n", "spire-system", "delete", "configmap", "spire-bundle"], says);
    }
    cluster.refuses(
        TENANT,
        &[
            "delete",
            "--raw",
            "/api/v1/namespaces/spire-system/configmaps?fieldSelector=metadata.name%3Dspire-bundle",
        ],
        says,
    );
    cluster.allows(SPIRE, &forge);
    cluster.allows(ADMINISTRATOR, &forge);
    cluster.create(TENANT, &config_map("spire-system", "other", None, "x"));
    cluster.create(TENANT, &config_map("team1", "spire-bundle", None, "x"));
    // A namespace with the bundle in it still goes away.
    cluster.0.kubectl(&["delete", "namespace", "spire-system", "--timeout=60s"]).unwrap();
}

/// The object in another namespace.
fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn workload(kind: &str, template: &[(&str, &str)], replicas: u32) -> Value {
    let pod = pod("x", &[&[("app", "x")], template].concat());
    let template = json!({ "metadata": { "labels": pod["metadata"]["labels"] }, "spec": pod["spec"] });
    let mut object = json!({ "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": "x", "namespace": "team1" },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "x" } }, "template": template } });
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!("x");
    }
    if kind == "Job" {
        object["apiVersion"] = json!("batch/v1");
        object["spec"] = json!({ "template": template });
        object["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    }
    object
}

fn an_enrolled_namespace_has_agents_alone_and_isolates_the_first(cluster: &Cluster) {
    let agent = [("kagenti.io/type", "agent")];
    for namespace in ["enrolled", "audited"] {
        cluster
            .0
            .wait("the default service account", || {
                Ok(cluster.0.kubectl(&["-n", namespace, "get", "serviceaccount", "default"]).is_ok())
            })
            .unwrap();
        let lacks = "is an agent, by the label countersign.dev/enrolled, and this Pod lacks the label kagenti.io/type or rossoctl.io/type";
        for user in [TENANT, OPERATOR, "system:serviceaccount:kube-system:replicaset-controller"] {
            cluster.refuses_to_create(user, &within(namespace, pod("open", &[])), lacks);
        }
        let tool = within(namespace, pod("tool", &[("kagenti.io/type", "tool")]));
        cluster.refuses_to_create(
            TENANT,
            &tool,
            "the label kagenti.io/type of this Pod is \"tool\"; set it to agent",
        );
        let newer = within(namespace, pod("tool", &[("rossoctl.io/type", "tool")]));
        cluster.refuses_to_create(
            TENANT,
            &newer,
            "the label rossoctl.io/type of this Pod is \"tool\"; set it to agent",
        );
        let mut on_host = within(namespace, pod("host", &agent));
        on_host["spec"]["hostNetwork"] = json!(true);
        // Where isolation is demanded and missing, that may be said first.
        let says = if namespace == "audited" { "remove hostNetwork from the Pod template" } else { "denied" };
        cluster.refuses_to_create(TENANT, &on_host, says);
        for kind in ["Deployment", "StatefulSet", "Job"] {
            let lacks = "lacks the label kagenti.io/type or rossoctl.io/type; set one to agent";
            let says = format!("the Pod template of this {kind} {lacks}");
            cluster.refuses_to_create(TENANT, &within(namespace, workload(kind, &[], 0)), &says);
            let newer = within(namespace, workload(kind, &[("rossoctl.io/type", "tool")], 0));
            let says =
                format!("the label rossoctl.io/type in the Pod template of this {kind} is \"tool\"; set it");
            cluster.refuses_to_create(TENANT, &newer, &says);
            cluster.create_dry(TENANT, &within(namespace, workload(kind, &agent, 0))).unwrap();
        }
        // Whoever may override guards in the whole cluster may.
        cluster.create_dry(ADMINISTRATOR, &within(namespace, pod("open", &[]))).unwrap();
    }
    // Elsewhere nothing changes.
    cluster.create_dry(TENANT, &pod("open", &[])).unwrap();
    cluster.create_dry(TENANT, &pod("first", &agent)).unwrap();

    // No operator runs, so nothing isolates the first agent.
    let first = within("enrolled", pod("first", &agent));
    cluster.refuses_to_create(TENANT, &first, "no params found");
    cluster.create_dry(TENANT, &within("audited", pod("first", &agent))).unwrap();
    let baseline =
        |labels: &[(&str, &str)]| within("enrolled", network_policy("countersign-baseline", labels, 80));
    cluster.create(TENANT, &baseline(&[]));
    let own = "countersign-baseline of the namespace enrolled is not the one of the operator";
    cluster
        .0
        .wait("the tenant's policy of that name to be seen", || {
            let said = cluster.create_dry(TENANT, &first).expect_err("a policy of a tenant isolates nobody");
            Ok(said.contains(own))
        })
        .unwrap();
    cluster.allows(TENANT, &["-n", "enrolled", "delete", "networkpolicy", "countersign-baseline"]);
    cluster.create(OPERATOR, &baseline(&[("agent.kagenti.dev/policy-role", "baseline")]));
    cluster.0.wait("isolation to be seen", || Ok(cluster.create_dry(TENANT, &first).is_ok())).unwrap();

    // A namespace that is enrolled later: what is there may be scaled, and not changed to another open template.
    cluster.create(TENANT, &workload("Deployment", &[], 0));
    let enrol = ["label", "namespace", "team1", "countersign.dev/enrolled=true"];
    cluster.run(ADMINISTRATOR, &enrol).unwrap();
    let open = r#"{"spec":{"template":{"metadata":{"labels":{"colour":"blue"}}}}}"#;
    let recolour = ["patch", "deployment", "x", "--type=merge", "-p", open];
    cluster
        .0
        .wait("the namespace to be enrolled", || {
            let dry = [&["-n", "team1"], &recolour[..], &["--dry-run=server"]].concat();
            Ok(cluster.run(TENANT, &dry).is_err())
        })
        .unwrap();
    cluster.refuses(TENANT, &recolour, "the Pod template of this Deployment lacks the label");
    cluster.allows(TENANT, &["scale", "deployment", "x", "--replicas=1"]);
    let label = r#"{"spec":{"template":{"metadata":{"labels":{"kagenti.io/type":"agent"}}}}}"#;
    cluster.allows(TENANT, &["patch", "deployment", "x", "--type=merge", "-p", label]);
}

#[test]
fn the_operators_account_changes_what_enrolment_writes_and_nothing_else() {
    let cluster = Cluster::guarded();
    cluster.0.apply(PATCHES).unwrap();
    let labels = json!({ "app": "weather", "own": "kept" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "weather", "namespace": "team1", "labels": labels, "annotations": { "own": "kept" } },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "weather" } }, "template": {
            "metadata": { "labels": labels, "annotations": { "own": "kept" } },
            "spec": { "containers": [{ "name": "agent", "image": "agent" }] } } },
    });
    cluster.create(TENANT, &deployment);
    let patch = |user: &str, change: &Value| {
        let change = change.to_string();
        cluster.run(
            user,
            &[
                "-n",
                "team1",
                "patch",
                "deployment",
                "weather",
                "--type=merge",
                "--dry-run=server",
                "-p",
                &change,
            ],
        )
    };
    let template = |change: Value| json!({ "spec": { "template": { "metadata": change } } });
    cluster
        .0
        .wait("the policy", || Ok(patch(OPERATOR, &json!({ "spec": { "replicas": 1 } })).is_err()))
        .unwrap();
    for good in [
        json!({ "metadata": { "labels": { "kagenti.io/type": "agent", "agent.kagenti.dev/runtime": "weather" } } }),
        template(
            json!({ "labels": { "kagenti.io/type": "agent" }, "annotations": { "countersign.dev/sidecar": "proxy-sidecar",
            "countersign.dev/sidecar-config": "a", "countersign.dev/sidecar-spiffe": "workload-api",
            "kagenti.io/config-hash": "h", "kagenti.io/mtls-mode": "strict" } }),
        ),
    ] {
        patch(OPERATOR, &good).unwrap();
    }
    let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u" }]);
    for bad in [
        json!({ "spec": { "replicas": 3 } }),
        json!({ "spec": { "template": { "spec": { "hostNetwork": true } } } }),
        json!({ "metadata": { "annotations": { "other": "x" } } }),
        json!({ "metadata": { "labels": { "own": null } } }),
        json!({ "metadata": { "ownerReferences": owner } }),
        json!({ "metadata": { "finalizers": ["example.org/hang"] } }),
        template(json!({ "annotations": { "sidecar.istio.io/inject": "false" } })),
        template(json!({ "annotations": { "own": "changed" } })),
        template(json!({ "annotations": { "own": null } })),
        template(json!({ "labels": { "own": null } })),
    ] {
        let refused = patch(OPERATOR, &bad).unwrap_err();
        assert!(refused.contains("its own labels and annotations"), "{bad}: {refused}");
        patch(TENANT, &bad).unwrap();
    }
    cluster.create_dry(OPERATOR, &config_map("team1", "authbridge-config-weather", None, "x")).unwrap();
    for name in ["other", "kube-root-ca.crt"] {
        cluster.create_dry(OPERATOR, &config_map("team1", name, None, "x")).unwrap_err();
    }
    cluster.create_dry(OPERATOR, &deployment).unwrap_err();
}

#[test]
fn the_operators_account_changes_sandboxes_as_it_does_deployments_and_deletes_their_pods_alone() {
    let cluster = Cluster::guarded();
    cluster.0.apply(PATCHES).unwrap();
    cluster.0.apply(SANDBOXES).unwrap();
    let own = json!({ "own": "kept" });
    let sandbox = json!({ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
        "metadata": { "name": "weather", "namespace": "team1", "labels": own, "annotations": own },
        "spec": { "podTemplate": { "metadata": { "labels": own },
            "spec": { "containers": [{ "name": "agent", "image": "agent" }] } } } });
    cluster.0.wait("the kind", || Ok(cluster.0.apply(&sandbox.to_string()).is_ok())).unwrap();
    let patch = |user: &str, change: &Value| {
        let what = ["-n", "team1", "patch", "sandbox", "weather", "--type=merge", "--dry-run=server", "-p"];
        cluster.run(user, &[&what[..], &[&change.to_string()]].concat())
    };
    let paused = json!({ "spec": { "replicas": 0 } });
    cluster.0.wait("the policy", || Ok(patch(OPERATOR, &paused).is_err())).unwrap();
    let template = |change: Value| json!({ "spec": { "podTemplate": { "metadata": change } } });
    for good in [
        json!({ "metadata": { "labels": { "kagenti.io/type": "agent", "agent.kagenti.dev/runtime": "weather" },
            "annotations": { "countersign.dev/replaced-pod": "u" } } }),
        json!({ "metadata": { "annotations": { "countersign.dev/released-pod": "u" } } }),
        template(json!({ "labels": { "kagenti.io/type": "agent" },
            "annotations": { "kagenti.io/config-hash": "h", "countersign.dev/sidecar": "proxy-sidecar" } })),
    ] {
        patch(OPERATOR, &good).unwrap();
    }
    for bad in [
        paused,
        json!({ "spec": { "service": true } }),
        json!({ "spec": { "podTemplate": { "spec": { "hostNetwork": true } } } }),
        json!({ "metadata": { "annotations": { "agents.x-k8s.io/pod-name": "x" } } }),
        json!({ "metadata": { "labels": { "own": null } } }),
        template(json!({ "annotations": { "sidecar.istio.io/inject": "false" } })),
        template(json!({ "labels": { "own": "changed" } })),
    ] {
        let refused = patch(OPERATOR, &bad).unwrap_err();
        assert!(refused.contains("its own labels and annotations"), "{bad}: {refused}");
        patch(TENANT, &bad).unwrap();
    }
    let another = serde_json::from_str(&sandbox.to_string().replace("weather", "other")).unwrap();
    cluster.create_dry(OPERATOR, &another).unwrap_err();

    // A Pod of a Sandbox goes, and no other one.
    let mut boxed = controlled(&pod("boxed", &[]), "Sandbox");
    boxed["metadata"]["ownerReferences"][0]["apiVersion"] = json!("agents.x-k8s.io/v1alpha1");
    cluster.create("system:serviceaccount:agent-sandbox-system:agent-sandbox-controller", &boxed);
    cluster.create(TENANT, &pod("plain", &[]));
    let mut named = pod("named", &[]);
    named["metadata"]["ownerReferences"] = json!([{ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "name": "weather", "uid": "u" }]);
    cluster.create(TENANT, &named);
    let delete = |user: &str, name: &str| {
        cluster.run(user, &["-n", "team1", "delete", "pod", name, "--dry-run=server"])
    };
    delete(OPERATOR, "boxed").unwrap();
    for name in ["plain", "named"] {
        let refused = delete(OPERATOR, name).unwrap_err();
        assert!(refused.contains("Pods of Sandboxes"), "{name}: {refused}");
        delete(TENANT, name).unwrap();
    }
}

#[test]
fn the_configuration_of_a_sidecar_is_the_operators_to_write() {
    let cluster = Cluster::guarded();
    cluster.0.apply(CONFIGS).unwrap();
    let map = |key: &str| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "authbridge-config-weather", "namespace": "team1" }, "data": { key: "mode: x" } })
    };
    let ours = map("countersign.yaml");
    cluster.0.wait("the policy", || Ok(cluster.create_dry(TENANT, &ours).is_err())).unwrap();
    // That of the existing operator, and whatever else has such a name.
    cluster.create_dry(TENANT, &map("config.yaml")).unwrap();
    let mut binary = map("config.yaml");
    binary["binaryData"] = json!({ "countersign.yaml": "bW9kZTogeA==" });
    let mut unchangeable = map("config.yaml");
    unchangeable["immutable"] = json!(true);
    for planted in [binary, unchangeable] {
        let refused = cluster.create_dry(TENANT, &planted).unwrap_err();
        assert!(
            refused.contains("the ConfigMap authbridge-config-weather configures a sidecar"),
            "{refused}"
        );
    }
    cluster.create(OPERATOR, &ours);
    let change = |user: &str, patch: &str| {
        let map = [
            "-n",
            "team1",
            "patch",
            "configmap",
            "authbridge-config-weather",
            "--type=merge",
            "--dry-run=server",
        ];
        cluster.run(user, &[&map[..], &["-p", patch]].concat())
    };
    let opened = r#"{"data":{"countersign.yaml":"pipeline: {dangerously_allow_unauthenticated: true}"}}"#;
    let dropped = r#"{"data":{"countersign.yaml":null}}"#;
    for patch in [opened, dropped, r#"{"metadata":{"labels":{"a":"b"}}}"#] {
        for user in [TENANT, OWNER] {
            let refused = change(user, patch).unwrap_err();
            assert!(
                refused.contains("change authbridge-runtime-config or the AgentRuntime instead"),
                "{refused}"
            );
        }
        change(OPERATOR, patch).unwrap();
        change(ADMINISTRATOR, patch).unwrap();
    }
    change(GARBAGE_COLLECTOR, opened).unwrap_err();
    change(GARBAGE_COLLECTOR, r#"{"metadata":{"ownerReferences":null}}"#).unwrap();
    let delete = ["-n", "team1", "delete", "configmap", "authbridge-config-weather", "--dry-run=server"];
    let every = "/api/v1/namespaces/team1/configmaps?fieldSelector=metadata.name%3Dauthbridge-config-weather&dryRun=All";
    let every = ["delete", "--raw", every];
    for delete in [&delete[..], &every[..]] {
        cluster.run(TENANT, delete).unwrap_err();
        cluster.run(GARBAGE_COLLECTOR, delete).unwrap();
    }
}

//! `countersign plan`.

use crate::authority::{TRUST, card, world};
use crate::run::{Folder, Run};
use serde_json::{Value, json};

const API_SERVER: [&str; 2] = ["--api-server", "10.0.0.1:6443"];

fn agent(name: &str, service_account: &str) -> String {
    let labels = json!({ "app": name, "kagenti.io/type": "agent" });
    let own = json!({ "app": name, "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": "demo", "labels": own },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "serviceAccountName": service_account, "containers": [{ "name": "agent", "image": "agent" }] },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "demo" },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 8000 }] },
    });
    format!("{deployment}\n---\n{service}\n")
}

fn config_map(name: &str, key: &str, text: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "demo" },
        "data": { key: text },
    })
    .to_string()
}

fn plan(folder: &Folder, more: &[&str]) -> Run {
    folder.run(&[&["plan", "-f", "manifests"][..], &TRUST, &API_SERVER, more].concat())
}

/// A folder with `manifests/` for the agent `weather` and its signed card.
fn manifests(name: &str) -> Folder {
    let (folder, _) = world(name);
    std::fs::create_dir(folder.path().join("manifests")).unwrap();
    folder.write("manifests/agent.yaml", agent("weather", "weather"));
    let signed = folder.read("signed.json");
    folder.write("manifests/card.json", config_map("weather-card-signed", "signed-agent-card.json", &signed));
    folder
}

fn reasons(run: &Run) -> Vec<String> {
    let json = run.json();
    let objects = json["objects"].as_array().unwrap().clone();
    objects
        .iter()
        .map(|object| {
            object["metadata"]["annotations"]["agent.kagenti.dev/reason"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn a_verified_agent_gets_its_policies_behind_the_verdict() {
    let folder = manifests("plan-verified");
    let run = plan(&folder, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    let verdict = "# Deployment demo/weather verified: signed by\n# spiffe://example.org/ns/demo/sa/weather over spec841\n";
    let shared = "# Namespace demo isolated: every labelled agent in it, verified or not\n";
    for (because, times) in [(shared, 2), (verdict, 1)] {
        let comment = format!("---\n{because}apiVersion: networking.k8s.io/v1\n");
        assert_eq!(run.stdout.matches(&comment).count(), times, "{}", run.stdout);
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(&run.stdout).unwrap();
    let json = plan(&folder, &["-o", "json"]);
    assert_eq!(Value::Array(documents), json.json()["objects"], "both outputs hold the same objects");
    assert_eq!(reasons(&json), ["Enrolled", "Enrolled", "Verified"]);
}

#[test]
fn a_refused_agent_is_a_result_and_gets_the_restrictive_policies() {
    let folder = manifests("plan-refused");
    for (manifest, reason) in [
        (agent("weather", "other"), "IdentityMismatch"),
        (
            agent("weather", "weather").replace("\"kind\":\"Service\"", "\"kind\":\"Other\""),
            "EndpointNotOwned",
        ),
    ] {
        folder.write("manifests/agent.yaml", manifest);
        let run = plan(&folder, &["-o", "json"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(reasons(&run), ["Enrolled", "Enrolled", reason]);
    }
    std::fs::remove_file(folder.path().join("manifests/card.json")).unwrap();
    folder.write("manifests/agent.yaml", agent("weather", "weather"));
    let run = plan(&folder, &["-o", "json"]);
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "FetchFailed"]);
    let because = run.json()["workloads"][0]["because"].as_str().unwrap().to_owned();
    let next = "this says nothing about the agent: to judge its card here, sign it with `countersign sign` and add it as the \
                ConfigMap weather-card-signed";
    assert!(because.contains(next), "{because}");
}

#[test]
fn an_agent_card_owns_the_policy_and_may_bring_the_trust_domain() {
    let folder = manifests("plan-card");
    let bundle = folder.read("bundle.pem");
    folder.write("manifests/bundle.yaml", config_map("spire-bundle", "bundle.crt", &bundle));
    let card = json!({
        "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": "mine", "namespace": "demo", "uid": "3f0c6f0e-0000-4000-8000-000000000001" },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" },
            "identityBinding": { "trustDomain": "example.org" },
        },
    });
    folder.write("manifests/agentcard.yaml", card.to_string());
    let run = folder.run(&[&["plan", "-f", "manifests", "-o", "json"][..], &API_SERVER].concat());
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "Verified"], "{}", run.stderr);
    assert_eq!(run.json()["objects"][2]["metadata"]["ownerReferences"][0]["name"], "mine");
    folder.write("manifests/agentcard.yaml", card.to_string().replace("\"weather\"", "\"elsewhere\""));
    let run = plan(&folder, &[]);
    assert!(run.stderr.contains("AgentCard demo/mine names no workload"), "{}", run.stderr);
}

#[test]
fn what_is_not_read_and_what_is_assumed_is_said() {
    let folder = manifests("plan-notes");
    let role =
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "r" } });
    folder.write("manifests/role.yaml", role.to_string());
    let run = folder.run(&[&["plan", "-f", "manifests"][..], &TRUST].concat());
    assert_eq!(run.code, 0);
    assert!(
        run.stderr.contains("note: \"Role\" \"r\" in \"manifests/role.yaml\" is not read\n"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("the API server is assumed at 10.96.0.1:443"), "{}", run.stderr);
    let audit = plan(&folder, &["--mode", "audit"]);
    assert!(
        audit.stdout.starts_with("# Deployment demo/weather verified") && !audit.stdout.contains("kind:")
    );
}

#[test]
fn lists_standard_input_and_several_files_are_read_alike() {
    let folder = manifests("plan-lists");
    let items: Vec<Value> = serde_saphyr::from_multiple(&agent("weather", "weather")).unwrap();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    let expected = plan(&folder, &[]).stdout;
    let arguments = [&["plan", "-f", "-", "manifests/card.json"][..], &TRUST, &API_SERVER].concat();
    let run = folder.run_fed(list.as_bytes(), &arguments);
    assert_eq!(run.stdout, expected, "{}", run.stderr);
}

#[test]
fn manifests_that_cannot_be_read_are_named() {
    let folder = manifests("plan-broken");
    let refused = |text: &str, says: &str| {
        folder.write("manifests/broken.yaml", text);
        plan(&folder, &[]).assert_unusable(says);
    };
    refused("a: [", "error: \"manifests/broken.yaml\" line 1 column 4: it is not YAML: ");
    refused(
        "apiVersion: v1\nkind: Service\nkind: Pod\n",
        "\"manifests/broken.yaml\" line 3 column 1: \"kind\" is there twice",
    );
    refused(
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: 5}\n",
        "\"Service\" \"s\" in \"manifests/broken.yaml\" cannot be read: spec.ports: it is a number, expected a list",
    );
    refused(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: s}\nspec: {template: {metadata: {labels: {app: true}}}}\n",
        "\"DaemonSet\" \"s\" in \"manifests/broken.yaml\" cannot be read: the label \"app\" in \
         spec.template.metadata.labels is \"true\", which is no text: write it in quotes",
    );
    refused(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: s, labels: {app: 5}}\n",
        "the label \"app\" in metadata.labels is \"5\"",
    );
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: s, labels: [app]}\n",
        "\"Pod\" \"s\" in \"manifests/broken.yaml\" cannot be read",
    );
    refused("", "is empty");
    std::fs::remove_file(folder.path().join("manifests/broken.yaml")).unwrap();
    folder.run(&["plan", "-f", "manifests"]).assert_unusable("--trust-domain");
    folder
        .run(&["plan", "-f", "manifests", "--trust-domain", "example.org"])
        .assert_unusable("add --bundle FILE");
    std::fs::remove_file(folder.path().join("manifests/agent.yaml")).unwrap();
    plan(&folder, &[]).assert_unusable("no agent is among the manifests");
}

#[test]
fn agents_under_the_newer_names_are_planned_for_and_told_of() {
    let folder = manifests("plan-renamed");
    let renamed = agent("weather", "weather").replace("kagenti.io/", "rossoctl.io/");
    folder.write("manifests/agent.yaml", &renamed);
    let card = json!({
        "apiVersion": "agent.rossoctl.dev/v1alpha1", "kind": "AgentCard",
        "metadata": { "name": "mine", "namespace": "demo" },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" },
            "identityBinding": { "trustDomain": "partner.example" } },
    });
    folder.write("manifests/agentcard.yaml", card.to_string());
    let run = plan(&folder, &["-o", "json"]);
    // The operator does not serve the AgentCard, so its trust domain does not count either.
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "Verified"], "{}", run.stderr);
    let json = run.json();
    assert_eq!(json["objects"][2]["metadata"]["labels"]["kagenti.dev/agentcard"], "weather-deployment-card");
    assert_eq!(json["workloads"][0]["enrolledBy"], "rossoctl.io/type");
    let names: Vec<_> = (0..2).map(|index| json["objects"][index]["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["countersign-baseline-rossoctl", "countersign-minimum-rossoctl"]);
    for index in 0..2 {
        let selector = &json["objects"][index]["spec"]["podSelector"]["matchLabels"];
        assert_eq!(selector, &json!({ "rossoctl.io/type": "agent" }));
    }
    for line in [
        "note: Deployment demo/weather is enrolled by the label rossoctl.io/type\n",
        "warning: AgentCard demo/mine is of agent.rossoctl.dev/v1alpha1, which the operator does not serve; \
         apply it as agent.kagenti.dev/v1alpha1\n",
    ] {
        assert!(run.stderr.contains(line), "{}", run.stderr);
    }
    std::fs::remove_file(folder.path().join("manifests/agentcard.yaml")).unwrap();
    let both = renamed.replace("\"rossoctl.io/type\"", "\"kagenti.io/type\":\"tool\",\"rossoctl.io/type\"");
    folder.write("manifests/agent.yaml", both);
    let run = plan(&folder, &["-o", "json"]);
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "LabelsConflict"], "{}", run.stderr);
    let because = run.json()["workloads"][0]["because"].as_str().unwrap().to_owned();
    assert!(because.contains("kagenti.io/type=\"tool\" and rossoctl.io/type=\"agent\""), "{because}");
}

#[test]
fn documents_that_are_no_objects_are_passed_over_with_a_line() {
    let folder = manifests("plan-no-objects");
    let expected = plan(&folder, &[]).stdout;
    folder.write("manifests/values.yaml", "replicas: 2\nimage: {tag: v1}\n");
    folder.write("manifests/json-patch.yaml", "- {op: remove, path: /spec/replicas}\n");
    folder.write(
        "manifests/patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: weather, namespace: demo}\n\
         spec: {template: {spec: {containers: [{name: agent, image: other}]}}}\n",
    );
    let run = plan(&folder, &[]);
    assert_eq!((run.code, &run.stdout), (0, &expected), "{}", run.stderr);
    for file in ["values", "json-patch"] {
        let line = format!(
            "note: a document in \"manifests/{file}.yaml\" without `apiVersion` and `kind` is not read\n"
        );
        assert!(run.stderr.contains(&line), "{}", run.stderr);
    }
    let patch =
        "note: \"Deployment\" \"weather\" without `spec.selector` in \"manifests/patch.yaml\" is not read\n";
    assert!(run.stderr.contains(patch), "{}", run.stderr);
    for (text, line) in [
        (
            "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: old}\n",
            "\"Deployment\" \"old\" in \"manifests/patch.yaml\" (its apiVersion is \"extensions/v1beta1\"; a \
             Deployment is read in apps/v1)",
        ),
        (
            "apiVersion: apps/v1\nkind: Deploymnt\nmetadata: {name: old}\n",
            "\"Deploymnt\" \"old\" in \"manifests/patch.yaml\" (did you mean Deployment?)",
        ),
        ("apiVersion: v1\nmetadata: {name: old}\n", "a document in \"manifests/patch.yaml\" without `kind`"),
        ("kind: Pod\nmetadata: {name: old}\n", "a document in \"manifests/patch.yaml\" without `apiVersion`"),
    ] {
        folder.write("manifests/patch.yaml", text);
        let run = plan(&folder, &[]);
        assert!(run.stderr.contains(&format!("note: {line} is not read\n")), "{}", run.stderr);
    }
    // Without an agent no bundle is asked for.
    std::fs::remove_file(folder.path().join("manifests/agent.yaml")).unwrap();
    let run = folder.run(&["plan", "-f", "manifests"]);
    run.assert_unusable(
        "no agent is among the manifests; label its workload kagenti.io/type=agent or rossoctl.io/type=agent",
    );
    assert!(run.stderr.contains("not read: a document in \"manifests/json-patch.yaml\""), "{}", run.stderr);
}

#[test]
fn a_kustomization_is_named_with_what_to_do() {
    let folder = manifests("plan-kustomization");
    let expected = plan(&folder, &[]).stdout;
    folder.write(
        "manifests/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [agent.yaml]\n",
    );
    let run = plan(&folder, &[]);
    assert_eq!((run.code, &run.stdout), (0, &expected), "{}", run.stderr);
    for part in
        ["Kustomization in \"manifests/kustomization.yaml\"", "kubectl kustomize DIR | countersign plan -f -"]
    {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
}

#[test]
fn egress_is_open_unless_agents_are_to_keep_to_each_other() {
    let folder = manifests("plan-egress");
    let egress = |more: &[&str]| {
        let run = plan(&folder, &[&["-o", "json"], more].concat());
        run.json()["objects"][2]["spec"]["egress"].clone()
    };
    assert_eq!(egress(&[]), json!([{}]));
    let closed = egress(&["--egress", "agents"]);
    let to: Vec<_> = closed.as_array().unwrap().iter().filter(|rule| rule["to"].is_array()).collect();
    assert_eq!(to.len(), closed.as_array().unwrap().len(), "{closed}");
}

#[test]
fn a_host_of_an_ingress_counts_below_a_domain_that_somebody_named() {
    let folder = manifests("plan-ingress");
    let mut card = card();
    card["supportedInterfaces"][0]["url"] = "https://weather.agents.example/a2a".into();
    folder.write("card.json", card.to_string());
    let signed =
        folder.run(&["sign", "card.json", "--key", "svid.key", "--chain", "svid.pem", "-o", "other.json"]);
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    let signed = folder.read("other.json");
    folder.write("manifests/card.json", config_map("weather-card-signed", "signed-agent-card.json", &signed));
    let path = json!({ "path": "/", "pathType": "Prefix",
        "backend": { "service": { "name": "weather", "port": { "number": 8000 } } } });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": "weather", "namespace": "demo" },
        "spec": { "rules": [{ "host": "weather.agents.example", "http": { "paths": [path] } }] },
    });
    folder.write("manifests/ingress.json", ingress.to_string());
    for (more, reason) in [
        (&[][..], "EndpointNotOwned"),
        (&["--ingress-host-suffix", "gents.example"], "EndpointNotOwned"),
        (&["--ingress-host-suffix", "agents.example"], "Verified"),
        (&["--ingress-host-suffix", "demo:agents.example"], "Verified"),
        (&["--ingress-host-suffix", "other:agents.example"], "EndpointNotOwned"),
    ] {
        let run = plan(&folder, &[&["-o", "json"], more].concat());
        assert_eq!(reasons(&run), ["Enrolled", "Enrolled", reason], "{more:?} {}", run.stderr);
    }
    folder
        .run(&[&["plan", "-f", "manifests"][..], &TRUST, &["--ingress-host-suffix", "*.example"]].concat())
        .assert_unusable("is not a domain");
}

#[test]
fn the_identity_template_is_that_of_the_operator() {
    let folder = manifests("plan-template");
    let other = ["-o", "json", "--spiffe-id-template", "spiffe://{trustDomain}/{namespace}/{serviceAccount}"];
    assert_eq!(reasons(&plan(&folder, &other)), ["Enrolled", "Enrolled", "IdentityMismatch"]);
    let wrong = plan(&folder, &["--spiffe-id-template", "spiffe://{trustDomain}/all"]);
    wrong.assert_unusable("{namespace}");
}

#[test]
fn a_sandbox_is_planned_for_like_every_workload() {
    let folder = manifests("plan-sandbox");
    let labels = json!({ "app": "weather", "kagenti.io/type": "agent" });
    let own = json!({ "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" });
    let sandbox = |template: Value| {
        json!({ "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
            "metadata": { "name": "weather", "namespace": "demo", "labels": own },
            "spec": { "podTemplate": template } })
    };
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "weather", "namespace": "demo" },
        "spec": { "clusterIP": "None", "selector": { "app": "weather" } } });
    let template = json!({ "metadata": { "labels": labels },
        "spec": { "serviceAccountName": "weather", "containers": [{ "name": "agent", "image": "agent" }] } });
    folder.write("manifests/agent.yaml", format!("{}\n---\n{service}\n", sandbox(template)));
    let run = plan(&folder, &["-o", "json"]);
    assert!(reasons(&run).contains(&"Verified".to_owned()), "{:?}", reasons(&run));
    folder.write("manifests/agent.yaml", sandbox(json!("none")).to_string());
    let run = plan(&folder, &[]);
    assert!(run.stderr.contains("\"Sandbox\" \"weather\" in"), "{}", run.stderr);
}

/// The lines about workloads: name, and why they are planned for as they are.
fn told(run: &Run) -> Vec<(String, String)> {
    let json = run.json();
    let all = json["workloads"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|one| (text(&one["workload"]), text(&one["because"]))).collect()
}

#[test]
fn what_the_operator_takes_for_no_agent_is_named_with_what_it_does() {
    let folder = manifests("plan-no-agents");
    let labels = json!({ "app": "x", "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" });
    let object = |version: &str, kind: &str, own: &Value, pods: &Value| {
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x", "namespace": "demo", "labels": own },
            "spec": { "selector": { "matchLabels": { "app": "x" } },
                "template": { "metadata": { "labels": pods }, "spec": { "containers": [] } } } })
    };
    let none = json!({ "app": "x" });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "namespace": "demo", "labels": labels },
        "spec": { "containers": [] } });
    let mut owned = pod.clone();
    owned["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u", "controller": true }]);
    let typed = json!({ "app": "x", "kagenti.io/type": "agent" });
    let mistyped = json!({ "kagenti.io/type": "Agent", "protocol.kagenti.io/a2a": "" });
    for (manifest, says, isolates) in [
        (
            object("apps/v1", "DaemonSet", &labels, &labels),
            Some("its kind is not watched, so the Pods are isolated"),
            true,
        ),
        (
            object("apps/v1", "DaemonSet", &labels, &none),
            Some("the label kagenti.io/type: agent does nothing"),
            false,
        ),
        (object("batch/v1", "Job", &none, &labels), Some("its kind is not watched"), true),
        (pod, Some("its kind is not watched"), true),
        (object("apps/v1", "Deployment", &none, &labels), Some("in the Pod template alone"), true),
        (object("apps/v1", "Deployment", &none, &none), None, false),
        (
            object("apps/v1", "Deployment", &mistyped, &none),
            Some(
                "the label kagenti.io/type is \"Agent\", which enrols nobody: to make it an agent, write kagenti.io/type: agent",
            ),
            false,
        ),
        (
            object("apps/v1", "Deployment", &json!({ "protocol.kagenti.io/a2a": "" }), &none),
            Some("it names the protocol \"a2a\" and has no label kagenti.io/type"),
            false,
        ),
        (object("apps/v1", "DaemonSet", &none, &mistyped), Some("is \"Agent\", which enrols nobody"), false),
        (
            object("apps/v1", "Deployment", &typed, &typed),
            Some("protocol.kagenti.io/a2a: \"\" to the workload"),
            true,
        ),
    ] {
        folder.write("manifests/agent.yaml", manifest.to_string());
        let run = plan(&folder, &["-o", "json"]);
        let Some(says) = says else {
            run.assert_unusable("no agent is among the manifests");
            continue;
        };
        assert_eq!(run.code, 0, "{manifest}: {}", run.stderr);
        let told = told(&run);
        assert!(told.len() == 1 && told[0].1.contains(says), "{manifest}: {told:?}");
        let reasons = reasons(&run);
        assert_eq!(
            reasons.iter().filter(|reason| *reason == "Enrolled").count(),
            if isolates { 2 } else { 0 }
        );
        assert!(!reasons.contains(&"Verified".to_owned()), "{reasons:?}");
        let text = plan(&folder, &[]).stdout;
        assert!(text.contains(&format!("# {}", told[0].0)), "{text}");
    }
    // What belongs to another object is told of with that.
    folder.write("manifests/agent.yaml", owned.to_string());
    let run = plan(&folder, &["-o", "json"]);
    assert_eq!((run.code, told(&run), reasons(&run)), (0, Vec::new(), Vec::new()), "{}", run.stderr);
}

#[test]
fn an_agent_whose_pod_template_lacks_the_label_is_told_where_to_put_it() {
    let folder = manifests("plan-unlabelled-template");
    let labelled = agent("weather", "weather");
    let unlabelled =
        labelled.replace(r#"{"app":"weather","kagenti.io/type":"agent"}"#, r#"{"app":"weather"}"#);
    for (family, manifest) in [("kagenti", &labelled), ("kagenti", &unlabelled), ("rossoctl", &unlabelled)] {
        let is_labelled = manifest == &labelled;
        folder.write("manifests/agent.yaml", manifest.replace("kagenti", family));
        let run = plan(&folder, &[]);
        let says = format!(
            "warning: Deployment demo/weather: the Pod template lacks the label {family}.io/type: agent, so the Pods stay \
             isolated and no verified agent reaches them: add it to metadata.labels of the Pod template"
        );
        assert_eq!(run.stderr.contains(&says), !is_labelled, "{family}: {}", run.stderr);
    }
}

#[test]
fn callers_are_named_as_for_the_operator_and_by_the_older_flag() {
    let folder = manifests("plan-callers");
    let planned = |flag: &str, value: &str| plan(&folder, &["-o", "json", flag, value]);
    let whole = planned("--caller", "gateway");
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    assert!(whole.stdout.contains("\"kubernetes.io/metadata.name\": \"gateway\""), "{}", whole.stdout);
    assert_eq!(planned("--allow-caller", "gateway").stdout, whole.stdout);
    let some = planned("--caller", "ui:app=web,tier=front");
    assert!(some.stdout.contains("\"tier\": \"front\""), "{}", some.stdout);
    for (value, says) in [("A", "the namespace is not valid"), ("ui:app", "a label has no `=`")] {
        planned("--caller", value).assert_unusable(says);
    }
    let help = folder.run(&["plan", "--help"]).stdout;
    assert!(help.contains("--caller") && !help.contains("--allow-caller"), "{help}");
}

#[test]
fn a_workload_with_more_labels_than_are_read_is_refused_as_the_operator_refuses_it() {
    let folder = manifests("plan-many-labels");
    let many = |count: usize| {
        let labels: Vec<String> = (0..count).map(|number| format!("\"l{number}\":\"x\",")).collect();
        agent("weather", "weather").replacen("\"labels\":{", &format!("\"labels\":{{{}", labels.concat()), 1)
    };
    // Three labels are there already.
    for (count, reason) in [(125, "Verified"), (126, "LabelsTooMany")] {
        folder.write("manifests/agent.yaml", many(count));
        let run = plan(&folder, &["-o", "json"]);
        assert_eq!(reasons(&run), ["Enrolled", "Enrolled", reason], "{}", run.stderr);
    }
    let because = told(&plan(&folder, &["-o", "json"]))[0].1.clone();
    assert!(because.contains("the workload has 129 labels, and 128 are read"), "{because}");
}

#[test]
fn an_agent_card_makes_no_workload_an_agent() {
    let folder = manifests("plan-card-alone");
    let card = |kind: &str| {
        json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentCard",
            "metadata": { "name": "mine", "namespace": "demo" },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": kind, "name": "plain" } } })
        .to_string()
    };
    let plain = agent("plain", "plain").replace("kagenti.io/", "example.org/");
    folder.write("manifests/plain.yaml", plain);
    for (kind, says) in [
        (
            "Deployment",
            "Deployment demo/plain, which is not labelled as an agent; the operator refuses it with NotAgentWorkload",
        ),
        ("DaemonSet", "a kind that is not watched; the operator refuses it with WorkloadNotFound"),
    ] {
        folder.write("manifests/agentcard.yaml", card(kind));
        let run = plan(&folder, &["-o", "json"]);
        assert!(run.stderr.contains(&format!("AgentCard demo/mine points at {says}")), "{}", run.stderr);
        assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "Verified"], "that of weather alone");
    }
}

#[test]
fn a_workload_that_names_no_protocol_is_refused_as_the_operator_refuses_it() {
    let folder = manifests("plan-protocol");
    let without = agent("weather", "weather").replace("protocol.kagenti.io/a2a", "other");
    for (manifest, reason, says) in [
        (without, "NoCard", "add the label protocol.kagenti.io/a2a: \"\""),
        (
            agent("weather", "weather").replace("kagenti.io/a2a", "kagenti.io/mcp"),
            "ProtocolMissing",
            "unsupported protocol",
        ),
    ] {
        folder.write("manifests/agent.yaml", manifest);
        let run = plan(&folder, &["-o", "json"]);
        assert_eq!(reasons(&run), ["Enrolled", "Enrolled", reason], "{}", run.stderr);
        let because = told(&run)[0].1.clone();
        assert!(because.starts_with("refused: ProtocolMissing") && because.contains(says), "{because}");
    }
}

#[test]
fn the_labels_of_a_namespace_decide_about_its_mode_and_its_isolation() {
    let folder = manifests("plan-namespaces");
    let namespace = |name: &str, labels: Value| {
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
            .to_string()
    };
    let planned = |name: &str, labels: Value, more: &[&str]| {
        folder.write("manifests/namespace.json", namespace(name, labels));
        plan(&folder, &[&["-o", "json"], more].concat())
    };
    let mode = |word: &str| json!({ "countersign.dev/mode": word });
    let audited = planned("demo", mode("audit"), &[]);
    assert_eq!(reasons(&audited), Vec::<String>::new());
    assert!(audited.stderr.contains("Namespace demo is audited by its label"), "{}", audited.stderr);
    let enforced = planned("demo", mode("enforce"), &["--mode", "audit"]);
    assert_eq!(reasons(&enforced), ["Enrolled", "Enrolled", "Verified"]);
    let misspelt = planned("demo", mode("Audit"), &[]);
    assert_eq!(reasons(&misspelt).len(), 3);
    assert!(misspelt.stderr.contains("countersign.dev/mode=\"Audit\" is no mode"), "{}", misspelt.stderr);

    let enrolled = json!({ "countersign.dev/enrolled": "true" });
    let run = planned("team", enrolled.clone(), &[]);
    let of_team = |run: &Run| {
        let objects = run.json()["objects"].as_array().unwrap().clone();
        objects.iter().filter(|object| object["metadata"]["namespace"] == "team").count()
    };
    assert_eq!(of_team(&run), 4, "two for each family");
    // Without an agent no bundle is asked for.
    std::fs::remove_file(folder.path().join("manifests/agent.yaml")).unwrap();
    let alone = folder.run(&[&["plan", "-f", "manifests", "-o", "json"][..], &API_SERVER].concat());
    assert_eq!((alone.code, of_team(&alone)), (0, 4), "{}", alone.stderr);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "namespace": "team" },
        "spec": { "containers": [] } });
    folder.write("manifests/agent.yaml", pod.to_string());
    let run = planned("team", enrolled, &[]);
    assert!(told(&run)[0].1.contains("the guards of the chart refuse them"), "{:?}", told(&run));
}

#[test]
fn pods_on_the_network_of_their_node_are_told_of_because_no_policy_holds_them() {
    let folder = manifests("plan-host-network");
    let on_host =
        agent("weather", "weather").replace("\"containers\"", "\"hostNetwork\":true,\"containers\"");
    folder.write("manifests/agent.yaml", on_host);
    let run = plan(&folder, &["-o", "json"]);
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "HostNetwork"], "{}", run.stderr);
    let told = "warning: Deployment demo/weather: its Pods use the network of their node (hostNetwork: true), where no \
                NetworkPolicy holds: the policies of this plan neither isolate nor open them; take hostNetwork off";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    let because = run.json()["workloads"][0]["because"].as_str().unwrap().to_owned();
    assert!(because.contains("network of their node"), "{because}");
    // What is isolated by its label alone is not either.
    let daemon_set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "every", "namespace": "demo" },
        "spec": { "selector": { "matchLabels": { "app": "every" } }, "template": {
            "metadata": { "labels": { "app": "every", "kagenti.io/type": "agent" } },
            "spec": { "hostNetwork": true, "containers": [] } } },
    });
    folder.write("manifests/agent.yaml", agent("weather", "weather"));
    folder.write("manifests/daemons.json", daemon_set.to_string());
    let run = plan(&folder, &[]);
    let warned = "warning: DaemonSet demo/every: its Pods use the network of their node";
    assert_eq!(run.stderr.matches(warned).count(), 1, "{}", run.stderr);
    assert!(!run.stderr.contains("demo/weather: its Pods use"), "{}", run.stderr);
}

#[test]
fn a_template_that_asks_for_a_sidecar_keeps_callers_to_the_ports_that_it_declares() {
    let folder = manifests("plan-sidecar");
    let ports = |run: &Run| {
        let objects = run.json()["objects"].as_array().unwrap().clone();
        objects.iter().map(|object| object["spec"]["ingress"][0]["ports"].clone()).collect::<Vec<_>>()
    };
    let declared = agent("weather", "weather").replace(
        r#""image":"agent""#,
        r#""ports":[{"containerPort":9000},{"containerPort":53,"protocol":"UDP"}]"#,
    );
    folder.write("manifests/agent.yaml", &declared);
    assert_eq!(ports(&plan(&folder, &["-o", "json"])), vec![Value::Null; 3]);
    let asking = declared.replace(
        r#""template":{"metadata":{"#,
        r#""template":{"metadata":{"annotations":{"countersign.dev/sidecar":"proxy-sidecar"},"#,
    );
    folder.write("manifests/agent.yaml", asking);
    let run = plan(&folder, &["-o", "json"]);
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "Verified"], "{}", run.stderr);
    let open = json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 9000 }]);
    assert_eq!(ports(&run), [Value::Null, Value::Null, open]);
}

#[test]
fn what_the_api_server_would_not_take_is_refused() {
    let folder = manifests("plan-invalid");
    let good = agent("weather", "weather");
    let long = "x".repeat(64);
    for (from, to, says) in [
        (
            "\"matchLabels\":{\"app\":\"weather\"}",
            "\"matchLabels\":{\"app\":\"wether\"}",
            "Deployment demo/weather: spec.selector does not select the labels of its own Pod template, so the API server \
             refuses it; correct the manifest",
        ),
        (
            "\"protocol.kagenti.io/a2a\":\"\"",
            "\"protocol.kagenti.io/a2a\":\"\",\"team\":\"a b\"",
            "the label \"team\" in metadata.labels is \"a b\", which no label may be: at most 63 letters, digits, `-`, `_` and \
             `.`, which begin and end with a letter or digit",
        ),
        ("\"serviceAccountName\"", "\"x\":1,\"serviceAccountName\"", ""),
        (
            "{\"labels\":{\"app\":\"weather\",\"kagenti.io/type\":\"agent\"}}",
            "{\"labels\":{\"app\":\"weather\",\"kagenti.io/type\":\"agent\",\"a/b/c\":\"x\"}}",
            "the key \"a/b/c\" in spec.template.metadata.labels is none of a label",
        ),
        (
            "\"protocol.kagenti.io/a2a\":\"\"",
            &format!("\"protocol.kagenti.io/a2a\":\"{long}\""),
            "which no label may be",
        ),
        ("\"selector\":{\"app\":\"weather\"}", "\"selector\":{\"app\":\"-\"}", "in spec.selector is \"-\""),
    ] {
        assert!(good.contains(from), "{from}\n{good}");
        folder.write("manifests/agent.yaml", good.replacen(from, to, 1));
        let run = plan(&folder, &[]);
        if says.is_empty() {
            assert_eq!(run.code, 0, "{}", run.stderr);
        } else {
            run.assert_unusable(says);
        }
    }
}

#[test]
fn too_many_labels_are_counted_and_their_object_is_named() {
    let folder = manifests("plan-labels");
    let good = agent("weather", "weather");
    let more: Vec<String> = (0..130).map(|number| format!("\"l{number:03}\":\"x\"")).collect();
    let template = "\"template\":{\"metadata\":{\"labels\":{\"app\":\"weather\",";
    assert!(good.contains(template), "{good}");
    folder
        .write("manifests/agent.yaml", good.replacen(template, &format!("{template}{},", more.join(",")), 1));
    let run = plan(&folder, &["-o", "json"]);
    assert_eq!(reasons(&run), ["Enrolled", "Enrolled", "LabelsTooMany"], "{}", run.stderr);
    let because = run.json()["workloads"][0]["because"].as_str().unwrap().to_owned();
    assert!(because.contains("the Pod template has 132 labels, and 128 are read"), "{because}");
}

/// A `DaemonSet` of Pods labelled as an agent's, in whose name a manifest of its own is hidden.
fn named_after_a_manifest(host_network: bool) -> String {
    let name = "x\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n#";
    let template = json!({ "metadata": { "labels": { "kagenti.io/type": "agent", "a": "b" } },
        "spec": { "containers": [], "hostNetwork": host_network } });
    json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": name, "namespace": "demo" },
        "spec": { "selector": { "matchLabels": { "a": "b" } }, "template": template } })
    .to_string()
}

#[test]
fn a_name_in_a_manifest_cannot_add_an_object_to_the_plan() {
    let folder = Folder::new("plan-injection");
    folder.write("set.json", named_after_a_manifest(false));
    let run = folder.run(&["plan", "-f", "set.json"]);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&run.stdout).unwrap();
    assert!(!documents.is_empty(), "{}", run.stderr);
    assert!(documents.iter().all(|one| one["kind"] == "NetworkPolicy"), "{}", run.stdout);
    let comments = run.stdout.lines().filter(|line| line.starts_with('#'));
    assert!(comments.into_iter().all(|line| line.chars().count() <= 80), "{}", run.stdout);
}

#[test]
fn a_name_in_a_manifest_cannot_forge_a_line_about_it() {
    let folder = Folder::new("plan-forged-lines");
    folder.write("set.json", named_after_a_manifest(true));
    let forged = "x\nwarning: forged \u{1b}[2J";
    let card = |version: &str| {
        json!({ "apiVersion": version, "kind": "AgentCard", "metadata": { "name": forged, "namespace": forged },
            "spec": { "targetRef": { "kind": "Deployment", "name": "none" } } })
    };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": forged, "labels": { "countersign.dev/mode": "nonsense" } } });
    for (file, object) in [
        ("card.json", card("agent.kagenti.dev/v1alpha1")),
        ("renamed.json", card("agent.rossoctl.dev/v1alpha1")),
        ("namespace.json", namespace),
    ] {
        folder.write(file, object.to_string());
    }
    let run = folder.run(&["plan", "-f", "."]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for told in ["hostNetwork: true", "names no workload", "does not serve", "is no mode"] {
        assert!(run.stderr.contains(told), "{told}: {}", run.stderr);
    }
    let is_forged = |line: &str| !line.starts_with("warning: ") || line.starts_with("warning: forged");
    assert!(!run.stderr.lines().any(is_forged) && !run.stderr.contains('\u{1b}'), "{}", run.stderr);
}

#[test]
fn a_label_that_is_none_is_warned_of_where_nothing_is_planned_for_it() {
    let folder = manifests("plan-foreign-labels");
    let labelled = |version: &str, kind: &str, rest: Value| {
        let mut object = json!({ "apiVersion": version, "kind": kind,
            "metadata": { "name": "other", "namespace": "demo", "labels": { "cluster": "${CLUSTER_NAME}" } } });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object.to_string()
    };
    let documents = [
        labelled("v1", "ConfigMap", json!({})),
        labelled("v1", "Namespace", json!({})),
        labelled("networking.k8s.io/v1", "Ingress", json!({})),
        labelled("v1", "Service", json!({ "spec": { "selector": { "app": "other" } } })),
        labelled("apps/v1", "Deployment", json!({ "spec": { "replicas": 2 } })),
    ];
    folder.write("manifests/other.yaml", documents.join("\n---\n"));
    let run = plan(&folder, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = "the label \"cluster\" in metadata.labels is \"${CLUSTER_NAME}\"";
    assert_eq!(run.stderr.matches(told).count(), documents.len(), "{}", run.stderr);
    // What is planned for, and what decides which Pods a Service has, is refused.
    let service = labelled("v1", "Service", json!({ "spec": { "selector": { "app": "${APP}" } } }));
    let job = labelled(
        "batch/v1",
        "Job",
        json!({ "spec": { "template": { "metadata": { "labels": { "kagenti.io/type": "agent" } } } } }),
    );
    for (document, says) in [(service, "\"app\" in spec.selector"), (job, "\"cluster\" in metadata.labels")] {
        folder.write("manifests/other.yaml", document);
        plan(&folder, &[]).assert_unusable(says);
    }
}

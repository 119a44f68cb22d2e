//! Injection as the API server has it done: again after somebody else's webhook, many times a second, and by an operator that
//! lacks something.

use crate::alone;
use countersign_cluster_tests::{
    Agents, FOREIGN, ForeignWebhook, Load, OWNER, Operator, PORT_LABEL, Scene, asking, fault_proxy, owner_of,
    told, within,
};
use countersign_plan::injection::{Injection, SidecarSettings, plan_injection};
use countersign_rig::{Api, Fault, Rule};
use serde_json::{Value, json};

const IMAGE: &str = "authbridge:1";
const NAME: &str = "countersign-test-injection";
const ADDRESS: &str = "127.0.0.1:19443";
const FOREIGN_ADDRESS: &str = "127.0.0.1:19445";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/countersign-test-injection";
const GUARD: &str = include_str!("../../../../policies/guard-sidecars.yaml");
const RUNTIMES: &str = include_str!("../../../../crds/agentruntimes.agent.kagenti.dev.yaml");

fn start(scene: &Scene, more: &[&str]) -> Operator<'static> {
    let (address, image) = (format!("--webhook-bind-address={ADDRESS}"), format!("--sidecar-image={IMAGE}"));
    let flags = [&address, "--webhook-configuration", NAME, &image];
    Operator::start(scene.rig, &[&flags[..], more].concat()).unwrap()
}

/// A namespace whose Pods are injected, guarded as the chart does it, an operator that injects, and the way of whoever
/// makes Pods there.
fn injected(scene: &Scene, team: &str) -> (Operator<'static>, Api) {
    scene.namespace(team, &json!({ "kagenti-enabled": "true" })).unwrap();
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": NAME },
        "webhooks": [{
            "name": "inject.kagenti.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Ignore", "timeoutSeconds": 3, "reinvocationPolicy": "IfNeeded",
            "clientConfig": { "url": format!("https://{ADDRESS}/mutate-workloads-authbridge") },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": team } },
        }],
    });
    scene.apply_all(&[owner_of(team), configuration]).unwrap();
    let guard = GUARD.replacen("expression: \"''\"", &format!("expression: \"'{IMAGE}'\""), 1);
    assert_ne!(guard, GUARD);
    scene.rig.apply(&guard).unwrap();
    let (owner, pods) =
        (scene.rig.api().unwrap().acting_as(OWNER), format!("/api/v1/namespaces/{team}/pods"));
    let said = |part: &str| {
        let tried = owner.create(&format!("{pods}?dryRun=All"), &asking(team, "first"));
        Ok(tried.err().map_or(String::new(), |error| format!("{error:#}")).contains(part))
    };
    scene.rig.wait("the guard", || said("none was injected")).unwrap();
    let operator = start(scene, &[]);
    operator.wait_ready().unwrap();
    let admitted = || Ok(owner.create(&format!("{pods}?dryRun=All"), &asking(team, "first")).is_ok());
    scene.rig.wait("an admission", admitted).unwrap();
    (operator, owner)
}

/// Takes away what [`injected`] made for the whole cluster.
fn leave(scene: &Scene, operator: Operator<'static>) {
    operator.stop().unwrap();
    scene.rig.delete(CONFIGURATION).unwrap();
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/guard-sidecars.agent.kagenti.dev");
        scene.rig.delete(&path).unwrap();
    }
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let all = pod["spec"][list].as_array().into_iter().flatten();
    all.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn after_another_webhook_the_sidecar_is_one_and_first_and_its_ports_are_its_own() {
    let (scene, team) = (alone(&["reviewed"]), "reviewed");
    let (operator, owner) = injected(&scene, team);
    let foreign = ForeignWebhook::start(scene.rig, FOREIGN_ADDRESS.parse().unwrap(), team).unwrap();
    let pods = format!("/api/v1/namespaces/{team}/pods");
    let mut count = 0;
    scene
        .rig
        .wait("a Pod that the other webhook has seen", || {
            count += 1;
            owner.create(&pods, &asking(team, &format!("agent-{count}")))?;
            Ok(!foreign.seen().is_empty())
        })
        .unwrap();
    // It came after the sidecar, and put its own container first.
    assert_eq!(names(&foreign.seen()[0], "initContainers"), ["authbridge-proxy", "own"]);
    let pod = scene.get("pod", team, &format!("agent-{count}")).unwrap();
    assert_eq!(names(&pod, "initContainers"), ["authbridge-proxy", FOREIGN, "own"]);
    assert_eq!(names(&pod, "containers"), ["agent"]);
    let [sidecar, other] = [&pod["spec"]["initContainers"][0], &pod["spec"]["initContainers"][1]];
    assert_eq!(sidecar["restartPolicy"], "Always");
    // Whatever it needs of the network goes through the sidecar.
    let through = json!({ "name": "HTTP_PROXY", "value": "http://127.0.0.1:8081" });
    assert!(other["env"].as_array().unwrap().contains(&through), "{other:#}");

    let with_port = |port: &str| {
        let mut pod = asking(team, &format!("port-{port}"));
        pod["metadata"]["labels"][PORT_LABEL] = json!(port);
        owner.create(&pods, &pod)
    };
    for port in ["8081", "8001", "9091"] {
        let refused = format!("{:#}", with_port(port).unwrap_err());
        let told = format!("injected with port {port} (AUTHBRIDGE_");
        assert!(refused.contains(&told) && refused.contains("the container foreign declares"), "{refused}");
    }
    with_port("7000").unwrap();
    let pod = scene.get("pod", team, "port-7000").unwrap();
    assert_eq!(names(&pod, "containers"), ["agent", "foreign"]);
    assert_eq!(&pod["spec"]["initContainers"][0], sidecar);
    foreign.stop(scene.rig).unwrap();
    leave(&scene, operator);
}

#[test]
fn a_hundred_pods_at_fifty_a_second_are_each_what_injection_plans() {
    let (scene, team) = (alone(&["hundred", "by-hand"]), "hundred");
    let (operator, owner) = injected(&scene, team);
    // The plan as the API server stores it: by hand, where no webhook is called.
    let settings = SidecarSettings { image: IMAGE.to_owned(), spire: None, is_native: true };
    let mut planned = asking("by-hand", "planned");
    let asked = serde_json::from_value(planned.clone()).unwrap();
    let Injection::Injected { patch, warnings, .. } = plan_injection(&asked, Some(&settings)) else {
        panic!("{planned:#}")
    };
    assert_eq!(warnings, [""; 0]);
    json_patch::patch(&mut planned, &patch).unwrap();
    scene.rig.create("/api/v1/namespaces/by-hand/pods", &planned).unwrap();
    let planned = told(&scene.get("pod", "by-hand", "planned").unwrap());

    let attempts = Load::start(owner, (team, "agent"), 50, 100).join();
    let refused: Vec<_> = attempts.iter().filter_map(|attempt| attempt.refused.as_ref()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let made = scene.list("pods", team).unwrap();
    assert_eq!(made.len(), 100);
    for pod in &made {
        assert_eq!(told(pod), planned, "{}", pod["metadata"]["name"]);
    }
    println!(
        "100 Pods at 50 per second: created within {:?} (p50), {:?} (p99)",
        within(&attempts, 50),
        within(&attempts, 99)
    );
    leave(&scene, operator);
}

#[test]
fn an_operator_that_would_refuse_whoever_asks_for_a_sidecar_is_not_ready() {
    let scene = alone(&[]);
    let (proxy, kubeconfig) = fault_proxy(scene.rig).unwrap();
    proxy.inject(Rule::new(Fault::Status(503)).path("/csidrivers"));
    let address = format!("--webhook-bind-address={ADDRESS}");
    let flags = [address.as_str(), "--sidecar-image", IMAGE];
    let operator = Operator::start_with(scene.rig, &kubeconfig, "127.0.0.1:18081", &flags).unwrap();
    // By then everything else has been read for long.
    scene.rig.wait("looks at what the cluster offers", || Ok(proxy.injected() >= 6)).unwrap();
    assert!(operator.answers("/healthz").unwrap() && !operator.answers("/readyz").unwrap());
    proxy.clear();
    operator.wait_ready().unwrap();
    operator.stop().unwrap();
}

#[test]
fn without_the_kind_of_agent_runtimes_the_operator_runs_says_so_and_leaves_what_is_enrolled() {
    let (mut scene, team) = (alone(&["no-runtimes"]), "no-runtimes");
    let mut items = Agents::manifests(team, "weather");
    items[0]["metadata"]["labels"] = json!({ "app": "weather" });
    items[0]["spec"]["template"]["metadata"]["labels"] = json!({ "app": "weather" });
    let runtime = json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": "weather", "namespace": team },
        "spec": { "type": "agent",
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "weather" } } });
    scene.agents.serve(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.apply_all(&items).unwrap();
    scene.rig.apply(&runtime.to_string()).unwrap();
    let label = |scene: &Scene| {
        scene.get("deployment", team, "weather").unwrap()["metadata"]["labels"]["kagenti.io/type"].clone()
    };
    scene.start_again(&[]).unwrap();
    scene.rig.wait("the label", || Ok(label(&scene) == "agent")).unwrap();

    // As an upgrade that lost the definition.
    scene.kill().unwrap();
    scene.rig.kubectl(&["delete", "crd", "agentruntimes.agent.kagenti.dev"]).unwrap();
    scene.start_again(&[]).unwrap();
    let log = |scene: &Scene| scene.operator.log();
    scene
        .rig
        .wait("a word about it", || Ok(log(&scene).contains("does not serve AgentRuntimes")))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", log(&scene)));
    let card = "weather-deployment-card";
    scene.verified(team, card, "weather").unwrap();
    scene.looked(team, "weather", 2).unwrap();
    assert_eq!(label(&scene), "agent");
    assert_eq!(log(&scene).matches("does not serve AgentRuntimes").count(), 1, "{}", log(&scene));

    // It comes back, and its objects a moment later: nobody restarts anything.
    scene.rig.apply(RUNTIMES).unwrap();
    scene.rig.wait("the object", || Ok(scene.rig.apply(&runtime.to_string()).is_ok())).unwrap();
    scene
        .rig
        .wait("its condition", || {
            let found = scene.get("agentruntime", team, "weather")?;
            Ok(found["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty()))
        })
        .unwrap();
    scene.rig.wait("the label", || Ok(label(&scene) == "agent")).unwrap();
}

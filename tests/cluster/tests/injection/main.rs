//! Enrolled workloads whose Pods get `AuthBridge` as a sidecar, on a node with SPIRE and the operator as its chart installs it.

mod uninstall;
mod upgrade;

use countersign_api::agent_runtime::MtlsMode;
use countersign_cluster_tests::{Agents, Node, Packets, SYSTEM, card_of, find, labelled, program, until};
use countersign_plan::injection::{SidecarSources, plan_sidecar_config};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, RwLock};
use std::time::Duration;

static NODE: LazyLock<Node> = LazyLock::new(|| Node::with_sidecars().unwrap());

/// Held by whoever needs the operator, or turns it off.
static OPERATOR: RwLock<()> = RwLock::new(());

const PATIENCE: Duration = Duration::from_mins(2);
const CARD: &str = "/.well-known/agent-card.json";

/// Lets new Pods of a namespace have sidecars, which ask callers for no token.
fn enable(node: &Node, namespace: &str) {
    node.rig.kubectl(&["label", "namespace", namespace, "kagenti-enabled=true"]).unwrap();
    configure(node, namespace);
}

fn configure(node: &Node, namespace: &str) {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "authbridge-runtime-config", "namespace": namespace },
        "data": { "config.yaml": "pipeline: {dangerously_allow_unauthenticated: true}\n" } });
    node.rig.apply(&map.to_string()).unwrap();
}

/// A plain workload of one Pod with a signed card, which knows nothing of sidecars.
fn create(node: &Node, namespace: &str, name: &str) {
    node.rig.spire().register(namespace, name).unwrap();
    let signed = Agents::sign(&card_of(name, namespace), &node.svid(namespace, name, "1h").unwrap());
    node.serve(namespace, name, &signed).unwrap();
    node.apply_all(&node.plain_manifests(namespace, name).unwrap()).unwrap();
    let available = [
        "wait",
        "--for=condition=Available",
        "-n",
        namespace,
        &format!("deployment/{name}"),
        "--timeout=120s",
    ];
    node.rig.kubectl(&available).unwrap();
}

fn enrol(node: &Node, namespace: &str, name: &str, mtls_mode: &str) {
    let runtime = json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "type": "agent", "mtlsMode": mtls_mode,
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name } } });
    node.rig.apply(&runtime.to_string()).unwrap();
}

/// Waits until an `AgentRuntime` has these conditions.
fn wait_runtime(node: &Node, namespace: &str, name: &str, wanted: &[(&str, &str)]) -> Value {
    let mut last = Value::Null;
    let result = until(&format!("{wanted:?} of {namespace}/{name}"), PATIENCE, || {
        last = find(&node.rig, "agentruntimes", namespace, name)?.unwrap_or_default();
        let holds = |(kind, status): &(&str, &str)| {
            let conditions = last["status"]["conditions"].as_array();
            conditions
                .is_some_and(|all| all.iter().any(|one| one["type"] == *kind && one["status"] == *status))
        };
        Ok(wanted.iter().all(holds))
    });
    if let Err(error) = result {
        panic!("{error:#}\n{:#}\n{}\n{}", last["status"], logs(node, namespace), node.report());
    }
    last
}

fn logs(node: &Node, namespace: &str) -> String {
    let pods = labelled(&node.rig, "pods", namespace, "kagenti.io/type=agent").unwrap_or_default();
    let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    let told = |name: &str| {
        let call = ["logs", "-n", namespace, name, "--all-containers", "--tail=30", "--prefix"];
        node.rig.kubectl(&call).unwrap_or_else(|error| format!("{error:#}"))
    };
    let described = node.rig.kubectl(&["describe", "pods", "-n", namespace]).unwrap_or_default();
    names.map(told).collect::<Vec<_>>().join("\n") + &described
}

/// The one Pod of a workload that stays, once its rolling update is over.
fn pod(node: &Node, namespace: &str, name: &str) -> Value {
    let mut found = Vec::new();
    let rolled = ["rollout", "status", "-n", namespace, &format!("deployment/{name}"), "--timeout=120s"];
    node.rig.kubectl(&rolled).unwrap();
    until(&format!("one Pod of {namespace}/{name}"), PATIENCE, || {
        found = labelled(&node.rig, "pods", namespace, &format!("app={name}"))?;
        found.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(found.len() == 1)
    })
    .unwrap();
    found.remove(0)
}

/// The answer to a request that the container `agent` of a Pod sends. A Deployment may still have one of an older template.
fn get(node: &Node, pod: &Value, address: &str) -> anyhow::Result<String> {
    let [namespace, name] = ["namespace", "name"].map(|member| pod["metadata"][member].as_str().unwrap());
    let url = format!("http://{address}{CARD}");
    node.rig.kubectl(&["exec", "-n", namespace, name, "-c", "agent", "--", "/wire", "get", &url])
}

/// A program beside the one of this test.
fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join(name)
}

/// What crosses the node's interfaces to and from the port of agents, from now on until [`Capture::end`].
struct Capture(Child, PathBuf);

impl Capture {
    fn start(node: &Node, name: &str) -> Self {
        let file = node.rig.folder().join(name);
        let program = beside("wire");
        let child = node
            .rig
            .command(program)
            .args(["capture", "8000"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the capture", PATIENCE, || Ok(file.exists())).unwrap();
        Self(child, file)
    }

    /// Waits until this has crossed.
    fn wait(&self, part: &[u8]) {
        until("the bytes on the wire", PATIENCE, || Ok(contains(&std::fs::read(&self.1)?, part))).unwrap();
    }

    fn end(mut self) -> Vec<u8> {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        std::fs::read(&self.1).unwrap()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn two_plain_workloads_are_enrolled_and_call_each_other_over_mtls_and_a_stranger_gets_nowhere() {
    let (node, _running) = (&*NODE, OPERATOR.read().unwrap());
    node.namespace("pair").unwrap();
    enable(node, "pair");
    for name in ["weather", "caller"] {
        create(node, "pair", name);
    }
    let address = node.service("pair", "weather").unwrap();
    // Before: what crosses the wire can be read there.
    let capture = Capture::start(node, "plain.bytes");
    assert!(get(node, &pod(node, "pair", "caller"), &address).unwrap().contains("An agent of the tests"));
    capture.wait(b"weather.pair.svc");
    capture.end();

    for name in ["weather", "caller"] {
        enrol(node, "pair", name, "strict");
    }
    for name in ["weather", "caller"] {
        let all = [("Ready", "True"), ("SidecarConfigured", "True"), ("Verified", "True")];
        wait_runtime(node, "pair", name, &all);
        let pod = pod(node, "pair", name);
        let sidecar = &pod["spec"]["initContainers"][0];
        assert_eq!(
            (&sidecar["name"], &sidecar["restartPolicy"]),
            (&json!("authbridge-proxy"), &json!("Always"))
        );
        let said = pod["metadata"]["annotations"]["countersign.dev/injection"].as_str().unwrap();
        assert!(said.starts_with("injected: "), "{said}");
    }

    node.wait_packets(("pair", "deploy/caller"), &address, Packets::Pass).unwrap();
    // The sidecar answers on the port that the Pod declares, and nobody gets past it to the agent behind.
    let [pod, asking] = ["weather", "caller"].map(|name| pod(node, "pair", name));
    let at = |port: u16| format!("{}:{port}", pod["status"]["podIP"].as_str().unwrap());
    assert_eq!(node.connect("pair", "deploy/caller", &at(8000)).unwrap(), Packets::Pass);
    assert_eq!(node.connect("pair", "deploy/caller", &at(8001)).unwrap(), Packets::Dropped);
    let capture = Capture::start(node, "enrolled.bytes");
    let mut answer = String::new();
    let called = until("a call over mTLS", PATIENCE, || {
        answer = get(node, &asking, &address)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    });
    called.unwrap_or_else(|error| panic!("{error:#} {answer}\n{}", logs(node, "pair")));
    assert!(answer.contains("An agent of the tests"), "{answer}");
    // The first record of TLS is there (RFC 8446, 5.1), and what was said is not.
    capture.wait(&[0x16, 0x03, 0x01]);
    let crossed = capture.end();
    assert!(!contains(&crossed, b"weather.pair.svc"));

    assert_eq!(node.connect("pair", "pod/stranger", &address).unwrap(), Packets::Dropped);

    // The command line comes to the same as the webhook did, about a Pod as the API server completed it.
    let name = pod["metadata"]["name"].as_str().unwrap();
    let has = format!("Pod pair/{name} has the sidecar; its annotation says \"injected: ");
    for (name, lines) in [
        (
            name,
            [
                "Namespace pair asks for sidecars",
                has.as_str(),
                "a new Pod like it would get the same sidecar",
            ],
        ),
        (
            "stranger",
            ["Namespace pair asks", "Pod pair/stranger has no sidecar", "would stay without a sidecar"],
        ),
    ] {
        let said = explained(node, "pair", name);
        assert!(lines.iter().all(|line| said.contains(line)), "{said}");
    }
}

/// What the command line says about a Pod, without the ends of its lines.
fn explained(node: &Node, namespace: &str, name: &str) -> String {
    let mut command = Command::new(program().unwrap());
    command.args(["explain", "pod", name, "-n", namespace, "--operator-namespace", SYSTEM, "--kubeconfig"]);
    let output = command.arg(node.rig.kubeconfig()).env_clear().stdin(Stdio::null()).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn template(node: &Node, namespace: &str, name: &str) -> Value {
    find(&node.rig, "deployment", namespace, name).unwrap().unwrap()["spec"]["template"].clone()
}

#[test]
fn a_workload_whose_runtime_goes_is_what_it_was_before() {
    let (node, _running) = (&*NODE, OPERATOR.read().unwrap());
    node.namespace("back").unwrap();
    // The configuration is that of the operator's namespace.
    node.rig.kubectl(&["label", "namespace", "back", "rossoctl-enabled=true"]).unwrap();
    configure(node, SYSTEM);
    create(node, "back", "weather");
    let before = template(node, "back", "weather");
    enrol(node, "back", "weather", "permissive");
    wait_runtime(node, "back", "weather", &[("Ready", "True"), ("SidecarConfigured", "True")]);
    until("a Pod with a sidecar", PATIENCE, || {
        Ok(pod(node, "back", "weather")["spec"]["initContainers"][0]["name"] == "authbridge-proxy")
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", node.report()));
    node.rig.kubectl(&["delete", "agentruntime", "weather", "-n", "back"]).unwrap();
    until("a Pod without a sidecar", PATIENCE, || {
        Ok(pod(node, "back", "weather")["spec"]["initContainers"].is_null())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", node.report()));
    assert_eq!(template(node, "back", "weather"), before);
}

#[test]
fn while_no_operator_runs_only_pods_that_should_have_a_sidecar_wait_for_it() {
    let node = &*NODE;
    let running = OPERATOR.write().unwrap();
    node.namespace("outage").unwrap();
    enable(node, "outage");
    for name in ["weather", "plain"] {
        create(node, "outage", name);
    }
    enrol(node, "outage", "weather", "permissive");
    wait_runtime(node, "outage", "weather", &[("Ready", "True"), ("SidecarConfigured", "True")]);
    pod(node, "outage", "weather");
    let scale = |replicas: &str| {
        let operator = "deployment/kagenti-controller-manager";
        node.rig.kubectl(&["scale", "-n", SYSTEM, operator, replicas]).unwrap();
    };
    scale("--replicas=0");
    until("the operator's end", PATIENCE, || {
        Ok(labelled(&node.rig, "pods", SYSTEM, "control-plane=controller-manager")?.is_empty())
    })
    .unwrap();
    for name in ["weather", "plain"] {
        node.rig
            .kubectl(&["delete", "pod", "-n", "outage", "-l", &format!("app={name}"), "--wait=false"])
            .unwrap();
    }
    // Whoever needs no sidecar starts, in the same namespace.
    let available =
        ["wait", "--for=condition=Available", "-n", "outage", "deployment/plain", "--timeout=120s"];
    node.rig.kubectl(&available).unwrap();
    let told = [
        "get",
        "events",
        "-n",
        "outage",
        "--field-selector",
        "reason=FailedCreate",
        "-o",
        "jsonpath={..message}",
    ];
    until("the refusal", PATIENCE, || Ok(node.rig.kubectl(&told)?.contains("none was injected"))).unwrap();
    scale("--replicas=1");
    // The controller of ReplicaSets tries again ever later; a rollout asks for a Pod at once.
    node.rig.kubectl(&["rollout", "restart", "-n", "outage", "deployment/weather"]).unwrap();
    until("a Pod with its sidecar", PATIENCE, || {
        let pods = labelled(&node.rig, "pods", "outage", "app=weather")?;
        Ok(pods.iter().any(|pod| {
            pod["spec"]["initContainers"][0]["name"] == "authbridge-proxy"
                && pod["metadata"]["deletionTimestamp"].is_null()
        }))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", node.report()));
    drop(running);
}

#[test]
fn every_configuration_that_is_planned_is_one_that_the_sidecar_takes() {
    let folder = std::env::temp_dir().join(format!("planned-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let issuer = ("ISSUER", "https://keycloak.example/realms/agents");
    let (url, realm) = (("KEYCLOAK_URL", "http://keycloak:8080"), ("KEYCLOAK_REALM", "agents"));
    let settings: [&[(&str, &str)]; 6] = [
        &[],
        &[issuer],
        &[issuer, url, realm],
        &[issuer, url, realm, ("CLIENT_AUTH_TYPE", "federated-jwt")],
        &[url, realm],
        &[issuer, url, realm, ("DEFAULT_OUTBOUND_POLICY", "passthrough")],
    ];
    let bases = [
        "",
        "pipeline: {}",
        "pipeline: {dangerously_allow_unauthenticated: true}",
        "pipeline: {inbound: {plugins: [{name: jwt-validation, config: {issuer: \"https://a.example\"}}]}}",
        "mtls: {mode: permissive, allowed_peers: [\"spiffe://rig.example/ns/a/*\"]}\nspiffe: {mirror_files: true}",
    ];
    let named = ["one".to_owned()];
    let (mut taken, mut refused) = (0, 0);
    let mut check = |sources: &SidecarSources<'_>| {
        let Ok(text) = plan_sidecar_config(sources) else {
            refused += 1;
            return;
        };
        let file = folder.join("config.yaml");
        std::fs::write(&file, &text).unwrap();
        let mut command = std::process::Command::new(beside("authbridge"));
        for (name, port) in [("INBOUND", "8000"), ("AGENT", "8001"), ("OUTBOUND", "8081")] {
            command.env(format!("AUTHBRIDGE_{name}_PORT"), port);
        }
        for (name, port) in [("HEALTH", "9091"), ("STATS", "9093"), ("SESSIONS", "9094")] {
            command.env(format!("AUTHBRIDGE_{name}_PORT"), port);
        }
        let output = command.args(["check", "--config"]).arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sources:?}\n{text}\n{told}");
        taken += 1;
    };
    for (base, settings) in
        bases.iter().flat_map(|base| settings.iter().map(move |settings| (base, settings)))
    {
        let keycloak =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for mtls_mode in [MtlsMode::Strict, MtlsMode::Permissive, MtlsMode::Disabled] {
            for (has_spire, has_credentials) in [(true, true), (true, false), (false, true), (false, false)] {
                for allowed_audiences in [&named[..], &[]] {
                    let keycloak = &keycloak;
                    let sources = SidecarSources {
                        base,
                        keycloak,
                        mtls_mode,
                        allowed_audiences,
                        has_spire,
                        has_credentials,
                    };
                    check(&sources);
                }
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(taken > 200 && refused > 200, "{taken} were taken, and {refused} not planned");
}

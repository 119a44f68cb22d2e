//! The signer as a native sidecar: SVIDs of a real SPIRE that live for seconds, and nothing ever restarts.

use countersign_cluster_tests::{Operator, SpireAgents, card_of, find, holds, look_every, program, until};
use countersign_rig::{Entry, Image, Options, Rig, SOCKET, SOCKET_FOLDER, libraries};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Lifetime of the SVIDs, in seconds. SPIRE replaces them at half of it.
const TTL: u32 = 30;
const IMAGE: &str = "countersign.test/signer:1";

fn import_image(rig: &Rig, countersign: &Path) {
    let agent = countersign.with_file_name("agent");
    let shared: BTreeSet<PathBuf> =
        [countersign, &agent].into_iter().flat_map(|program| libraries(program).unwrap()).collect();
    let mut files: Vec<Entry> = shared.iter().map(|path| Entry::File(path, path.to_str().unwrap())).collect();
    files.extend([Entry::File(countersign, "/countersign"), Entry::File(&agent, "/agent")]);
    rig.import_image(&Image { name: IMAGE, files, entrypoint: vec!["/countersign"], user: "65532:65532" })
        .unwrap();
}

/// An agent that serves what its sidecar signs, as docs/signing.md shows it.
fn manifests() -> Value {
    let labels = json!({ "app": "weather", "kagenti.io/type": "agent", "protocol.kagenti.io/a2a": "" });
    let restricted = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
        "capabilities": { "drop": ["ALL"] } });
    let card = card_of("weather", "team").to_string();
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "weather", "namespace": "team" } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "weather-card", "namespace": "team" },
          "data": { "agent.json": card } },
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "weather", "namespace": "team" },
          "spec": { "selector": { "app": "weather" }, "ports": [{ "port": 8000 }] } },
        { "apiVersion": "apps/v1", "kind": "Deployment",
          "metadata": { "name": "weather", "namespace": "team", "labels": labels },
          "spec": { "selector": { "matchLabels": { "app": "weather" } }, "template": {
            "metadata": { "labels": { "app": "weather", "kagenti.io/type": "agent" } },
            "spec": {
                "serviceAccountName": "weather", "terminationGracePeriodSeconds": 1,
                "initContainers": [{
                    "name": "signer", "image": IMAGE, "imagePullPolicy": "Never", "restartPolicy": "Always",
                    "args": ["sign", "--watch"],
                    "env": [
                        { "name": "SPIFFE_ENDPOINT_SOCKET", "value": format!("unix:///spire/{SOCKET}") },
                        { "name": "UNSIGNED_CARD_PATH", "value": "/unsigned/agent.json" },
                        { "name": "AGENT_CARD_PATH", "value": "/signed/card.json" },
                    ],
                    "startupProbe": { "exec": { "command": ["/countersign", "probe", "file:///signed/card.json"] },
                        "periodSeconds": 1, "failureThreshold": 60 },
                    "volumeMounts": [
                        { "name": "spire", "mountPath": "/spire", "readOnly": true },
                        { "name": "unsigned", "mountPath": "/unsigned", "readOnly": true },
                        { "name": "signed", "mountPath": "/signed" },
                    ],
                    "securityContext": restricted,
                }],
                "containers": [{
                    "name": "agent", "image": IMAGE, "imagePullPolicy": "Never",
                    "command": ["/agent", "0.0.0.0:8000", "/signed"],
                    "volumeMounts": [{ "name": "signed", "mountPath": "/signed", "readOnly": true }],
                    "securityContext": restricted,
                }],
                "volumes": [
                    { "name": "spire", "hostPath": { "path": SOCKET_FOLDER } },
                    { "name": "unsigned", "configMap": { "name": "weather-card" } },
                    { "name": "signed", "emptyDir": {} },
                ],
            },
        } } },
    ] })
}

/// Waits for something that the signer does within seconds.
fn soon(what: &str, done: impl Fn() -> bool) {
    until(what, Duration::from_mins(1), || Ok(done())).unwrap();
}

#[test]
fn the_served_card_is_signed_again_without_a_restart_and_never_loses_trust() {
    let rig = Rig::node(&Options { without_policy: true, ..Options::default() }).unwrap();
    let agents = SpireAgents::new(&rig, &["team"]).unwrap();
    import_image(&rig, &program().unwrap());
    let id = "spiffe://rig.example/ns/team/sa/weather";
    agents.register(id, &["k8s:ns:team", "k8s:sa:weather"], TTL).unwrap();
    let operator = Operator::start(&rig, &[]).unwrap();
    operator.wait_ready().unwrap();
    rig.apply(&manifests().to_string()).unwrap();
    let name = "weather-deployment-card";
    operator.wait_card("team", name, "a verified card", |card| holds(card, "Ready")).unwrap();
    look_every(&rig, 2, "team", name).unwrap();

    let (begin, mut ends) = (Instant::now(), BTreeSet::new());
    while begin.elapsed() < Duration::from_secs(u64::from(TTL) * 2) {
        let card = find(&rig, "agentcard", "team", name).unwrap().unwrap();
        assert!(holds(&card, "Ready"), "after {:?}: {card:#}\n{}", begin.elapsed(), operator.log());
        ends.insert(card["status"]["verdict"]["notAfter"].as_str().unwrap().to_owned());
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(ends.len() >= 3, "signed anew with each SVID: {ends:?}");
    let counts = r"jsonpath={.items[*].status['initContainerStatuses','containerStatuses'][*].restartCount}";
    assert_eq!(rig.kubectl(&["get", "pods", "-n", "team", "-o", counts]).unwrap(), "0 0");
    let log = rig.kubectl(&["logs", "-n", "team", "deployment/weather", "-c", "signer"]).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |message: &str| lines.iter().filter(|line| line["msg"] == message).count();
    assert_eq!(said("starting agentcard signer"), 1);
    assert!(said("fetched SVID") >= 3 && said("signed card written successfully") >= 3, "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");
    operator.stop().unwrap();
    a_changed_card_is_signed_at_once_and_the_signer_ends_when_asked(&rig, &agents);
    rig.down().unwrap();
}

fn a_changed_card_is_signed_at_once_and_the_signer_ends_when_asked(rig: &Rig, agents: &SpireAgents<'_>) {
    agents.register_operator().unwrap();
    let folder = rig.folder().join("signer");
    std::fs::create_dir_all(&folder).unwrap();
    let (unsigned, signed) = (folder.join("card.json"), folder.join("deep/signed.json"));
    let mut card = card_of("weather", "team");
    std::fs::write(&unsigned, card.to_string()).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut command = rig.command(program().unwrap());
    command.args(["sign", "--watch", "--workload-api", &agents.socket(), "-o"]).arg(&signed).arg(&unsigned);
    let mut running = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
    let says = |text: &str| std::fs::read_to_string(&signed).is_ok_and(|signed| signed.contains(text));
    soon("the first card", || says("Does one thing"));
    card["skills"][0]["description"] = json!("Does two things");
    std::fs::write(&unsigned, card.to_string()).unwrap();
    soon("the changed card", || says("Does two things"));

    // What cannot be signed leaves the last card, and is said.
    std::fs::write(&unsigned, "{").unwrap();
    soon("the failure", || std::fs::read_to_string(folder.join("log")).unwrap().contains("signing failed"));
    assert!(says("Does two things"));
    std::fs::write(&unsigned, card.to_string().replace("two", "three")).unwrap();
    soon("the mended card", || says("Does three things"));

    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let children = std::fs::read_to_string(children).unwrap();
    let pid = children.split_whitespace().next().map_or_else(|| running.id().to_string(), str::to_owned);
    let asked = Instant::now();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    assert!(running.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

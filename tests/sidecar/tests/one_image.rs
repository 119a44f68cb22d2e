//! One image for the sidecar and netinit, started in a Pod as docs/netinit.md shows it: what the sidecar calls by itself goes
//! out, and what the agent calls, or is called by, goes through the sidecar.

use countersign_rig::{AGNHOST, Entry, Image, Options, Rig};
use countersign_sidecar_tests::authbridge::program;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::encode;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

const IMAGE: &str = "countersign.test/authbridge:1";
const ISSUER: &str = "https://id.example";

/// The user of the sidecar's image in the Dockerfile, `UID:GID`.
fn image_user() -> &'static str {
    let dockerfile = include_str!("../../../Dockerfile");
    let (_, stage) = dockerfile.split_once("FROM scratch AS authbridge\n").unwrap();
    let (_, user) = stage.split_once("\nUSER ").unwrap();
    user.lines().next().unwrap()
}

/// Collects the content of the image in `folder` by the Dockerfile's own commands, from the program under test; paths in the
/// image.
fn collect(folder: &Folder) -> Vec<String> {
    let commands: Vec<&str> = include_str!("../../../Dockerfile")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("&& "))
        .map(|command| command.trim_end_matches(" \\"))
        .filter(|command| command.contains("/sidecar"))
        .collect();
    assert_eq!(commands.len(), 7, "{commands:?}");
    let root = folder.path().display().to_string();
    let built = program().display().to_string();
    let script = commands.join("\n").replace("/sidecar", &root).replace("target/release/authbridge", &built);
    let listed = Command::new("sh")
        .args(["-ec", &format!("exec 3>&1 >&2\n{script}\ncd {root}; find . -type f >&3")])
        .output();
    let listed = listed.unwrap();
    assert!(listed.status.success(), "{script}: {}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|path| path.trim_start_matches('.').to_owned())
        .collect()
}

/// Makes the image as the Dockerfile does, from libraries of this system.
fn import_image(rig: &Rig) {
    let folder = Folder::new("image").unwrap();
    let collected: Vec<(PathBuf, String)> =
        collect(&folder).into_iter().map(|path| (folder.join(path.trim_start_matches('/')), path)).collect();
    let files = collected.iter().map(|(from, to)| Entry::File(from, to)).collect();
    let image = Image { name: IMAGE, files, entrypoint: vec!["/authbridge"], user: image_user() };
    rig.import_image(&image).unwrap();
}

/// The Pod of the documentation, with images of the test and a DNS server, which a rig has not.
fn pod() -> String {
    let document = include_str!("../../../docs/netinit.md");
    let (_, rest) = document.split_once("```yaml\n").unwrap();
    let (objects, _) = rest.split_once("```\n").unwrap();
    // The configuration is that of the test, and there is no driver of SPIRE.
    let objects: Vec<&str> =
        objects.split("---\n").filter(|object| !object.contains("\nkind: ConfigMap\n")).collect();
    assert_eq!(objects.len(), 2, "an account and a Pod");
    let pod = objects.join("---\n").replace("csi: {driver: csi.spiffe.io, readOnly: true}", "emptyDir: {}");
    let agent =
        format!("image: {AGNHOST}\n      imagePullPolicy: Never\n      args: [netexec, --http-port=8001]\n");
    let dns = "  dnsPolicy: None\n  dnsConfig: {nameservers: [10.96.0.10]}\n  containers:\n";
    pod.replace("image: authbridge\n", &format!("image: {IMAGE}\n      imagePullPolicy: Never\n"))
        .replace("image: agent\n", &agent)
        .replace("  containers:\n", dns)
}

/// The configuration: the keys of the issuer are at `peer`, which the agent may not call.
fn config(peer: &str, key: &SigningKey) -> String {
    let keys = encode(&json!({ "keys": [key.public_jwk()] }).to_string());
    format!(
        "mode: proxy-sidecar
listener: {{inbound_interception: transparent, transparent_proxy_addr: ':8082'}}
pipeline:
  inbound:
    plugins:
      - name: jwt-validation
        config: {{issuer: '{ISSUER}', jwks_url: 'http://{peer}:8080/echo?msg={keys}', audience: agent}}
  outbound:
    plugins:
      - name: token-exchange
        config:
          token_url: http://{peer}:8080/token
          identity: {{type: client-secret, client_id: agent, client_secret: s}}
          routes: {{rules: [{{host: '{peer}', action: deny}}]}}
"
    )
}

fn address(rig: &Rig, pod: &str) -> String {
    rig.kubectl(&["get", "pod", pod, "-n", "team1", "-o", "jsonpath={.status.podIP}"]).unwrap()
}

#[test]
fn one_image_is_sidecar_and_netinit_of_a_pod_and_lets_out_its_own_calls_alone() {
    let options = Options { without_policy: true, without_spire: true, ..Options::default() };
    let rig = Rig::node(&options).unwrap();
    import_image(&rig);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team1"}});
    rig.apply(&namespace.to_string()).unwrap();
    let peer = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "peer", "namespace": "team1"}, "spec": {
        "terminationGracePeriodSeconds": 1, "enableServiceLinks": false,
        "containers": [{"name": "peer", "image": AGNHOST, "imagePullPolicy": "Never",
            "args": ["netexec", "--http-port=8080"]}],
    }});
    rig.wait("the service account", || Ok(rig.apply(&peer.to_string()).is_ok())).unwrap();
    let ready = ["wait", "--for=condition=Ready", "-n", "team1", "--timeout=60s"];
    rig.kubectl(&[&ready[..], &["pod/peer"]].concat()).unwrap();
    let peer = address(&rig, "peer");
    let key = SigningKey::p256("k1").unwrap();
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "authbridge-config-weather", "namespace": "team1"},
        "data": {"config.yaml": config(&peer, &key)}});
    rig.apply(&settings.to_string()).unwrap();
    rig.apply(&pod()).unwrap();

    // Ready is who has the keys, and those are at a server that the routes deny to whoever is redirected.
    let said = || {
        let log =
            |container| rig.kubectl(&["logs", "-n", "team1", "weather", "-c", container]).unwrap_or_default();
        format!("netinit: {}\nsidecar: {}", log("netinit"), log("authbridge"))
    };
    if let Err(error) = rig.kubectl(&[&ready[..], &["pod/weather"]].concat()) {
        panic!("{error}\n{}", said());
    }
    let weather = address(&rig, "weather");
    let get = |url: &str, token: &str| {
        let script = "import sys, urllib.request, urllib.error\n\
            request = urllib.request.Request(sys.argv[1], headers={'Authorization': sys.argv[2]})\n\
            try: answer = urllib.request.urlopen(request, timeout=10)\n\
            except urllib.error.HTTPError as error: answer = error\n\
            print(answer.status, answer.read().decode())\n";
        let mut python = rig.command("python3");
        let done = python.args(["-c", script, url, &format!("Bearer {token}")]).output().unwrap();
        assert!(done.status.success(), "{url}: {}\n{}", String::from_utf8_lossy(&done.stderr), said());
        String::from_utf8(done.stdout).unwrap()
    };
    let token = key.sign(&ordinary_claims(ISSUER, "agent", "peer")).unwrap();
    let inward = |path: &str| format!("http://{weather}:8001/{path}");
    let refused = get(&inward("hostname"), "none");
    assert!(refused.starts_with("401 "), "{refused}\n{}", said());
    assert_eq!(get(&inward("hostname"), &token).trim(), "200 weather", "{}", said());

    // The agent calls the same server, once it is asked to.
    let dial = inward(&format!("dial?host={peer}&port=8080&request=hostname&protocol=http&tries=1"));
    let outgoing = get(&dial, &token);
    assert!(outgoing.contains("policy.forbidden"), "{outgoing}\n{}", said());
    let direct = get(&format!("http://{peer}:8080/hostname"), &token);
    assert_eq!(direct.trim(), "200 peer");
    rig.down().unwrap();
}

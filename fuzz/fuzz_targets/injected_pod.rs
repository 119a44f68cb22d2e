//! Any Pod of an agent in a namespace whose agents have sidecars: the policies of the API server refuse it as it is, take what
//! injection makes of it, and refuse that after every change which leaves the agent less guarded.
#![no_main]

#[path = "../../tests/support/sidecar_pods.rs"]
mod sidecar_pods;

use countersign_fuzz::admission::{self, Guard};
use countersign_plan::injection::{Injection, SidecarSettings, SpireSocket, plan_injection};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use serde_json::{Value, json};
use sidecar_pods::{Container, IMAGE, NAMESPACE, Shape, TAMPERINGS, TAMPERINGS_WITH_ALL};
use std::sync::LazyLock;

#[derive(Arbitrary, Debug)]
struct Case {
    containers: Vec<Ports>,
    before: Vec<(bool, Ports)>,
    is_renamed: bool,
    has_spiffe: bool,
    has_credentials: bool,
    mtls: u8,
    impostor: Option<bool>,
    volume: u8,
    is_on_node: bool,
    has_folder: bool,
    change: u8,
}

#[derive(Arbitrary, Debug)]
struct Ports {
    ports: Vec<(Port, bool)>,
    flags: [bool; 3],
}

/// Any port, or one near those that injection gives.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Port {
    Any(u16),
    Near(u8),
}

const FOLDER: &str = "/run/spire";
const VOLUMES: [&str; 5] = [
    "",
    "authbridge-runtime-config",
    "authproxy-routes",
    "spire-agent-socket",
    "keycloak-client-credentials",
];
const MODES: [Option<&str>; 5] = [None, Some("disabled"), Some("permissive"), Some("strict"), Some("")];
const NEAR: [u16; 13] = [8000, 8001, 8002, 8080, 8081, 8082, 9091, 9092, 9093, 9094, 9095, 1, 65_535];

static SIDECARS: LazyLock<[Guard; 2]> = LazyLock::new(|| {
    let file = include_str!("../../policies/guard-sidecars.yaml");
    [
        Guard::of(file, &[("image", "'authbridge:1'")]),
        Guard::of(file, &[("image", "'authbridge:1'"), ("spireHostPath", "'/run/spire'")]),
    ]
});
static UNPROTECTED: LazyLock<Guard> =
    LazyLock::new(|| Guard::of(include_str!("../../policies/optional/guard-unprotected-agents.yaml"), &[]));

fuzz_target!(|case: Case| {
    assert_eq!((NAMESPACE, IMAGE), (admission::NAMESPACE, "authbridge:1"));
    let shape = case.shape();
    let mut asking = shape.pod("x");
    if case.is_on_node {
        asking["spec"]["hostNetwork"] = json!(true);
    }
    let sidecars = &SIDECARS[usize::from(case.has_folder)];
    // Whatever there is in place of the sidecar, the policy takes none but the one of injection.
    assert!(sidecars.refuses(&asking).is_some(), "{asking:#}");
    assert_eq!(UNPROTECTED.refuses(&asking), None, "it asks for one");
    assert!(UNPROTECTED.refuses(&without_annotations(&asking)).is_some());

    let folder = SpireSocket::HostPath(FOLDER.to_owned());
    let spire = Some(if case.has_folder { folder } else { SpireSocket::Csi });
    let settings = SidecarSettings { image: IMAGE.to_owned(), spire, is_native: true };
    let asked = serde_json::from_value(asking.clone()).expect("a Pod");
    let patch = match plan_injection(&asked, Some(&settings)) {
        Injection::Injected { patch, .. } => patch,
        Injection::Skipped { reason, .. } => panic!("skipped: {reason}"),
        // Nothing becomes of such a Pod: the policy has refused it as it is.
        Injection::Refused(_) => return,
    };
    let mut whole = asking;
    json_patch::patch(&mut whole, &patch).expect("a patch of this Pod");
    assert_eq!(sidecars.refuses(&whole), None, "{whole:#}");
    assert_eq!(UNPROTECTED.refuses(&whole), None);
    assert!(UNPROTECTED.refuses(&without_annotations(&whole)).is_some());

    let has_all = shape.has_spiffe && shape.has_credentials && !case.has_folder;
    let more = if has_all { &TAMPERINGS_WITH_ALL[..] } else { &[] };
    let changes: Vec<_> = TAMPERINGS.iter().chain(more).collect();
    let (_, change) = changes[usize::from(case.change) % changes.len()];
    let mut other = whole.clone();
    change(&mut other);
    // A port of this Pod may be what the change would write.
    if other != whole {
        assert!(sidecars.refuses(&other).is_some(), "change {}: {other:#}", case.change);
    }
});

fn without_annotations(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["annotations"] = json!({ "kagenti.io/config-hash": "x" });
    pod
}

impl Case {
    fn shape(&self) -> Shape {
        let mut containers: Vec<Container> = self.containers.iter().take(4).map(Ports::container).collect();
        if containers.is_empty() {
            containers.push(Container::default());
        }
        let before = self.before.iter().take(3);
        Shape {
            is_renamed: self.is_renamed,
            containers,
            before: before.map(|(goes_on, ports)| (*goes_on, ports.container())).collect(),
            has_spiffe: self.has_spiffe,
            has_credentials: self.has_credentials,
            mtls: MODES[usize::from(self.mtls) % MODES.len()],
            impostor: self.impostor,
            volume: VOLUMES[usize::from(self.volume) % VOLUMES.len()],
        }
    }
}

impl Ports {
    fn container(&self) -> Container {
        let [has_proxy, has_probe, has_more] = self.flags;
        let number = |port: &Port| match *port {
            Port::Any(number) => number,
            Port::Near(at) => NEAR[usize::from(at) % NEAR.len()],
        };
        // Of a longer list the operator reads the first 64.
        let ports = self.ports.iter().take(8).map(|(port, is_tcp)| (number(port), *is_tcp)).collect();
        Container { ports, has_proxy, has_probe, has_more }
    }
}

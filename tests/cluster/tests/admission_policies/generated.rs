//! Generated Pods: each is taken as injection makes it, and refused as it was before, and after every change.

use super::TENANT;
use super::sidecar_pods::{Container, Shape, TAMPERINGS};
use super::sidecars::{guarded, injected};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

const PODS: usize = 150;

/// Ports of a few, so that they meet each other and those of the sidecar.
fn container() -> impl Strategy<Value = Container> {
    let port = select(&[53_u16, 8000, 8001, 8002, 8080, 8081, 8082, 9091, 9093, 9094, 65_000][..]);
    (vec((port, any::<bool>()), 0..4), any::<[bool; 3]>()).prop_map(
        |(ports, [has_proxy, has_probe, has_more])| Container { ports, has_proxy, has_probe, has_more },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    let before = vec((any::<bool>(), container()), 0..3);
    let asked =
        (any::<[bool; 3]>(), select(&[None, Some("disabled"), Some("permissive"), Some("strict")][..]));
    (vec(container(), 1..4), before, asked, option::of(any::<bool>())).prop_map(
        |(containers, before, ([is_renamed, has_spiffe, has_credentials], mtls), impostor)| Shape {
            is_renamed,
            containers,
            before,
            has_spiffe,
            has_credentials,
            mtls,
            impostor,
            volume: "",
        },
    )
}

#[test]
fn every_injected_pod_is_taken_and_no_other() {
    let mut runner = TestRunner::deterministic();
    let mut asking = Vec::new();
    let mut whole = Vec::new();
    let mut tampered = Vec::new();
    for at in 0..PODS {
        let pod = shape().new_tree(&mut runner).unwrap().current().pod(&format!("asks-{at}"));
        let mut made = injected(&pod);
        made["metadata"]["name"] = json!(format!("whole-{at}"));
        let mut other = made.clone();
        other["metadata"]["name"] = json!(format!("tampered-{at}"));
        let (_, change) = TAMPERINGS[at % TAMPERINGS.len()];
        change(&mut other);
        asking.push(pod);
        whole.push(made);
        // What the API server defaults for the network of the node may make ports collide: the table of changes has it.
        if other["spec"]["hostNetwork"].is_null() {
            tampered.push(other);
        }
    }
    let cluster = guarded();
    let list = |items: &[Value]| json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let taken = cluster.create_dry(TENANT, &list(&whole)).unwrap();
    assert_eq!(taken.matches(" created (server dry run)").count(), PODS, "{taken}");
    for pods in [&asking, &tampered] {
        let refused = cluster.create_dry(TENANT, &list(pods)).unwrap_err();
        for pod in pods {
            let by = format!(
                "pods {} is forbidden: ValidatingAdmissionPolicy 'guard-sidecars",
                pod["metadata"]["name"]
            );
            assert!(refused.contains(&by), "{by}\n{pod:#}\n{refused}");
        }
    }
}

//! Tests of injection: what is added, what stays, and that a Pod is patched once.

mod configuration;

use super::*;
use crate::input::ports::OpenPorts;
use countersign_api::agent_runtime::MtlsMode;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn new_pod(pod: &Value) -> NewPod {
    serde_json::from_value(pod.clone()).unwrap()
}

fn planned(pod: &Value, settings: Option<&SidecarSettings>) -> Injection {
    plan_injection(&new_pod(pod), settings)
}

fn settings() -> SidecarSettings {
    SidecarSettings { image: "authbridge:1".to_owned(), spire: Some(SpireSocket::Csi), is_native: true }
}

/// A Pod that asks for a sidecar, with these members of its one container.
fn pod(container: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "labels": { "kagenti.io/type": "agent" },
            "annotations": { "countersign.dev/sidecar": "proxy-sidecar",
                "countersign.dev/sidecar-config": "authbridge-config-weather",
                "countersign.dev/sidecar-spiffe": "workload-api", "kagenti.io/mtls-mode": "strict" },
        },
        "spec": { "containers": [{ "name": "agent", "image": "weather", "newer": { "member": 1 } }] },
    });
    for (name, value) in container.as_object().unwrap() {
        pod["spec"]["containers"][0][name] = value.clone();
    }
    pod
}

fn patched(pod: &Value, patch: &Patch) -> Value {
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, patch).unwrap();
    pod
}

/// The Pod after its admission, which a second one leaves alone, with the warnings.
fn admitted(pod: &Value, settings: &SidecarSettings) -> (Value, Vec<String>) {
    let Injection::Injected { patch, warnings, .. } = planned(pod, Some(settings)) else {
        panic!("{:?}", planned(pod, Some(settings)))
    };
    let first = patched(pod, &patch);
    let Injection::Injected { patch, .. } = planned(&first, Some(settings)) else {
        panic!("refused: {first:#}")
    };
    assert_eq!(patch, Patch::default(), "a Pod is patched once: {first:#}");
    (first, warnings)
}

fn variable<'p>(container: &'p Value, name: &str) -> &'p Value {
    container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap()
}

#[test]
fn the_sidecar_listens_where_the_agent_did_and_everything_else_stays() {
    let before = pod(&json!({ "ports": [{ "containerPort": 8000, "name": "http" }],
        "env": [{ "name": "OWN", "value": "kept" }] }));
    let (after, warnings) = admitted(&before, &settings());
    assert_eq!(warnings, [""; 0]);
    let [sidecar] = after["spec"]["initContainers"].as_array().unwrap().as_slice() else {
        panic!("{after:#}")
    };
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&json!("authbridge-proxy"), &json!("Always")));
    for (name, value) in [
        ("AUTHBRIDGE_INBOUND_PORT", "8000"),
        ("AUTHBRIDGE_AGENT_PORT", "8001"),
        ("AUTHBRIDGE_OUTBOUND_PORT", "8081"),
        ("AUTHBRIDGE_HEALTH_PORT", "9091"),
        ("SPIRE_ENABLED", "true"),
        ("MTLS_MODE", "strict"),
    ] {
        assert_eq!(variable(sidecar, name)["value"], value, "{name}");
    }
    let agent = &after["spec"]["containers"][0];
    assert_eq!(variable(agent, "PORT")["value"], "8001");
    assert_eq!(variable(agent, "OWN")["value"], "kept");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        assert_eq!(variable(agent, name)["value"], "http://127.0.0.1:8081", "{name}");
    }
    assert_eq!(
        (&agent["newer"]["member"], &agent["ports"]),
        (&json!(1), &before["spec"]["containers"][0]["ports"])
    );
    let volumes: Vec<&Value> =
        after["spec"]["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(volumes, ["authbridge-runtime-config", "authproxy-routes", "spire-agent-socket"]);
    assert_eq!(after["spec"]["volumes"][0]["configMap"]["name"], "authbridge-config-weather");
    let said = after["metadata"]["annotations"]["countersign.dev/injection"].as_str().unwrap();
    assert!(said.contains("listens on 8000, the agent on 8001"), "{said}");
}

#[test]
fn without_native_sidecars_there_is_a_container_and_the_socket_comes_as_the_configuration_needs_it() {
    let other = SidecarSettings { is_native: false, ..settings() };
    let mut plain = pod(&json!({}));
    plain["metadata"]["annotations"].as_object_mut().unwrap().remove("countersign.dev/sidecar-spiffe");
    let (after, _) = admitted(&plain, &other);
    let containers = after["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), &containers[1]["name"]), (2, &json!("authbridge-proxy")));
    assert!(containers[1].get("restartPolicy").is_none() && after["spec"].get("initContainers").is_none());
    assert_eq!(variable(&containers[1], "AUTHBRIDGE_INBOUND_PORT")["value"], "8000");
    assert!(!after["spec"]["volumes"].to_string().contains("csi"));
    let path = SidecarSettings { spire: Some(SpireSocket::HostPath("/run/spire".to_owned())), ..settings() };
    let (after, _) = admitted(&pod(&json!({})), &path);
    assert_eq!(after["spec"]["volumes"][2]["hostPath"]["path"], "/run/spire");
}

#[test]
fn no_port_that_a_container_declares_is_taken() {
    let ports = json!({ "ports": [{ "containerPort": 8080, "protocol": "TCP" }, { "containerPort": 8081 },
        { "containerPort": 9091 }, { "containerPort": 9094, "protocol": "UDP" }] });
    let (after, warnings) = admitted(&pod(&ports), &settings());
    let sidecar = &after["spec"]["initContainers"][0];
    let said = [
        "AUTHBRIDGE_INBOUND_PORT",
        "AUTHBRIDGE_AGENT_PORT",
        "AUTHBRIDGE_OUTBOUND_PORT",
        "AUTHBRIDGE_HEALTH_PORT",
    ]
    .map(|name| variable(sidecar, name)["value"].as_str().unwrap().to_owned());
    assert_eq!(said, ["8080", "8082", "8083", "9092"]);
    let told = "guards port 8080, and not 8081, 9091, 9094/UDP: verified agents reach every port";
    assert!(warnings[0].contains(told), "{warnings:?}");
}

/// Containers with ports close to those that injection tries first.
fn containers() -> impl Strategy<Value = Vec<Value>> {
    let number = prop_oneof![7999_u16..8004, 8080_u16..8083, 9090_u16..9096];
    let port = (number, select(vec!["TCP", "UDP"]));
    let port = port.prop_map(|(number, protocol)| json!({ "containerPort": number, "protocol": protocol }));
    let names = select(vec!["a", "b", "authbridge-proxy"]);
    let container = (names, vec(port, 0..4), proptest::option::of(Just("Always")));
    let container = container
        .prop_map(|(name, ports, policy)| json!({ "name": name, "ports": ports, "restartPolicy": policy }));
    vec(container, 0..4)
}

proptest! {
    #[test]
    fn no_port_that_policies_open_is_one_that_injection_gives(containers in containers(), before in containers()) {
        let template = json!({ "metadata": { "annotations": { "countersign.dev/sidecar": "proxy-sidecar" } },
            "spec": { "containers": containers, "initContainers": before } });
        let typed: PodTemplateSpec = serde_json::from_value(template.clone()).unwrap();
        let open = OpenPorts::of_template(typed.metadata.as_ref(), typed.spec.as_ref()).unwrap();
        let [before, containers] = ["initContainers", "containers"].map(|list| Containers::of(&template["spec"], list));
        let given = Ports::of(containers, before).unwrap();
        prop_assert_eq!(given.inbound, open.guarded().number().get());
        for own in [given.agent, given.outbound, given.health, given.stats, given.sessions] {
            prop_assert!(!open.iter().any(|port| port.is_tcp() && port.number().get() == own), "{open:?} {own}");
        }
    }
}

/// Containers of a Pod of anybody: with variables that injection writes, twice or from elsewhere, and with probes.
fn any_containers() -> impl Strategy<Value = Vec<Value>> {
    let names = vec!["PORT", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "OWN"];
    let values = select(vec!["http://127.0.0.1:8081", "db,cache", "8001", "$(no_proxy)"]);
    let value = prop_oneof![
        values.prop_map(|value| json!({ "value": value })),
        Just(json!({ "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } })),
    ];
    let variable = (select(names), value).prop_map(|(name, mut variable)| {
        variable["name"] = json!(name);
        variable
    });
    let env = prop_oneof![Just(Value::Null), vec(variable, 0..6).prop_map(Value::Array)];
    let asked = select(vec![json!(8000), json!("http"), json!(7000), json!("8000")]);
    (containers(), vec((env, asked), 4)).prop_map(|(mut all, more)| {
        for (container, (env, asked)) in all.iter_mut().zip(more) {
            container["env"] = env;
            container["readinessProbe"] = json!({ "httpGet": { "port": asked } });
            container["lifecycle"] = json!({ "preStop": { "tcpSocket": { "port": asked } } });
        }
        all
    })
}

/// The containers that are not the sidecar, without what injection may change of them.
fn kept(pod: &Value, list: &str) -> Vec<Value> {
    let all = pod["spec"][list].as_array().cloned().unwrap_or_default();
    let others = all.into_iter().filter(|one| one["name"] != "authbridge-proxy");
    others
        .map(|mut one| {
            let own = |variable: &Value| variable["name"] == "OWN";
            let env = one["env"].as_array().into_iter().flatten().filter(|variable| own(variable));
            one["env"] = env.cloned().collect();
            one["readinessProbe"]["httpGet"]["port"] = Value::Null;
            one["lifecycle"]["preStop"]["tcpSocket"]["port"] = Value::Null;
            one
        })
        .collect()
}

proptest! {
    #[test]
    fn any_pod_is_patched_once_and_has_one_sidecar_beside_what_it_had(
        all in any_containers(), before in any_containers(), is_native: bool, is_bare: bool,
    ) {
        let mut asking = pod(&json!({}));
        asking["spec"]["containers"] = json!(all);
        if !is_bare {
            asking["spec"]["initContainers"] = json!(before);
            asking["spec"]["volumes"] = json!([{ "name": "own" }]);
        }
        let settings = SidecarSettings { is_native, ..settings() };
        let (after, _) = admitted(&asking, &settings);
        for list in ["initContainers", "containers"] {
            prop_assert_eq!(kept(&asking, list), kept(&after, list));
        }
        let of = |list: &str| after["spec"][list].as_array().cloned().unwrap_or_default();
        let (before, all) = (of("initContainers"), of("containers"));
        let ours = before.iter().chain(&all).filter(|one| one["name"] == "authbridge-proxy");
        prop_assert_eq!(ours.count(), 1);
        let place = if is_native { before.first() } else { all.last() };
        prop_assert_eq!(&place.unwrap()["image"], "authbridge:1");
        // Whatever is there of the sidecar, another one is there once it is admitted.
        let mut other = after.clone();
        let list = if is_native { "initContainers" } else { "containers" };
        for one in other["spec"][list].as_array_mut().unwrap() {
            if one["name"] == "authbridge-proxy" {
                one["args"] = json!([]);
            }
        }
        prop_assert_eq!(admitted(&other, &settings).0, after);
    }
}

#[test]
fn of_variables_with_one_name_the_last_is_written_because_it_counts() {
    let twice =
        |name: &str, value: &str| json!([{ "name": name, "value": "old" }, { "name": name, "value": value }]);
    for (env, name, value) in [
        (twice("PORT", "8000"), "PORT", "8001"),
        (twice("NO_PROXY", "db"), "NO_PROXY", "db,127.0.0.1,localhost,::1"),
        (twice("http_proxy", "http://127.0.0.1:8081"), "http_proxy", "http://127.0.0.1:8081"),
    ] {
        let (after, _) = admitted(&pod(&json!({ "env": env })), &settings());
        let env = after["spec"]["containers"][0]["env"].as_array().unwrap();
        let last = env.iter().rfind(|variable| variable["name"] == name).unwrap();
        assert_eq!(last["value"], value, "{env:?}");
    }
}

#[test]
fn the_patch_has_what_changes_and_nothing_of_what_stays() {
    let (long, port) = ("x".repeat(1000), json!([{ "containerPort": 8000 }]));
    let env = json!([{ "name": "LONG", "value": long }, { "name": "PORT", "value": "8000" }]);
    let mut large = pod(&json!({ "env": env, "ports": port }));
    large["spec"]["initContainers"] = json!([{ "name": "first", "args": [long] }]);
    let Injection::Injected { patch, .. } = planned(&large, Some(&settings())) else { panic!("{large:#}") };
    let text = serde_json::to_string(&patch).unwrap();
    assert!(!text.contains(&long), "{text}");
    let paths: Vec<&str> = patch.0.iter().map(|operation| operation.path().as_str()).collect();
    assert_eq!(paths[..2], ["/spec/initContainers/0", "/spec/initContainers/1/env"], "{paths:?}");
    assert!(paths.contains(&"/metadata/annotations/countersign.dev~1injection"), "{paths:?}");
    assert!(paths.contains(&"/spec/containers/0/env/1"), "{paths:?}");
}

#[test]
fn probes_of_the_port_that_was_taken_over_ask_the_agent() {
    let probe = |port: Value| json!({ "httpGet": { "path": "/", "port": port }, "periodSeconds": 3 });
    let container = json!({ "ports": [{ "containerPort": 8000, "name": "http" }, { "containerPort": 7000, "name": "own" }],
        "livenessProbe": probe(json!(8000)), "readinessProbe": probe(json!("http")), "startupProbe": probe(json!("own")),
        "lifecycle": { "preStop": { "httpGet": { "path": "/stop", "port": "8000" } } } });
    let (after, _) = admitted(&pod(&container), &settings());
    let agent = &after["spec"]["containers"][0];
    for (probe, port) in
        [("livenessProbe", json!(8001)), ("readinessProbe", json!(8001)), ("startupProbe", json!("own"))]
    {
        assert_eq!(
            (&agent[probe]["httpGet"]["port"], &agent[probe]["periodSeconds"]),
            (&port, &json!(3)),
            "{probe}"
        );
    }
    assert_eq!(agent["lifecycle"]["preStop"]["httpGet"]["port"], 8001);
}

#[test]
fn hosts_without_proxy_are_the_same_in_both_cases_of_the_name() {
    for (env, hosts) in [
        (json!([]), "127.0.0.1,localhost,::1"),
        (json!([{ "name": "NO_PROXY", "value": "db, cache" }]), "db,cache,127.0.0.1,localhost,::1"),
        (
            json!([{ "name": "no_proxy", "value": "db,localhost" }, { "name": "NO_PROXY", "value": "x" }]),
            "x,db,localhost,127.0.0.1,::1",
        ),
    ] {
        let (after, _) = admitted(&pod(&json!({ "env": env })), &settings());
        let agent = &after["spec"]["containers"][0];
        assert_eq!(variable(agent, "NO_PROXY")["value"], hosts);
        assert_eq!(variable(agent, "no_proxy")["value"], hosts);
    }
    let from = json!({ "configMapKeyRef": { "name": "site", "key": "no-proxy" } });
    let env = json!({ "env": [{ "name": "no_proxy", "valueFrom": from }] });
    let (after, _) = admitted(&pod(&env), &settings());
    let agent = &after["spec"]["containers"][0];
    assert_eq!(variable(agent, "no_proxy")["valueFrom"], from);
    assert_eq!(variable(agent, "NO_PROXY")["value"], "$(no_proxy)");
    let own = json!({ "env": [{ "name": "HTTPS_PROXY", "value": "http://proxy.site:3128" }] });
    let (after, warnings) = admitted(&pod(&own), &settings());
    assert_eq!(after["spec"]["containers"][0]["env"][0]["value"], "http://proxy.site:3128");
    assert!(warnings[0].contains("the container agent names a proxy of its own"), "{warnings:?}");
}

#[test]
fn a_sidecar_without_rights_may_listen_on_a_low_port() {
    let low = json!({ "ports": [{ "containerPort": 80 }] });
    let free = json!({ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" });
    let other = json!({ "name": "net.core.somaxconn", "value": "1024" });
    let own = json!({ "name": "net.ipv4.ip_unprivileged_port_start", "value": "80" });
    for (context, expected) in [
        (Value::Null, json!({ "sysctls": [free] })),
        (json!({}), json!({ "sysctls": [free] })),
        (json!({ "fsGroup": 1, "sysctls": [other] }), json!({ "fsGroup": 1, "sysctls": [other, free] })),
        (json!({ "sysctls": [own] }), json!({ "sysctls": [own] })),
    ] {
        let mut asking = pod(&low);
        asking["spec"]["securityContext"] = context.clone();
        assert_eq!(admitted(&asking, &settings()).0["spec"]["securityContext"], expected);
        asking["spec"]["containers"][0]["ports"] = json!([]);
        assert_eq!(admitted(&asking, &settings()).0["spec"]["securityContext"], context);
    }
}

#[test]
fn what_the_sidecar_does_not_guard_is_noted_in_the_pod() {
    let (after, warnings) = admitted(
        &pod(&json!({ "ports": [{ "containerPort": 8000 }, { "containerPort": 8005 }],
            "env": [{ "name": "HTTP_PROXY", "value": "http://proxy:3128" }] })),
        &settings(),
    );
    let noted = after["metadata"]["annotations"]["countersign.dev/injection"].as_str().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(noted.starts_with("injected: ") && warnings.iter().all(|told| noted.contains(told)), "{noted}");
}

#[test]
fn a_container_with_the_name_of_the_sidecar_is_replaced() {
    let mut impostor = pod(&json!({}));
    let containers = impostor["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({ "name": "authbridge-proxy", "image": "impostor" }));
    let (after, _) = admitted(&impostor, &settings());
    assert!(!after.to_string().contains("impostor"), "{after:#}");
    let (honest, _) = admitted(&pod(&json!({})), &settings());
    assert_eq!(after, honest);
    // Another webhook put its container first; the agent's way out still comes before it.
    let mut reviewed = honest.clone();
    reviewed["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "name": "foreign", "image": "x" }));
    let (after, _) = admitted(&reviewed, &settings());
    assert_eq!(after["spec"]["initContainers"][0]["name"], "authbridge-proxy");
    assert_eq!(variable(&after["spec"]["initContainers"][1], "http_proxy")["value"], "http://127.0.0.1:8081");
}

#[test]
fn what_comes_after_the_sidecar_leaves_its_ports_alone_or_is_refused_with_the_port() {
    let declared = json!({ "ports": [{ "containerPort": 8000 }],
        "readinessProbe": { "tcpSocket": { "port": 8000 } } });
    let (honest, _) = admitted(&pod(&declared), &settings());
    let with = |list: &str, index: usize, port: u16| {
        let mut reviewed = honest.clone();
        let foreign = json!({ "name": "foreign", "image": "x", "ports": [{ "containerPort": port }] });
        reviewed["spec"][list].as_array_mut().unwrap().insert(index, foreign);
        reviewed
    };
    for (list, index, port, told) in [
        (
            "containers",
            1,
            8081,
            "port 8081 (AUTHBRIDGE_OUTBOUND_PORT), and now the container foreign declares",
        ),
        ("containers", 1, 8001, "port 8001 (AUTHBRIDGE_AGENT_PORT), and now the container foreign declares"),
        ("initContainers", 0, 9091, "port 9091 (AUTHBRIDGE_HEALTH_PORT), and now the container foreign"),
        ("containers", 0, 15001, "port 8000 (AUTHBRIDGE_INBOUND_PORT), and now the first port that its"),
    ] {
        let planned = planned(&with(list, index, port), Some(&settings()));
        let Injection::Refused(found) = planned else { panic!("{planned:?}") };
        assert!(found.contains(told), "{found}");
    }
    let (after, warnings) = admitted(&with("containers", 1, 7000), &settings());
    assert_eq!(after["spec"]["initContainers"], honest["spec"]["initContainers"]);
    assert!(warnings[0].contains("and not 7000"), "{warnings:?}");
    // Whoever copied a running Pod and took a port out of it.
    let (mut copied, _) = admitted(
        &pod(&json!({ "ports": [{ "containerPort": 8000 }, { "containerPort": 8081 }] })),
        &settings(),
    );
    copied["spec"]["containers"][0]["ports"].as_array_mut().unwrap().pop();
    let Injection::Refused(found) = planned(&copied, Some(&settings())) else { panic!("{copied:#}") };
    assert!(
        found.contains("port 8082 (AUTHBRIDGE_OUTBOUND_PORT)") && found.contains("would be 8081"),
        "{found}"
    );
}

#[test]
fn who_is_not_injected_is_told_why_and_who_cannot_be_is_refused() {
    let good = pod(&json!({}));
    let with = |path: &[&str], value: Value| {
        let mut pod = good.clone();
        let mut member = &mut pod;
        for name in path {
            member = &mut member[*name];
        }
        *member = value;
        pod
    };
    for (pod, reason) in [
        (with(&["metadata", "labels"], json!({})), "has no label kagenti.io/type"),
        (with(&["metadata", "labels", "kagenti.io/type"], json!("other")), "has no label kagenti.io/type"),
        (with(&["metadata", "labels", "kagenti.io/inject"], json!("disabled")), "kagenti.io/inject=disabled"),
        (with(&["metadata", "annotations"], Value::Null), "no AgentRuntime"),
    ] {
        let Injection::Skipped { patch, reason: found } = planned(&pod, Some(&settings())) else {
            panic!("{pod:#}")
        };
        assert!(found.contains(reason), "{found}");
        let after = patched(&pod, &patch);
        assert_eq!(after["spec"], pod["spec"]);
        assert_eq!(
            after["metadata"]["annotations"]["countersign.dev/injection"],
            format!("skipped: {found}")
        );
        let Injection::Skipped { patch, .. } = planned(&after, Some(&settings())) else {
            panic!("{after:#}")
        };
        assert_eq!(patch, Patch::default());
    }
    let no_image = SidecarSettings { image: String::new(), ..settings() };
    let no_spire = SidecarSettings { spire: None, ..settings() };
    for (settings, problem) in [
        (None, "does not know yet"),
        (Some(&no_image), "without --sidecar-image"),
        (Some(&no_spire), "needs SPIRE"),
    ] {
        let Injection::Refused(found) = planned(&good, settings) else { panic!("{settings:?}") };
        assert!(found.contains(problem), "{found}");
    }
    let volume = json!([{ "name": "spire-agent-socket", "emptyDir": {} }]);
    for (pod, problem) in [
        (with(&["spec", "hostNetwork"], json!(true)), "spec.hostNetwork"),
        (with(&["spec", "os"], json!({ "name": "windows" })), "spec.os.name is windows"),
        (with(&["spec"], Value::Null), "it has no spec"),
        (with(&["spec"], json!(7)), "it has no spec"),
        (with(&["metadata", "annotations", "countersign.dev/sidecar"], json!("waypoint")), "the one mode"),
        (
            with(&["metadata", "annotations", "countersign.dev/sidecar-spiffe"], json!("")),
            "is not workload-api",
        ),
        (with(&["spec", "volumes"], volume), "a volume spire-agent-socket"),
        (
            with(&["metadata", "annotations", "countersign.dev/sidecar-config"], json!("")),
            "names no ConfigMap",
        ),
        (
            with(&["metadata", "annotations", "countersign.dev/sidecar-config"], json!("own")),
            "names no ConfigMap authbridge-config-",
        ),
        (
            with(&["spec", "containers"], json!([{ "name": "a", "ports": [{ "containerPort": 0 }] }])),
            "containerPort",
        ),
    ] {
        let Injection::Refused(found) = planned(&pod, Some(&settings())) else { panic!("{pod:#}") };
        assert!(found.contains(problem), "{found}");
    }
}

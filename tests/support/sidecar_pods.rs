//! Pods that ask for a sidecar, and what their author could send in place of what injection makes of them.

use serde_json::{Value, json};

/// What a Pod is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Under the newer names of labels.
    pub(crate) is_renamed: bool,
    /// Containers of the Pod, of which there is one at least.
    pub(crate) containers: Vec<Container>,
    /// Init containers, each with whether it goes on running.
    pub(crate) before: Vec<(bool, Container)>,
    /// Whether the sidecar needs SPIRE's socket.
    pub(crate) has_spiffe: bool,
    /// Whether the template names a Secret with credentials of a client.
    pub(crate) has_credentials: bool,
    /// Mode of mTLS that the template names.
    pub(crate) mtls: Option<&'static str>,
    /// A container with the sidecar's name in the template, and whether it is an init container.
    pub(crate) impostor: Option<bool>,
    /// Name of a volume of its own.
    pub(crate) volume: &'static str,
}

/// What a container is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    /// Declared ports, each with whether it is for TCP.
    pub(crate) ports: Vec<(u16, bool)>,
    /// Whether it names a proxy of its own.
    pub(crate) has_proxy: bool,
    /// Whether it asks for its readiness on its first port.
    pub(crate) has_probe: bool,
    /// Whether it has a user, command, mount and variable of its own.
    pub(crate) has_more: bool,
}

/// Namespace of the Pods.
pub(crate) const NAMESPACE: &str = "sidecars";
/// Image of the sidecar.
pub(crate) const IMAGE: &str = "authbridge:1";

impl Shape {
    /// The Pod as its controller sends it.
    pub(crate) fn pod(&self, name: &str) -> Value {
        let mut annotations = json!({
            "countersign.dev/sidecar": "proxy-sidecar",
            "countersign.dev/sidecar-config": "authbridge-config-weather",
        });
        if self.has_spiffe {
            annotations["countersign.dev/sidecar-spiffe"] = json!("workload-api");
        }
        if self.has_credentials {
            annotations["kagenti.io/keycloak-client-credentials-secret-name"] = json!("weather-client");
        }
        if let Some(mode) = self.mtls {
            annotations["kagenti.io/mtls-mode"] = json!(mode);
        }
        let label = if self.is_renamed { "rossoctl.io/type" } else { "kagenti.io/type" };
        let mut containers: Vec<Value> =
            self.containers.iter().enumerate().map(|(at, one)| one.json(&format!("own-{at}"))).collect();
        let mut before: Vec<Value> = Vec::new();
        for (at, (goes_on, one)) in self.before.iter().enumerate() {
            let mut container = Container { has_probe: false, ..one.clone() }.json(&format!("init-{at}"));
            if *goes_on {
                container["restartPolicy"] = json!("Always");
            }
            before.push(container);
        }
        let impostor =
            json!({ "name": "authbridge-proxy", "image": IMAGE, "args": ["--config", "/own/config.yaml"] });
        match self.impostor {
            Some(true) => before.push(impostor),
            Some(false) => containers.push(impostor),
            None => {}
        }
        let volumes = ["own", self.volume].map(|name| json!({ "name": name, "emptyDir": {} }));
        let count = if self.volume.is_empty() { 1 } else { 2 };
        let mut spec = json!({ "containers": containers, "volumes": volumes.get(..count) });
        if !before.is_empty() {
            spec["initContainers"] = json!(before);
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": { label: "agent" }, "annotations": annotations },
            "spec": spec,
        })
    }
}

impl Container {
    fn json(&self, name: &str) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|(port, is_tcp)| json!({ "containerPort": port, "protocol": if *is_tcp { "TCP" } else { "UDP" } }))
            .collect();
        let mut container = json!({ "name": name, "image": "own" });
        if !ports.is_empty() {
            container["ports"] = json!(ports);
        }
        if let (true, Some((port, true))) = (self.has_probe, self.ports.first()) {
            container["readinessProbe"] = json!({ "tcpSocket": { "port": port } });
        }
        let mut variables = Vec::new();
        if self.has_proxy {
            variables.push(json!({ "name": "HTTP_PROXY", "value": "http://proxy.example:3128" }));
        }
        if self.has_more {
            variables.push(json!({ "name": "OWN", "value": "kept" }));
            container["command"] = json!(["/own"]);
            container["securityContext"] = json!({ "runAsUser": 1000 });
            container["volumeMounts"] = json!([{ "name": "own", "mountPath": "/own" }]);
        }
        if !variables.is_empty() {
            container["env"] = json!(variables);
        }
        container
    }
}

/// A change of an injected Pod, whose sidecar is the first init container.
pub(crate) type Tampering = fn(&mut Value);

/// Container that is not what injection makes.
const CONTAINER: &str = "is not the sidecar that the operator injects";
const PORTS: &str = "does not listen on the ports that the operator gives it";
const MOUNTS: &str = "does not mount what the operator gives it";
const FIRST: &str = "does not start first";
const CONFIG: &str = "does not read the ConfigMap";
const SOURCES: &str = "do not come from where the operator takes them";
const ABSENT: &str = "none was injected";
const NODE: &str = "on the network of its node";

/// Changes of an injected Pod that leave the agent less guarded, each with what is said about it.
pub(crate) const TAMPERINGS: [(&str, Tampering); 41] = [
    (ABSENT, |pod| drop(take_sidecar(pod))),
    (NODE, |pod| pod["spec"]["hostNetwork"] = json!(true)),
    (CONTAINER, |pod| sidecar(pod)["image"] = json!("other")),
    (CONTAINER, |pod| sidecar(pod)["image"] = json!("registry.example/authbridge:1")),
    (CONTAINER, |pod| sidecar(pod)["args"] = json!(["--help"])),
    (CONTAINER, |pod| push(&mut sidecar(pod)["args"], json!("--config=/own/config.yaml"))),
    (CONTAINER, |pod| remove(sidecar(pod), "args")),
    (CONTAINER, |pod| sidecar(pod)["command"] = json!(["/bin/true"])),
    (CONTAINER, |pod| sidecar(pod)["workingDir"] = json!("/own")),
    (CONTAINER, |pod| sidecar(pod)["envFrom"] = json!([{ "configMapRef": { "name": "own" } }])),
    (CONTAINER, |pod| sidecar(pod)["lifecycle"] = json!({ "preStop": { "exec": { "command": ["/own"] } } })),
    (CONTAINER, |pod| sidecar(pod)["livenessProbe"] = json!({ "exec": { "command": ["/own"] } })),
    (CONTAINER, |pod| sidecar(pod)["readinessProbe"] = json!({ "exec": { "command": ["/own"] } })),
    (CONTAINER, |pod| sidecar(pod)["startupProbe"] = json!({ "exec": { "command": ["/own"] } })),
    (CONTAINER, |pod| sidecar(pod)["securityContext"]["runAsUser"] = json!(0)),
    (CONTAINER, |pod| {
        sidecar(pod)["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        sidecar(pod)["securityContext"]["privileged"] = json!(true);
    }),
    (CONTAINER, |pod| sidecar(pod)["securityContext"]["capabilities"] = json!({ "add": ["NET_ADMIN"] })),
    (CONTAINER, |pod| sidecar(pod)["securityContext"]["readOnlyRootFilesystem"] = json!(false)),
    (CONTAINER, |pod| push(&mut sidecar(pod)["env"], json!({ "name": "LD_PRELOAD", "value": "x" }))),
    (CONTAINER, |pod| *variable(pod, "MTLS_MODE") = json!("other")),
    (CONTAINER, |pod| {
        let other = if *variable(pod, "SPIRE_ENABLED") == "true" { "false" } else { "true" };
        *variable(pod, "SPIRE_ENABLED") = json!(other);
    }),
    (CONTAINER, |pod| {
        let sidecar = take_sidecar(pod);
        push(&mut pod["spec"]["containers"], impostor(&sidecar));
    }),
    // As an API server without native sidecars would get it, where no such policy is served.
    (CONTAINER, |pod| {
        let mut sidecar = take_sidecar(pod);
        remove(&mut sidecar, "restartPolicy");
        remove(&mut sidecar, "startupProbe");
        push(&mut pod["spec"]["containers"], sidecar);
    }),
    // The agent listens where its callers come, and the sidecar where nobody does.
    (PORTS, |pod| {
        let inbound = variable(pod, "AUTHBRIDGE_INBOUND_PORT").take();
        let agent = std::mem::replace(variable(pod, "AUTHBRIDGE_AGENT_PORT"), inbound);
        *variable(pod, "AUTHBRIDGE_INBOUND_PORT") = agent;
    }),
    (PORTS, |pod| *variable(pod, "AUTHBRIDGE_INBOUND_PORT") = json!("65535")),
    // An open port leads past the sidecar.
    (PORTS, |pod| {
        let inbound = variable(pod, "AUTHBRIDGE_INBOUND_PORT").clone();
        *variable(pod, "AUTHBRIDGE_AGENT_PORT") = inbound;
    }),
    (PORTS, |pod| {
        let agent = variable(pod, "AUTHBRIDGE_AGENT_PORT").as_str().and_then(|port| port.parse::<u16>().ok());
        pod["spec"]["containers"][0]["ports"] = json!([]);
        let inbound =
            variable(pod, "AUTHBRIDGE_INBOUND_PORT").as_str().and_then(|port| port.parse::<u16>().ok());
        for port in [inbound, agent] {
            push(
                &mut pod["spec"]["containers"][0]["ports"],
                json!({ "containerPort": port, "protocol": "TCP" }),
            );
        }
    }),
    (PORTS, |pod| *variable(pod, "AUTHBRIDGE_AGENT_PORT") = json!("evil.example:80")),
    (PORTS, |pod| *variable(pod, "AUTHBRIDGE_HEALTH_PORT") = json!("")),
    (MOUNTS, |pod| drop(sidecar(pod)["volumeMounts"].as_array_mut().map(|mounts| mounts.remove(0)))),
    // It hides the configuration.
    (MOUNTS, |pod| {
        let over =
            json!({ "name": "own", "mountPath": "/etc/authbridge/config.yaml", "subPath": "config.yaml" });
        push(&mut sidecar(pod)["volumeMounts"], over);
    }),
    (MOUNTS, |pod| {
        push(&mut sidecar(pod)["volumeMounts"], json!({ "name": "own", "mountPath": "/usr/bin" }));
    }),
    (MOUNTS, |pod| sidecar(pod)["volumeMounts"][0]["subPath"] = json!("own")),
    (MOUNTS, |pod| sidecar(pod)["volumeMounts"][0]["readOnly"] = json!(false)),
    (MOUNTS, |pod| sidecar(pod)["volumeMounts"][1]["name"] = json!("own")),
    (FIRST, |pod| {
        if let Some(before) = pod["spec"]["initContainers"].as_array_mut() {
            before.insert(0, json!({ "name": "first", "image": "own" }));
        }
    }),
    (FIRST, |pod| {
        for member in ["restartPolicy", "startupProbe", "readinessProbe"] {
            remove(sidecar(pod), member);
        }
    }),
    (CONFIG, |pod| volume(pod, "authbridge-runtime-config")["configMap"]["name"] = json!("own")),
    // The existing operator's member of the ConfigMap, which anybody may write where it is alone.
    (CONFIG, |pod| {
        volume(pod, "authbridge-runtime-config")["configMap"]["items"][0]["key"] = json!("config.yaml");
    }),
    (CONFIG, |pod| {
        volume(pod, "authbridge-runtime-config")["configMap"]["name"] = json!("own");
        pod["metadata"]["annotations"]["countersign.dev/sidecar-config"] = json!("own");
    }),
    (SOURCES, |pod| {
        *volume(pod, "authproxy-routes") = json!({ "name": "authproxy-routes", "emptyDir": {} });
    }),
];

/// Changes of an injected Pod with SPIRE's socket and credentials of a client.
pub(crate) const TAMPERINGS_WITH_ALL: [(&str, Tampering); 4] = [
    (SOURCES, |pod| {
        *volume(pod, "spire-agent-socket") = json!({ "name": "spire-agent-socket", "emptyDir": {} });
    }),
    (SOURCES, |pod| {
        *volume(pod, "spire-agent-socket") =
            json!({ "name": "spire-agent-socket", "hostPath": { "path": "/own", "type": "" } });
    }),
    (SOURCES, |pod| volume(pod, "keycloak-client-credentials")["secret"]["secretName"] = json!("other")),
    (MOUNTS, |pod| {
        if let Some(mounts) = sidecar(pod)["volumeMounts"].as_array_mut() {
            mounts.retain(|mount| mount["name"] != "spire-agent-socket");
        }
    }),
];

fn sidecar(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["initContainers"][0]
}

fn take_sidecar(pod: &mut Value) -> Value {
    let before = pod["spec"]["initContainers"].as_array_mut();
    before.map_or(Value::Null, |before| before.remove(0))
}

fn impostor(sidecar: &Value) -> Value {
    json!({ "name": sidecar["name"], "image": "other" })
}

fn variable<'p>(pod: &'p mut Value, name: &str) -> &'p mut Value {
    &mut named(&mut sidecar(pod)["env"], name)["value"]
}

fn volume<'p>(pod: &'p mut Value, name: &str) -> &'p mut Value {
    named(&mut pod["spec"]["volumes"], name)
}

fn named<'v>(list: &'v mut Value, name: &str) -> &'v mut Value {
    let found = list.as_array_mut().and_then(|list| list.iter_mut().find(|one| one["name"] == name));
    found.expect("an injected Pod has it")
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().expect("a list").push(item);
}

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().expect("an object").remove(name);
}

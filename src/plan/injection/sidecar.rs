//! The sidecar as a container, and the volumes that it needs. Every member that the API server would fill in is written, so
//! that a Pod which is admitted twice is the same the second time.

use super::changes::Changes;
use super::json::{list, text};
use super::ports::Ports;
use countersign_api::keys::{
    CREDENTIALS_ANNOTATION, MTLS_MODE_ANNOTATION, SIDECAR_CONFIG_ANNOTATION, SIDECAR_CONFIG_KEY,
    SIDECAR_CONFIG_PREFIX, SIDECAR_CONTAINER, SIDECAR_SPIFFE, SIDECAR_SPIFFE_ANNOTATION, SPIFFE_CSI_DRIVER,
};
use json_patch::jsonptr::PointerBuf;
use serde_json::{Value, json};

/// List of a Pod's volumes in its specification.
const VOLUMES: &str = "volumes";
/// User and group of the sidecar.
const USER: u32 = 1337;
/// Mode of files from a ConfigMap or Secret, 0644.
const READABLE: u32 = 0o644;
const CONFIG_VOLUME: &str = "authbridge-runtime-config";
const ROUTES_VOLUME: &str = "authproxy-routes";
const SOCKET_VOLUME: &str = "spire-agent-socket";
const CREDENTIALS_VOLUME: &str = "keycloak-client-credentials";
/// Folder of SPIRE's socket in the sidecar.
const SOCKET_FOLDER: &str = "/spiffe-workload-api";

/// Settings of the cluster for every sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarSettings {
    /// Image of the sidecar; empty if nothing is injected.
    pub image: String,
    /// Where SPIRE's socket comes from; `None` on a cluster without SPIRE.
    pub spire: Option<SpireSocket>,
    /// True if the API server knows init containers that go on running (Kubernetes 1.29).
    pub is_native: bool,
}

/// Source of SPIRE's socket in a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpireSocket {
    /// The CSI driver `csi.spiffe.io`.
    Csi,
    /// A folder on every node.
    HostPath(String),
}

/// What the template of a Pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    config: String,
    mtls_mode: String,
    credentials: Option<String>,
    /// Socket of SPIRE's agent, if the configuration needs it.
    spire: Option<SpireSocket>,
}

impl Asked {
    /// What the annotations of a Pod ask for, and this cluster has.
    pub(super) fn of(annotations: Option<&Value>, settings: &SidecarSettings) -> Result<Self, String> {
        let config = text(annotations, SIDECAR_CONFIG_ANNOTATION);
        // Anybody may have written one with another name (guard-sidecar-configs).
        let config = config.filter(|name| name.starts_with(SIDECAR_CONFIG_PREFIX)).ok_or_else(|| {
            format!(
                "its annotation {SIDECAR_CONFIG_ANNOTATION} names no ConfigMap {SIDECAR_CONFIG_PREFIX}…: the operator writes it \
                 into the template of the workload, so do not write the annotations of countersign.dev by hand"
            )
        })?;
        let spire = match text(annotations, SIDECAR_SPIFFE_ANNOTATION) {
            None => None,
            Some(SIDECAR_SPIFFE) => Some(settings.spire.clone().ok_or_else(|| {
                "its sidecar needs SPIRE, and the cluster has no CSI driver csi.spiffe.io now, so that the Pod would wait for \
                 it: install it, or start the operator with --sidecar-spire-host-path"
                    .to_owned()
            })?),
            Some(_) => {
                return Err(format!("its annotation {SIDECAR_SPIFFE_ANNOTATION} is not {SIDECAR_SPIFFE}"));
            }
        };
        Ok(Self {
            spire,
            config: config.to_owned(),
            mtls_mode: text(annotations, MTLS_MODE_ANNOTATION).unwrap_or("permissive").to_owned(),
            credentials: text(annotations, CREDENTIALS_ANNOTATION)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
    }

    /// The container.
    pub(super) fn container(&self, settings: &SidecarSettings, ports: &Ports) -> Value {
        let variable = |name: &str, value: String| json!({ "name": name, "value": value });
        let port = |name: &str, port: u16| json!({ "name": name, "containerPort": port, "protocol": "TCP" });
        let mount = |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
        let mut mounts =
            vec![mount(CONFIG_VOLUME, "/etc/authbridge"), mount(ROUTES_VOLUME, "/etc/authproxy")];
        if self.spire.is_some() {
            mounts.push(mount(SOCKET_VOLUME, SOCKET_FOLDER));
        }
        if self.credentials.is_some() {
            mounts.push(mount(CREDENTIALS_VOLUME, "/shared"));
        }
        let mut env: Vec<Value> =
            ports.variables().into_iter().map(|(name, port)| variable(name, port.to_string())).collect();
        env.push(variable("SPIRE_ENABLED", self.spire.is_some().to_string()));
        env.push(variable("MTLS_MODE", self.mtls_mode.clone()));
        let mut container = json!({
            "name": SIDECAR_CONTAINER,
            "image": settings.image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["--config", "/etc/authbridge/config.yaml"],
            "env": env,
            "ports": [port("reverse-proxy", ports.inbound), port("forward-proxy", ports.outbound)],
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                "limits": { "cpu": "300m", "memory": "384Mi" },
            },
            "securityContext": {
                "runAsUser": USER,
                "runAsGroup": USER,
                "runAsNonRoot": true,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumeMounts": mounts,
            "readinessProbe": probe("/readyz", ports.health, 10, 3),
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        });
        if let (true, Value::Object(members)) = (settings.is_native, &mut container) {
            members.insert("restartPolicy".to_owned(), json!("Always"));
            // The agent starts once its way out listens, and not only once it may be called.
            members.insert("startupProbe".to_owned(), probe("/healthz", ports.health, 1, 60));
        }
        container
    }

    /// Volumes of the container.
    fn volumes(&self) -> Vec<Value> {
        let mut volumes = vec![
            json!({ "name": CONFIG_VOLUME, "configMap": { "name": self.config, "defaultMode": READABLE,
                "items": [{ "key": SIDECAR_CONFIG_KEY, "path": "config.yaml" }] } }),
            json!({ "name": ROUTES_VOLUME, "configMap": { "name": ROUTES_VOLUME, "defaultMode": READABLE,
                "optional": true } }),
        ];
        match &self.spire {
            Some(SpireSocket::Csi) => volumes.push(
                json!({ "name": SOCKET_VOLUME, "csi": { "driver": SPIFFE_CSI_DRIVER, "readOnly": true } }),
            ),
            Some(SpireSocket::HostPath(path)) => {
                volumes.push(json!({ "name": SOCKET_VOLUME, "hostPath": { "path": path, "type": "" } }));
            }
            None => {}
        }
        if let Some(secret) = &self.credentials {
            // It may be made later: the kubelet brings it then, and the sidecar waits for it without being ready.
            volumes.push(json!({ "name": CREDENTIALS_VOLUME, "secret": { "secretName": secret,
                "defaultMode": READABLE, "optional": true } }));
        }
        volumes
    }
}

fn probe(path: &str, port: u16, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": port, "scheme": "HTTP" },
        "timeoutSeconds": 1,
        "periodSeconds": period,
        "successThreshold": 1,
        "failureThreshold": failures,
    })
}

/// Plans the volumes of the sidecar, of which the Pod may not have others by the same names.
pub(super) fn plan_volumes(asked: &Asked, spec: &Value, changes: &mut Changes) -> Result<(), String> {
    let known = list(spec, VOLUMES);
    let mut added = Vec::new();
    for volume in asked.volumes() {
        let name = text(Some(&volume), "name").unwrap_or_default();
        let mut known = known.unwrap_or_default().iter();
        match known.find(|known| text(Some(known), "name") == Some(name)) {
            Some(known) if *known == volume => {}
            Some(_) => {
                return Err(format!(
                    "the Pod has a volume {name}, which is the name of one that the sidecar needs: give it another name"
                ));
            }
            None => added.push(volume),
        }
    }
    changes.append(&PointerBuf::from_tokens(["spec", VOLUMES]), known.is_some(), added);
    Ok(())
}

//! A mutating webhook of somebody else, which the API server calls between two calls of the operator's: it puts an init
//! container before all others, and, into Pods with the label [`PORT_LABEL`], a container that declares that port.

use anyhow::{Context, Result};
use countersign_core::encoding::encode_base64_standard_into;
use countersign_rig::{Ca, Leaf, Rig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The label with the port of the container that is added.
pub const PORT_LABEL: &str = "countersign.test/foreign-port";
/// The container that every Pod gets.
pub const FOREIGN: &str = "foreign-init";

const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/zz-countersign-test-foreign";

/// A webhook that serves until its process ends.
pub struct ForeignWebhook {
    seen: Arc<Mutex<Vec<Value>>>,
}

impl ForeignWebhook {
    /// Serves at an address inside the rig, and has the API server call it there about Pods of a namespace, after webhooks
    /// whose configurations come before by name.
    pub fn start(rig: &Rig, address: SocketAddr, namespace: &str) -> Result<Self> {
        let ca = Ca::new("somebody else", None)?;
        let leaf = ca.issue(Leaf { hosts: vec![address.ip().to_string()], ..Leaf::default() })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(leaf.der)],
                PrivatePkcs8KeyDer::from(leaf.key_der).into(),
            )?;
        let (config, seen) = (Arc::new(config), Arc::new(Mutex::default()));
        let (listener, noted) = (rig.listen(address)?, Arc::clone(&seen));
        std::thread::spawn(move || serve(&listener, &config, &noted));
        let bundle = base64(ca.certificate().pem.as_bytes());
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "zz-countersign-test-foreign" },
            "webhooks": [{
                "name": "foreign.countersign.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "timeoutSeconds": 3, "reinvocationPolicy": "Never",
                "clientConfig": { "url": format!("https://{address}/"), "caBundle": bundle },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            }],
        });
        rig.apply(&configuration.to_string())?;
        Ok(Self { seen })
    }

    /// The Pods that it was asked about, as they came.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the API server call it no more.
    pub fn stop(self, rig: &Rig) -> Result<()> {
        rig.delete(CONFIGURATION)
    }
}

fn serve(listener: &TcpListener, config: &Arc<ServerConfig>, seen: &Arc<Mutex<Vec<Value>>>) {
    while let Ok((stream, _)) = listener.accept() {
        let (config, seen) = (Arc::clone(config), Arc::clone(seen));
        std::thread::spawn(move || answer(stream, config, &seen));
    }
}

/// Answers one request, and closes the connection.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Vec<Value>>) -> Result<()> {
    let mut reader = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(Error::other("no request").into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let review: Value = serde_json::from_slice(&body)?;
    let pod = review["request"]["object"].clone();
    let patch = patch(&pod);
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(pod);
    let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": { "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch",
            "patch": base64(patch.to_string().as_bytes()) } })
    .to_string();
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush().context("an answer")
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    encode_base64_standard_into(bytes, &mut text);
    text
}

fn patch(pod: &Value) -> Value {
    let container = json!({ "name": FOREIGN, "image": "foreign" });
    let mut patch = vec![if pod["spec"]["initContainers"].is_array() {
        json!({ "op": "add", "path": "/spec/initContainers/0", "value": container })
    } else {
        json!({ "op": "add", "path": "/spec/initContainers", "value": [container] })
    }];
    if let Some(port) =
        pod["metadata"]["labels"][PORT_LABEL].as_str().and_then(|port| port.parse::<u16>().ok())
    {
        let container =
            json!({ "name": "foreign", "image": "foreign", "ports": [{ "containerPort": port }] });
        patch.push(json!({ "op": "add", "path": "/spec/containers/-", "value": container }));
    }
    Value::Array(patch)
}

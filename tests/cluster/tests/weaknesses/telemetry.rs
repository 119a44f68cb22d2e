//! What the process tells others: metrics to whom the API server allows, traces to where they are configured.

use crate::{METRICS, scene};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// The operator made its certificate itself; who it is, is known from where it listens.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Status and body of `/metrics`, asked with this token.
fn metrics(address: SocketAddr, token: Option<&str>) -> (String, String) {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n{token}\r\n").unwrap();
    let mut answer = Vec::new();
    // A server may end a connection without saying so.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

#[test]
fn metrics_are_for_callers_that_the_api_server_allows_and_traces_go_where_they_are_sent() {
    let (scene, team) = (scene("telemetry"), "telemetry");
    scene.agent(team, "weather", &scene.honest(team, "weather")).unwrap();
    scene.verified(team, "weather", "weather").unwrap();

    let way = scene.rig.relay(METRICS.parse().unwrap()).unwrap();
    for account in ["reader", "nobody"] {
        scene.rig.kubectl(&["create", "serviceaccount", "-n", team, account]).unwrap();
    }
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "reader" }, "rules": [{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }] });
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" },
        "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": team }] });
    scene.apply_all(&[role, binding]).unwrap();
    let token = |account: &str| {
        scene.rig.kubectl(&["create", "token", "-n", team, account]).unwrap().trim().to_owned()
    };
    assert_eq!(metrics(way.address(), None).0, "401");
    assert_eq!(metrics(way.address(), Some("made up")).0, "401");
    assert_eq!(metrics(way.address(), Some(&token("nobody"))).0, "403");
    let reader = token("reader");
    let (status, body) = metrics(way.address(), Some(&reader));
    assert_eq!(status, "200");
    for name in [
        "controller_runtime_reconcile_total{controller=\"agentcard\",result=\"requeue_after\"}",
        "a2a_signature_verification_total",
        "a2a_signature_verification_duration_seconds",
        "countersign_card_fetch_duration_seconds_count{source=\"http\"}",
        "countersign_cards{outcome=\"verified\"}",
    ] {
        assert!(body.contains(name), "{name} is missing in\n{body}");
    }
    let log = scene.operator.log();
    assert!(!log.contains(&reader) && !body.contains(&reader));

    let sent = |text: &str| scene.agents.posted().windows(text.len()).any(|window| window == text.as_bytes());
    scene.rig.wait("the traces", || Ok(sent("reconcile") && sent("fetch") && sent("verify"))).unwrap();
    assert!(sent("service.name") && sent("agentcard telemetry/weather"), "{log}");
}

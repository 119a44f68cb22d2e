//! What a replica of the operator presents where it serves admissions.

use anyhow::{Context, Result, ensure};
use countersign_rig::Rig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// The certificate that the webhook at an address inside the rig presents to a client that trusts `authorities`.
pub fn served_certificate(rig: &Rig, address: SocketAddr, authorities: &str) -> Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let relay = rig.relay(address)?;
    let name = ServerName::try_from("kagenti-operator-webhook-service.countersign-system.svc")?;
    let mut stream = StreamOwned::new(
        ClientConnection::new(Arc::new(config), name)?,
        TcpStream::connect(relay.address())?,
    );
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.0 404"), "{answer}");
    let certificates = stream.conn.peer_certificates().context("no certificate")?;
    Ok(certificates.first().context("an empty chain")?.to_vec())
}

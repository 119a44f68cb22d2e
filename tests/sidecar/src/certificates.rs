//! A certificate authority of a test's own, and what it issues: servers, clients, and workloads with SPIFFE IDs.
//! For what a real SPIRE issues see [`crate::spire`].

use crate::folder::Folder;
use crate::http;
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

/// An authority; its files go into a folder of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: Folder,
}

/// A certificate with its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> Result<Self> {
        let folder = Folder::new("authority")?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        folder.write("ca.pem", params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), folder })
    }

    /// Its certificate as a PEM file.
    pub fn root(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for 127.0.0.1 and `localhost`.
    pub fn server(&self, name: &str) -> Result<Certificate> {
        self.issue(
            name,
            vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into()), SanType::DnsName("localhost".try_into()?)],
        )
    }

    /// A certificate for a SPIFFE ID, or any other URI.
    pub fn workload(&self, name: &str, id: &str) -> Result<Certificate> {
        self.issue(name, vec![SanType::URI(id.try_into()?)])
    }

    fn issue(&self, name: &str, names: Vec<SanType>) -> Result<Certificate> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let chain = self.folder.write(&format!("{name}.pem"), params.signed_by(&key, &self.issuer)?.pem())?;
        Ok(Certificate { chain, key: self.folder.write(&format!("{name}.key"), key.serialize_pem())? })
    }
}

impl Certificate {
    /// Settings of a server that shows it and asks clients for nothing.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let key = PrivateKeyDer::from_pem_file(&self.key).context("no key")?;
        let chain = http::certificates(&self.chain)?;
        Ok(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key)?))
    }
}

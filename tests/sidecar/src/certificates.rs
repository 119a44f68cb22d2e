//! A certificate authority of a test's own, and what it issues: servers, clients, and workloads with SPIFFE IDs.
//! For what a real SPIRE issues see [`crate::spire`].

use crate::folder::Folder;
use crate::http;
use anyhow::{Context, Result};
use countersign_rig::{Ca, Leaf};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// An authority; its files go into a folder of its own.
pub struct Authority {
    ca: Ca,
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
        let ca = Ca::new("tests", None)?;
        folder.write("ca.pem", &ca.certificate().pem)?;
        Ok(Self { ca, folder })
    }

    /// Its certificate as a PEM file.
    pub fn root(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for 127.0.0.1 and `localhost`.
    pub fn server(&self, name: &str) -> Result<Certificate> {
        let hosts = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
        self.issue(name, Leaf { hosts, ..Leaf::default() })
    }

    /// A certificate for a SPIFFE ID, or any other URI.
    pub fn workload(&self, name: &str, id: &str) -> Result<Certificate> {
        self.issue(name, Leaf { uris: vec![id.to_owned()], ..Leaf::default() })
    }

    /// The same, valid until `end`.
    pub fn workload_until(&self, name: &str, id: &str, end: SystemTime) -> Result<Certificate> {
        let leaf = Leaf { uris: vec![id.to_owned()], ..Leaf::default() };
        let validity = (leaf.validity.0, end);
        self.issue(name, Leaf { validity, ..leaf })
    }

    fn issue(&self, name: &str, leaf: Leaf) -> Result<Certificate> {
        let issued = self.ca.issue(leaf)?;
        let chain = self.folder.write(&format!("{name}.pem"), issued.pem)?;
        Ok(Certificate { chain, key: self.folder.write(&format!("{name}.key"), issued.key_pem)? })
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

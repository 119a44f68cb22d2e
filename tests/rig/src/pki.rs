//! The keys and certificates of one rig: one authority, and a certificate for each part that speaks.
//! Everything is made anew for each rig and ends with its folder.

use crate::certificates::{Ca, Leaf};
use anyhow::{Context, Result};
use rcgen::KeyPair;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The authority, with the folder in which it files what it signs.
pub(crate) struct Pki {
    folder: PathBuf,
    ca: Ca,
}

impl Pki {
    /// Makes the authority (`ca.crt`, `ca.key`) and the signing key of service account tokens (`sa.key`).
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
        let ca = Ca::new("countersign-rig", None)?;
        write(&folder.join("ca.crt"), &ca.certificate().pem)?;
        write(&folder.join("ca.key"), &ca.certificate().key_pem)?;
        let tokens = KeyPair::generate()?;
        write(&folder.join("sa.key"), &tokens.serialize_pem())?;
        write(&folder.join("sa.pub"), &tokens.public_key_pem())?;
        Ok(Self { folder: folder.to_owned(), ca })
    }

    /// The path of `name` in the folder of keys.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes `name.crt` and `name.key` for the user `common_name` in `group`; `hosts` are the names and
    /// addresses under which it serves.
    pub(crate) fn issue(
        &self,
        name: &str,
        common_name: &str,
        group: Option<&str>,
        hosts: &[&str],
    ) -> Result<()> {
        let now = SystemTime::now();
        let issued = self.ca.issue(Leaf {
            common_name: Some(common_name.to_owned()),
            organization: group.map(str::to_owned),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            // A rig that people use stays up for longer than a test.
            validity: (now - Duration::from_hours(1), now + Duration::from_hours(24 * 365)),
            ..Leaf::default()
        })?;
        write(&self.path(&format!("{name}.crt")), &issued.pem)?;
        write(&self.path(&format!("{name}.key")), &issued.key_pem)
    }

    /// Makes a certificate for the user and writes `file`, the kubeconfig with which it speaks to `server`.
    pub(crate) fn kubeconfig(
        &self,
        file: &Path,
        server: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<()> {
        let name = user.replace(':', "-");
        if !self.path(&format!("{name}.crt")).exists() {
            self.issue(&name, user, group, &[])?;
        }
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "rig", "cluster": {
                "server": server, "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate": self.path(&format!("{name}.crt")),
                "client-key": self.path(&format!("{name}.key")),
            }}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
            "current-context": "rig",
        });
        write(file, &config.to_string())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} could not be written", path.display()))
}

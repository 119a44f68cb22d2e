//! The identity as files, for programs that read them: the three of one state appear together.
//! As the kubelet does: a new folder, and one symbolic link that is replaced at once.

use super::snapshot::Material;
use countersign_core::encoding::{encode_base64_standard_into, sha256};
use countersign_core::x509::leaf_facts;
use countersign_io::workload_api::{DomainBundle, pem_certificate};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

/// The link that names the folder of the current state.
const CURRENT: &str = "..data";
const NAMES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];

/// Writes one state below `folder`.
pub(crate) fn mirror(material: &Material, folder: &Path) -> io::Result<()> {
    let chain: String = material.svid.chain.iter().map(|der| pem_certificate(der)).collect();
    let own = material.svid.chain.first().and_then(|leaf| leaf_facts(leaf).ok());
    let own = own.map(|facts| facts.spiffe_id.trust_domain().to_string()).unwrap_or_default();
    let authorities = material.bundles.iter().filter(|bundle| bundle.trust_domain == own);
    let bundle: String = authorities.flat_map(DomainBundle::pem).collect();
    // A state is never written over: a new bundle beside the same SVID is another one.
    let state = format!("..{}", sha256([chain.as_bytes(), bundle.as_bytes()].concat().as_slice()));
    let mut key = String::new();
    encode_base64_standard_into(&material.svid.key, &mut key);
    let key =
        zeroize::Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"));

    let previous = fs::read_link(folder.join(CURRENT)).ok();
    // What is linked already was written to its end, by an earlier process for example.
    if previous.as_deref() != Some(Path::new(&state)) {
        let into = folder.join(&state);
        fs::create_dir_all(&into)?;
        fs::set_permissions(&into, Permissions::from_mode(0o755))?;
        let [svid, private, trusted] = NAMES.map(|name| into.join(name));
        write(&svid, chain.as_bytes(), 0o644)?;
        write(&private, key.as_bytes(), 0o600)?;
        write(&trusted, bundle.as_bytes(), 0o644)?;
        let next = folder.join("..data_next");
        let _ = fs::remove_file(&next);
        symlink(&state, &next)?;
        fs::rename(&next, folder.join(CURRENT))?;
    }
    for name in NAMES {
        let link = folder.join(name);
        if fs::read_link(&link).is_err() {
            let _ = fs::remove_file(&link);
            symlink(Path::new(CURRENT).join(name), &link)?;
        }
    }
    if let Some(previous) = previous.filter(|previous| *previous != Path::new(&state)) {
        // A folder of our own making, directly below: its name has two dots in front and no slash.
        let ours = previous.to_str().is_some_and(|name| name.starts_with("..") && name.len() == 66);
        if ours {
            let _ = fs::remove_dir_all(folder.join(previous));
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))
}

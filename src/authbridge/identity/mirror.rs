//! Identity as files, for other programs in the pod. The three files of one state appear at once, in the way of the
//! kubelet's volumes: a new folder, and a symbolic link to it that is replaced by rename(2), which is atomic.

use super::snapshot::Material;
use countersign_core::encoding::{encode_base64_standard_into, sha256};
use countersign_core::x509::leaf_facts;
use countersign_io::workload_api::{DomainBundle, pem_certificate};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

/// Symbolic link to the folder of the current state.
const CURRENT: &str = "..data";
const NAMES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];

/// Writes one state below `folder`, the key readable for the owner only, and removes the previous one.
pub(crate) fn mirror(material: &Material, folder: &Path) -> io::Result<()> {
    let chain: String = material.svid.chain.iter().map(|der| pem_certificate(der)).collect();
    let own = material.svid.chain.first().and_then(|leaf| leaf_facts(leaf).ok());
    let own = own.map(|facts| facts.spiffe_id.trust_domain().to_string()).unwrap_or_default();
    let authorities = material.bundles.iter().filter(|bundle| bundle.trust_domain == own);
    let bundle: String = authorities.flat_map(DomainBundle::pem).collect();
    // The name covers the bundle too: a folder is never rewritten, even if only the bundle changes.
    let state = format!("..{}", sha256([chain.as_bytes(), bundle.as_bytes()].concat().as_slice()));
    let mut key = String::new();
    encode_base64_standard_into(&material.svid.key, &mut key);
    let key =
        zeroize::Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"));

    let previous = fs::read_link(folder.join(CURRENT)).ok();
    // The link is set last, so a folder that is linked is complete, even if an earlier process wrote it.
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
    remove_others(folder, &state)
}

/// Removes every state but one: also those, with their keys, of a process that was killed before it had removed them.
fn remove_others(folder: &Path, state: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if is_state(Path::new(&name)) && *name != *state {
            let _ = fs::remove_dir_all(folder.join(name));
        }
    }
    Ok(())
}

/// True for the name of a folder that this program made: two dots and a SHA-256. The folder is shared with the agent, so
/// the link may lead anywhere; `../` with 63 characters must not have the sidecar remove what the agent cannot.
fn is_state(link: &Path) -> bool {
    let digest = link.to_str().and_then(|name| name.strip_prefix(".."));
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_an_earlier_process_left_are_removed_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("mirror-{}", std::process::id()));
        let states = ["now", "before", "left"].map(|text| format!("..{}", sha256(text.as_bytes())));
        for name in states.iter().map(String::as_str).chain(["..data", "agent", "..other"]) {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("svid_key.pem"), "key").unwrap();
        }
        remove_others(&folder, &states[0]).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let mut expected = [states[0].as_str(), "..data", "agent", "..other"];
        expected.sort_unstable();
        assert_eq!(left, expected);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_a_state_of_our_own_is_removed() {
        let digest = sha256(b"state").to_string();
        assert!(is_state(Path::new(&format!("..{digest}"))));
        let elsewhere = format!("../{}", "a".repeat(63));
        for link in ["..", "..data", &digest, &elsewhere, &format!("..{digest}/"), &format!("/{digest}a")] {
            assert!(!is_state(Path::new(link)), "{link}");
        }
    }
}

//! Container images without a container engine: a list of files becomes a docker-archive tar of one layer.
//! Times and owners are constant, so equal files give an equal image.

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// One file of an image.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A program or other file of the machine, and its absolute path in the image.
    File(&'a Path, &'a str),
    /// A symbolic link in the image: its path, and where it leads.
    Link(&'a str, &'a str),
}

/// What an image holds and how it starts.
#[derive(Clone, Debug, Default)]
pub struct Image<'a> {
    /// Repository and tag, such as `countersign.test/operator:1`.
    pub name: &'a str,
    /// Its files; folders above them are made.
    pub files: Vec<Entry<'a>>,
    /// The command that it runs.
    pub entrypoint: Vec<&'a str>,
    /// User and group it runs as, such as `65532:65532`; empty for root.
    pub user: &'a str,
}

impl Image<'_> {
    /// Writes the image as a docker-archive tar, which containerd, podman and skopeo import.
    pub fn write(&self, to: impl Write) -> Result<()> {
        let layer = self.layer()?;
        let layer_id = hex(&layer);
        let created = "1970-01-01T00:00:00Z";
        let config = json!({
            "architecture": architecture(), "os": "linux", "created": created,
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "Env": ["PATH=/bin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_id}")]},
            "history": [{"created": created, "created_by": "countersign-rig"}],
        });
        let config = config.to_string().into_bytes();
        let config_name = format!("{}.json", hex(&config));
        let layer_name = format!("{layer_id}/layer.tar");
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": [layer_name]}]);

        let mut archive = Builder::new(to);
        add_file(&mut archive, &layer_name, &layer)?;
        add_file(&mut archive, &config_name, &config)?;
        add_file(&mut archive, "manifest.json", manifest.to_string().as_bytes())?;
        archive.into_inner()?.flush()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        let mut folders = BTreeSet::new();
        for folder in ["dev", "etc", "proc", "sys", "tmp"] {
            add_folder(&mut layer, &mut folders, folder, if folder == "tmp" { 0o1777 } else { 0o755 })?;
        }
        for file in &self.files {
            let (Entry::File(_, inside) | Entry::Link(inside, _)) = *file;
            let inside = inside.trim_start_matches('/');
            for (end, _) in inside.match_indices('/') {
                add_folder(&mut layer, &mut folders, inside.get(..end).unwrap_or_default(), 0o755)?;
            }
            match *file {
                Entry::File(source, _) => {
                    let bytes = std::fs::read(source);
                    let bytes = bytes.with_context(|| format!("{} could not be read", source.display()))?;
                    add_file(&mut layer, inside, &bytes)?;
                }
                Entry::Link(_, target) => {
                    layer.append_link(&mut header(EntryType::Symlink, 0, 0o777), inside, target)?;
                }
            }
        }
        Ok(layer.into_inner()?)
    }
}

fn add_folder(
    tar: &mut Builder<Vec<u8>>,
    known: &mut BTreeSet<String>,
    folder: &str,
    mode: u32,
) -> Result<()> {
    if known.insert(folder.to_owned()) {
        tar.append_data(&mut header(EntryType::Directory, 0, mode), folder, std::io::empty())?;
    }
    Ok(())
}

fn add_file(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) -> Result<()> {
    let length = u64::try_from(bytes.len())?;
    tar.append_data(&mut header(EntryType::Regular, length, 0o755), path, bytes)?;
    Ok(())
}

fn header(kind: EntryType, length: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(length);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, bytes).as_ref() {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(nibble.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_give_an_equal_image_and_folders_come_before_their_files() {
        let image = Image {
            name: "rig.test/self:1",
            files: vec![
                Entry::File(Path::new("/proc/self/exe"), "/opt/bin/self"),
                Entry::Link("/manager", "/opt/bin/self"),
            ],
            entrypoint: vec!["/opt/bin/self"],
            user: "65532:65532",
        };
        let write = || {
            let mut bytes = Vec::new();
            image.write(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(write(), write());
        let layer = image.layer().unwrap();
        let mut archive = tar::Archive::new(layer.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names[5..], ["opt", "opt/bin", "opt/bin/self", "manager"]);
    }
}

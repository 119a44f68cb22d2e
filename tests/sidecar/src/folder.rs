//! A folder of its own for each part that a test starts: settings, data, logs.
//! Everybody may enter it, because parts run under several users.

use crate::reaper;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A folder that goes away with its owner, unless a test panicked: then its path is printed.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new, empty folder with `name` in its path.
    pub fn new(name: &str) -> Result<Self> {
        let base = std::env::temp_dir().join("countersign-sidecar");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{name}-{}-{count}", std::process::id()));
        // Left behind by a process that was killed and had the same number.
        let _ = std::fs::remove_dir_all(&path);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(&path).with_context(|| format!("{} could not be made", path.display()))?;
        reaper::tell("folder", &path.display().to_string())?;
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, which then appears whole or replaces the old one whole; its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let (path, new) = (self.join(name), self.join(&format!(".{name}.new")));
        std::fs::write(&new, content).with_context(|| format!("{} could not be written", new.display()))?;
        std::fs::rename(&new, &path)?;
        Ok(path)
    }

    /// Makes a folder in it that belongs to `user`; its path.
    pub fn folder_of(&self, name: &str, user: Option<u32>) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::create_dir_all(&path)?;
        chown(&path, user, user)?;
        Ok(path)
    }

    /// Copies a part of the rig into it, where every user can read it; its path.
    pub fn part(&self, part: &str) -> Result<PathBuf> {
        let (from, to) = (countersign_rig::parts::folder(part)?, self.join(part));
        let done = Command::new("cp").arg("-r").arg(from).arg(&to).status()?;
        if !done.success() {
            bail!("the part {part} was not copied: {done}");
        }
        Ok(to)
    }

    /// Puts a program into it, where every user can reach it; its path.
    pub fn program(&self, program: &Path) -> Result<PathBuf> {
        let name = program.file_name().context("a program has a name")?;
        let path = self.path.join(name);
        // Not linked: whoever made it may replace it in place.
        std::fs::copy(program, &path).with_context(|| format!("{} is not there", program.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path = self.path.display().to_string();
        if std::thread::panicking() {
            eprintln!("kept: {path}");
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
        let _ = reaper::tell("left", &path);
    }
}

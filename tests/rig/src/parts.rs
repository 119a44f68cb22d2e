//! Where the binaries of the parts lie: `scripts/rig-parts` builds them and knows their folders.
//! Parts that no rig starts (Keycloak, Envoy) are found in the same way by who does.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of `program`, which belongs to `part`; an error that says how to make it if it is absent.
pub fn program(part: &str, program: &str) -> Result<PathBuf> {
    let path = folder(part)?.join(program);
    if !path.is_file() {
        bail!("the rig needs {program}, which is not at {}: run `scripts/rig-parts {part}`", path.display());
    }
    Ok(path)
}

/// The folder of `part`, which is absent until the part has been made.
pub fn folder(part: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/rig-parts");
    let output = Command::new(&script)
        .args(["--where", part])
        .output()
        .with_context(|| format!("{} could not be run", script.display()))?;
    if !output.status.success() {
        bail!("{}: {}", script.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

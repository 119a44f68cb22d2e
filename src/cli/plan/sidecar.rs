//! Flags about sidecars: what the operator is told, and what it finds in the cluster.

use countersign_plan::injection::{SidecarSettings, SpireSocket, has_native_sidecars, minor_version};

/// Image in a plan without `--sidecar-image`.
const EXAMPLE_IMAGE: &str = "authbridge";

/// What sidecars are made with.
#[derive(Debug, clap::Args)]
pub(super) struct SidecarArgs {
    /// Image of the sidecar, as the operator is told; an empty one injects nothing.
    #[arg(long, value_name = "IMAGE")]
    sidecar_image: Option<String>,
    /// Folder of every node with the socket of SPIRE's agent, as the operator is told; without it the socket comes from the
    /// CSI driver.
    #[arg(long, value_name = "DIR", value_parser = parse_folder)]
    sidecar_spire_host_path: Option<String>,
    /// Whether the cluster has the CSI driver csi.spiffe.io, which the operator looks up.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    spire_csi_driver: bool,
    /// Version of Kubernetes, which the operator looks up: a sidecar is an init container that goes on running from 1.29 on.
    #[arg(long, value_name = "VERSION", default_value = "1.35", value_parser = KubeVersion::parse)]
    kube_version: KubeVersion,
}

/// Major and minor version of Kubernetes.
#[derive(Clone, Debug)]
struct KubeVersion(String, String);

impl KubeVersion {
    /// Parses `1.35`, `v1.35.4` or `1.35.4-eks`.
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) if minor_version(major, minor).is_some() => {
                Ok(Self(major.to_owned(), minor.to_owned()))
            }
            _ => Err("write a version of Kubernetes 1, as in 1.35".to_owned()),
        }
    }
}

fn parse_folder(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("is no absolute path".to_owned()) }
}

impl SidecarArgs {
    /// Returns the settings that the flags give, with a note if the image was assumed.
    pub(super) fn settings(&self) -> (SidecarSettings, Option<String>) {
        let path = self.sidecar_spire_host_path.clone().map(SpireSocket::HostPath);
        let note = self.sidecar_image.is_none().then(|| {
            format!("warning: the image of the sidecar is assumed to be {EXAMPLE_IMAGE}; give the operator's with --sidecar-image")
        });
        let KubeVersion(major, minor) = &self.kube_version;
        let settings = SidecarSettings {
            image: self.sidecar_image.clone().unwrap_or_else(|| EXAMPLE_IMAGE.to_owned()),
            spire: path.or_else(|| self.spire_csi_driver.then_some(SpireSocket::Csi)),
            is_native: has_native_sidecars(major, minor),
        };
        (settings, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_kubectl_writes_it() {
        for (text, is_native) in [("1.28", false), ("1.29", true), ("v1.35.4", true), ("1.28+.x", false)] {
            let KubeVersion(major, minor) = KubeVersion::parse(text).unwrap();
            assert_eq!(has_native_sidecars(&major, &minor), is_native, "{text}");
        }
        for text in ["", "1", "1.", "1.x", "2.0", "latest"] {
            assert!(KubeVersion::parse(text).is_err(), "{text}");
        }
    }
}

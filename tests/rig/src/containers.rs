//! The settings of containerd and of the bridge that pods are plugged into.

use crate::component::Launch;
use crate::support::CNI_PLUGINS;
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The image of the process that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10.1";
/// The addresses of pods; each rig has a network of its own, so they are the same in all.
pub(crate) const PODS: &str = "10.77.0.0/24";

/// Where containerd listens.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("state/containerd.sock")
}

/// Writes the settings and says how containerd is started.
pub(crate) fn containerd(folder: &Path) -> Result<Launch> {
    let state = folder.join("state").display().to_string();
    let settings = format!(
        r#"version = 2
root = "{state}/containerd"
state = "/run/containerd-rig"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  # Lowering the score needs a capability that virtual machines often drop for everybody.
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  # Not crun: it refuses a hybrid hierarchy of control groups.
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
"#,
        socket = socket(folder).display(),
        folder = folder.display(),
    );
    let file = folder.join("containerd.toml");
    std::fs::write(&file, settings)?;
    std::fs::create_dir_all(folder.join("cni"))?;
    std::fs::write(folder.join("cni/10-rig.conflist"), bridge(folder))?;
    let arguments = vec!["--config".into(), file.display().to_string()];
    Ok(Launch::new("containerd", PathBuf::from("containerd"), arguments))
}

fn bridge(folder: &Path) -> String {
    json!({"cniVersion": "0.4.0", "name": "rig", "plugins": [
        {"type": "bridge", "bridge": "rig0", "isGateway": true, "ipMasq": false, "hairpinMode": true, "ipam": {
            "type": "host-local", "dataDir": folder.join("state/addresses"),
            "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}],
        }},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
    .to_string()
}

//! The settings of what makes a machine a node: kubelet, kube-proxy, and the scheduler that fills it.

use crate::component::Launch;
use crate::containers;
use crate::control_plane::NODE;
use crate::image::{Entry, Image};
use crate::parts;
use crate::pki::Pki;
use crate::policy;
use crate::rig::{Options, Rig, output};
use crate::spire::{self, Spire};
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use std::path::Path;

/// The name of the one node.
pub(crate) const NAME: &str = "node1";

/// The image of Kubernetes' own test servers and clients; `/agnhost` takes the sub-command as arguments. As the
/// released one, it has a busybox.
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.59";

/// Where Debian's `busybox-static` puts it.
const BUSYBOX: &str = "/bin/busybox";

/// The scheduler.
pub(crate) fn scheduler(folder: &Path) -> Result<Launch> {
    let config = format!("{}/kube-scheduler.kubeconfig", folder.display());
    let arguments = vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
    ];
    Ok(Launch::new("scheduler", parts::program("kubernetes", "kube-scheduler")?, arguments))
}

/// The kubelet; `cgroup` is the group below which it puts pods.
pub(crate) fn kubelet(folder: &Path, pki: &Pki, cgroup: &str) -> Result<Launch> {
    pki.issue("kubelet", "system:node:node1", None, &[NAME, NODE, "127.0.0.1"])?;
    let settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.path("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{}", containers::socket(folder).display()),
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "100Mi"},
        "failCgroupV1": false,
        "failSwapOn": false,
        // The default is above the hard limit of many machines.
        "maxOpenFiles": 20000,
        "maxPods": 250,
        "resolvConf": "",
        "tlsCertFile": pki.path("kubelet.crt"),
        "tlsPrivateKeyFile": pki.path("kubelet.key"),
        "volumePluginDir": folder.join("state/volume-plugins"),
    });
    let file = folder.join("kubelet.json");
    std::fs::write(&file, settings.to_string())?;
    let arguments = vec![
        format!("--config={}", file.display()),
        format!("--kubeconfig={}/kubelet.kubeconfig", folder.display()),
        format!("--root-dir={}/state/kubelet", folder.display()),
        format!("--hostname-override={NAME}"),
        format!("--node-ip={NODE}"),
    ];
    Ok(Launch::new("kubelet", parts::program("kubernetes", "kubelet")?, arguments))
}

/// kube-proxy, which turns service addresses into those of pods.
pub(crate) fn proxy(folder: &Path) -> Result<Launch> {
    let arguments = vec![
        format!("--kubeconfig={}/kube-proxy.kubeconfig", folder.display()),
        "--proxy-mode=iptables".into(),
        format!("--hostname-override={NAME}"),
        format!("--cluster-cidr={}", containers::PODS),
        // These limits belong to the machine and cannot be written in a namespace.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0".into(),
        "--conntrack-tcp-timeout-close-wait=0".into(),
        "--healthz-bind-address=127.0.0.1:10256".into(),
        "--metrics-bind-address=127.0.0.1:10249".into(),
    ];
    Ok(Launch::new("kube-proxy", parts::program("kubernetes", "kube-proxy")?, arguments))
}

impl Rig {
    /// The control plane, scheduler, containerd, kubelet, kube-proxy, policy enforcement and SPIRE: for tests
    /// with real pods and packets. The images [`AGNHOST`] and those given later run with
    /// `imagePullPolicy: IfNotPresent` or `Never`; nothing is fetched from anywhere.
    pub fn node(options: &Options) -> Result<Self> {
        Self::is_supported().map_err(|why| anyhow!(why))?;
        let mut rig = Self::empty(options, true)?;
        let up = rig.start_control_plane().and_then(|()| rig.start_node(options));
        rig.report(up)
    }

    fn start_node(&self, options: &Options) -> Result<()> {
        let policy = if options.without_policy { None } else { Some(policy::launch(self.folder())?) };
        self.run(scheduler(self.folder())?)?;
        self.run(containers::containerd(self.folder())?)?;
        let socket = containers::socket(self.folder()).display().to_string();
        self.wait("containerd", || {
            if !self.inside(&containers::socket(self.folder())).exists() {
                return Ok(false);
            }
            let mut version = self.command("ctr");
            version.args(["--address", &socket, "version"]);
            Ok(output(version, b"").is_ok())
        })?;
        let pause = parts::program("pause", "pause")?;
        self.import_image(&Image {
            name: containers::PAUSE,
            files: vec![Entry::File(&pause, "/pause")],
            entrypoint: vec!["/pause"],
            user: "65535:65535",
        })?;
        let agnhost = parts::program("kubernetes", "agnhost")?;
        self.import_image(&Image {
            name: AGNHOST,
            files: vec![
                Entry::File(&agnhost, "/agnhost"),
                Entry::File(Path::new(BUSYBOX), "/bin/busybox"),
                Entry::Link("/bin/sh", "/bin/busybox"),
                Entry::Link("/bin/sed", "/bin/busybox"),
            ],
            entrypoint: vec!["/agnhost"],
            user: "",
        })?;
        self.run(kubelet(self.folder(), self.pki(), self.cgroup())?)?;
        self.run(proxy(self.folder())?)?;
        if let Some(policy) = policy {
            self.run(policy)?;
            self.wait("the policy engine", || Ok(self.policies_in_force().is_ok()))?;
        }
        self.wait("the node", || {
            let node = self.get(&format!("/api/v1/nodes/{NAME}"))?.unwrap_or_default();
            let conditions = node["status"]["conditions"].as_array();
            let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            Ok(conditions.into_iter().flatten().any(is_ready))
        })?;
        if options.without_spire { Ok(()) } else { spire::start(self) }
    }

    /// Puts an image into the node's container runtime.
    pub fn import_image(&self, image: &Image) -> Result<()> {
        let mut archive = Vec::new();
        image.write(&mut archive)?;
        let mut import = self.command("ctr");
        import.arg("--address").arg(containers::socket(self.folder()));
        import.args(["--namespace", "k8s.io", "images", "import", "-"]);
        output(import, &archive)?;
        Ok(())
    }

    /// SPIRE of the node.
    pub fn spire(&self) -> Spire<'_> {
        Spire { rig: self }
    }
}

//! Whether a rig can run on this machine, and if not, the one line that says why.

use std::path::Path;

/// What every rig calls, with the Debian package that brings it.
const TOOLS: [(&str, &str); 6] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("bash", "bash"),
];

/// What a rig with a node calls besides.
const NODE_TOOLS: [(&str, &str); 7] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("ipset", "ipset"),
    ("conntrack", "conntrack"),
];

/// Where Debian's `containernetworking-plugins` puts the plugins.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Says in one line why a rig cannot run here, if it cannot.
pub(crate) fn check(node: bool) -> Result<(), String> {
    let instead = "; to leave the rig's tests out: make test RIG=none";
    if !cfg!(target_os = "linux") {
        return Err(format!("the rig needs Linux{instead}"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(format!("the rig makes namespaces and mounts, which needs root{instead}"));
    }
    let wanted = TOOLS.iter().chain(if node { NODE_TOOLS.as_slice() } else { &[] });
    let mut packages: Vec<&str> =
        wanted.filter(|(tool, _)| !in_path(tool)).map(|&(_, package)| package).collect();
    if node && !Path::new(CNI_PLUGINS).join("bridge").is_file() {
        packages.push("containernetworking-plugins");
    }
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    Err(format!("the rig lacks programs; install them with `{install}`{instead}"))
}

fn in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

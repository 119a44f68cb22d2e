//! The settings of etcd, kube-apiserver and kube-controller-manager.

use crate::component::Launch;
use crate::parts;
use crate::pki::Pki;
use anyhow::Result;
use std::path::Path;

/// The address of the node inside a rig; each rig has a network of its own, so it is the same in all.
pub(crate) const NODE: &str = "10.200.0.1";
/// Where the API server listens inside.
pub(crate) const API: &str = "10.200.0.1:6443";

/// Who wrote what when; reading is recorded as well, so that a quiet minute can be counted.
const AUDIT: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],
"rules":[{"level":"Metadata"}]}"#;

/// Makes the certificates of the API server and of its callers inside.
pub(crate) fn issue(pki: &Pki, folder: &Path) -> Result<()> {
    let kubernetes = "kubernetes.default.svc";
    pki.issue(
        "apiserver",
        "kube-apiserver",
        None,
        &[
            "localhost",
            "kubernetes",
            "kubernetes.default",
            kubernetes,
            "kubernetes.default.svc.cluster.local",
            "127.0.0.1",
            NODE,
            "10.96.0.1",
        ],
    )?;
    pki.issue("apiserver-kubelet", "rig:apiserver-kubelet", Some("system:masters"), &[])?;
    let server = format!("https://{API}");
    pki.kubeconfig(&folder.join("inside.kubeconfig"), &server, "rig:admin", Some("system:masters"))?;
    for part in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        pki.kubeconfig(&folder.join(format!("{part}.kubeconfig")), &server, &format!("system:{part}"), None)?;
    }
    let node = ("system:node:node1", Some("system:nodes"));
    pki.kubeconfig(&folder.join("kubelet.kubeconfig"), &server, node.0, node.1)?;
    std::fs::write(folder.join("audit-policy.json"), AUDIT)?;
    Ok(())
}

/// The store, on memory and without waiting for a disk.
pub(crate) fn etcd(folder: &Path) -> Result<Launch> {
    let arguments = vec![
        format!("--data-dir={}/state/etcd", folder.display()),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ];
    Ok(Launch::new("etcd", parts::program("etcd", "etcd")?, arguments))
}

/// The API server, with the default admission plugins and an audit log.
pub(crate) fn apiserver(folder: &Path, pki: &Pki) -> Result<Launch> {
    let key = |name: &str| pki.path(name).display().to_string();
    let arguments = vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--bind-address=0.0.0.0".into(),
        format!("--advertise-address={NODE}"),
        "--secure-port=6443".into(),
        format!("--tls-cert-file={}", key("apiserver.crt")),
        format!("--tls-private-key-file={}", key("apiserver.key")),
        format!("--client-ca-file={}", key("ca.crt")),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        // Off by default: a source of trust bundles.
        "--feature-gates=ClusterTrustBundle=true".into(),
        "--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", key("sa.pub")),
        format!("--service-account-signing-key-file={}", key("sa.key")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        format!("--kubelet-client-certificate={}", key("apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", key("apiserver-kubelet.key")),
        format!("--kubelet-certificate-authority={}", key("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--allow-privileged=true".into(),
        format!("--audit-policy-file={}/audit-policy.json", folder.display()),
        format!("--audit-log-path={}/logs/audit.log", folder.display()),
        // One file: whoever follows it would lose what is written between its last look and the next file.
        "--audit-log-maxsize=100000".into(),
        // A restart in a test must not wait for the minute that a load balancer would need.
        "--shutdown-delay-duration=0s".into(),
    ];
    Ok(Launch::new("apiserver", parts::program("kubernetes", "kube-apiserver")?, arguments))
}

/// The built-in controllers, each with its own service account.
pub(crate) fn controller_manager(folder: &Path, pki: &Pki) -> Result<Launch> {
    let key = |name: &str| pki.path(name).display().to_string();
    let config = format!("{}/kube-controller-manager.kubeconfig", folder.display());
    let arguments = vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        format!("--service-account-private-key-file={}", key("sa.key")),
        format!("--root-ca-file={}", key("ca.crt")),
        format!("--cluster-signing-cert-file={}", key("ca.crt")),
        format!("--cluster-signing-key-file={}", key("ca.key")),
        "--use-service-account-credentials=true".into(),
        "--leader-elect=false".into(),
        // At the default of 20 requests a second, hundreds of Deployments take minutes to become available.
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
        // The rig's own addresses only.
        "--bind-address=127.0.0.1".into(),
    ];
    Ok(Launch::new("controller-manager", parts::program("kubernetes", "kube-controller-manager")?, arguments))
}

//! Flags of `authbridge netinit`.

use clap::Args;

/// Flags of `authbridge netinit`. A missing flag takes the value of its environment variable, and its default if that
/// is unset or empty.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Shows the transaction and changes nothing.
    #[arg(long)]
    pub(super) print: bool,
    /// What is installed: redirect or enforce-redirect [variable: `MODE`] [default: redirect]
    #[arg(long, value_name = "MODE")]
    pub(super) mode: Option<String>,
    /// The user of the proxy, whose traffic is let out [variable: `PROXY_UID`] [default: 1337]
    #[arg(long, value_name = "UID")]
    pub(super) proxy_uid: Option<String>,
    /// Where outgoing TCP is sent in mode redirect [variable: `PROXY_PORT`] [default: 15123]
    #[arg(long, value_name = "PORT")]
    pub(super) proxy_port: Option<String>,
    /// Where incoming TCP is sent in mode redirect [variable: `INBOUND_PROXY_PORT`] [default: 15124]
    #[arg(long, value_name = "PORT")]
    pub(super) inbound_proxy_port: Option<String>,
    /// Where outgoing TCP is sent in mode enforce-redirect [variable: `TRANSPARENT_PORT`] [default: 8082]
    #[arg(long, value_name = "PORT")]
    pub(super) transparent_port: Option<String>,
    /// Where incoming TCP is sent in mode enforce-redirect; none is redirected without it [variable: `INBOUND_TRANSPARENT_PORT`]
    #[arg(long, value_name = "PORT")]
    pub(super) inbound_transparent_port: Option<String>,
    /// Ports of the sidecar to which callers connect directly [variable: `SIDECAR_PORTS_EXCLUDE`]
    /// [default: 8081,9091,9093,9094]
    #[arg(long, value_name = "PORTS")]
    pub(super) sidecar_ports_exclude: Option<String>,
    /// A port left alone both ways in mode redirect, or none [variable: `SSH_PORT`] [default: 22]
    #[arg(long, value_name = "PORT")]
    pub(super) ssh_port: Option<String>,
    /// Outgoing ports that bypass the proxy [variable: `OUTBOUND_PORTS_EXCLUDE`]
    #[arg(long, value_name = "PORTS")]
    pub(super) outbound_ports_exclude: Option<String>,
    /// Incoming ports left alone [variable: `INBOUND_PORTS_EXCLUDE`]
    #[arg(long, value_name = "PORTS")]
    pub(super) inbound_ports_exclude: Option<String>,
    /// A port that is closed to everything outside the pod; may be repeated [variable: `AGENT_PORT`]
    #[arg(long, value_name = "PORT")]
    pub(super) agent_port: Vec<String>,
    /// The addresses of the pod, needed in mode redirect [variable: `POD_IP`]
    #[arg(long, value_name = "ADDRESSES")]
    pub(super) pod_ip: Option<String>,
    /// The port of a mesh's tunnel, left alone in mode redirect [variable: `ZTUNNEL_HBONE_PORT`] [default: 15008]
    #[arg(long, value_name = "PORT")]
    pub(super) ztunnel_hbone_port: Option<String>,
    /// The mark of a mesh's packets, let out, or none [variable: `ZTUNNEL_MARK`] [default: 0x539/0xfff]
    #[arg(long, value_name = "MARK/MASK")]
    pub(super) ztunnel_mark: Option<String>,
    /// Where a mesh's health probes come from [variable: `ISTIO_HEALTH_PROBE_SRC`] [default: those of Istio]
    #[arg(long, value_name = "ADDRESSES")]
    pub(super) istio_health_probe_src: Option<String>,
    /// Lets nothing out in mode redirect either but what is redirected, excluded or DNS [variable: `DROP_OTHER`]
    #[arg(long)]
    pub(super) drop_other: bool,
    /// The file that names the DNS servers [variable: `RESOLV_CONF`] [default: /etc/resolv.conf]
    #[arg(long, value_name = "FILE")]
    pub(super) resolv_conf: Option<String>,
    /// The program that speaks to the kernel [variable: `NFT_CMD`] [default: nft]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) nft: Option<String>,
}

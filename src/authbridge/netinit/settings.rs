//! Settings of the rules: flags and variables, parsed into ports, addresses and users.
//! Only these types reach the text of a rule, so no variable can add a rule of its own.

use super::arguments::Arguments;
use super::values::{self, PacketMark, list, mark, port, value};
use countersign_core::text::Quoted;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Source addresses that Istio's CNI gives to probes of a kubelet (`DefaultHostProbeSNATIP` and `…IPV6`).
const PROBES: &str = "169.254.7.127,fd16:9254:7127:1337:ffff:ffff:ffff:ffff";

/// Flags and variables as text.
pub(super) struct Texts<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Parsed settings of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetinitSettings {
    pub(super) mode: CaptureMode,
    pub(super) proxy_uid: u32,
    pub(super) mesh: Option<PacketMark>,
    pub(super) agent_ports: BTreeSet<u16>,
    /// DNS servers that the pod may use; read only where outgoing traffic is confined.
    pub(super) nameservers: Vec<IpAddr>,
}

/// Traffic that is redirected to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CaptureMode {
    /// TCP in both directions, to an Envoy.
    Redirect(Redirect),
    /// Outgoing TCP; all other outgoing traffic is dropped, except DNS and the proxy's own.
    Enforce {
        transparent_port: u16,
        /// Destination ports of outgoing connections that are neither redirected nor dropped.
        outbound_open: BTreeSet<u16>,
        /// Redirection of incoming TCP; `None` leaves it alone.
        inbound: Option<InboundCapture>,
    },
}

/// Redirection of incoming TCP to the proxy alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InboundCapture {
    pub(super) port: u16,
    /// Destination ports that are left alone.
    pub(super) open: BTreeSet<u16>,
}

/// Settings of [`CaptureMode::Redirect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) outbound_port: u16,
    pub(super) inbound_port: u16,
    /// Destination ports of outgoing connections that are not redirected.
    pub(super) outbound_open: BTreeSet<u16>,
    pub(super) inbound_open: BTreeSet<u16>,
    /// Ports to which a mesh delivers without the proxy.
    pub(super) inbound_excluded: BTreeSet<u16>,
    pub(super) pod: Vec<IpAddr>,
    pub(super) probes: Vec<IpAddr>,
    pub(super) drop_other: bool,
}

impl Texts<'_> {
    fn get(&self, flag: Option<&String>, name: &str, default: &str) -> String {
        let variable = || (self.variable)(name).filter(|text| !text.trim().is_empty());
        flag.cloned().or_else(variable).unwrap_or_else(|| default.to_owned())
    }

    /// Path of the file with the DNS servers.
    pub(super) fn resolv_conf(&self) -> String {
        self.get(self.arguments.resolv_conf.as_ref(), "RESOLV_CONF", "/etc/resolv.conf")
    }

    /// Program that installs the rules.
    pub(super) fn nft(&self) -> String {
        self.get(self.arguments.nft.as_ref(), "NFT_CMD", "nft")
    }

    fn outbound_excluded(&self) -> Result<BTreeSet<u16>, String> {
        const NAME: &str = "OUTBOUND_PORTS_EXCLUDE";
        let text = self.get(self.arguments.outbound_ports_exclude.as_ref(), NAME, "");
        Ok(list(NAME, &text, port)?.into_iter().collect())
    }

    /// The port for incoming TCP, and the ports that are left alone: those of the sidecar and the mesh's tunnel among them.
    fn inbound_capture(&self, mesh: Option<PacketMark>) -> Result<Option<InboundCapture>, String> {
        const NAME: &str = "INBOUND_TRANSPARENT_PORT";
        const SIDECAR: &str = "SIDECAR_PORTS_EXCLUDE";
        let text = self.get(self.arguments.inbound_transparent_port.as_ref(), NAME, "");
        if text.trim().is_empty() {
            return Ok(None);
        }
        let port = port(NAME, &text)?;
        let mut open = self.inbound_excluded()?;
        let sidecar = self.get(self.arguments.sidecar_ports_exclude.as_ref(), SIDECAR, "8081,9091,9093,9094");
        open.extend(list(SIDECAR, &sidecar, values::port)?);
        if mesh.is_some() {
            open.insert(self.tunnel()?);
        }
        Ok(Some(InboundCapture { port, open }))
    }

    fn inbound_excluded(&self) -> Result<BTreeSet<u16>, String> {
        const NAME: &str = "INBOUND_PORTS_EXCLUDE";
        let text = self.get(self.arguments.inbound_ports_exclude.as_ref(), NAME, "");
        Ok(list(NAME, &text, port)?.into_iter().collect())
    }

    fn tunnel(&self) -> Result<u16, String> {
        const NAME: &str = "ZTUNNEL_HBONE_PORT";
        port(NAME, &self.get(self.arguments.ztunnel_hbone_port.as_ref(), NAME, "15008"))
    }

    fn redirect(&self) -> Result<Redirect, String> {
        let flags = self.arguments;
        let text = |flag: &Option<String>, name, default| self.get(flag.as_ref(), name, default);
        let single = |flag: &Option<String>, name, default| port(name, &text(flag, name, default));
        let outbound_port = single(&flags.proxy_port, "PROXY_PORT", "15123")?;
        let inbound_port = single(&flags.inbound_proxy_port, "INBOUND_PROXY_PORT", "15124")?;
        let ssh = match text(&flags.ssh_port, "SSH_PORT", "22").as_str() {
            "none" => None,
            ssh => Some(port("SSH_PORT", ssh)?),
        };
        let mut outbound_open = self.outbound_excluded()?;
        outbound_open.extend(ssh);
        let inbound_excluded = self.inbound_excluded()?;
        let mut inbound_open = inbound_excluded.clone();
        // 9090 is the external processor, which Envoy calls, and 9901 Envoy's admin interface.
        inbound_open.extend([outbound_port, inbound_port, 9090, 9901, self.tunnel()?]);
        inbound_open.extend(ssh);
        let pod = list("POD_IP", &text(&flags.pod_ip, "POD_IP", ""), value)?;
        if pod.is_empty() {
            return Err("POD_IP is needed in mode redirect: a mesh's deliveries are sent on to it".to_owned());
        }
        let probes = text(&flags.istio_health_probe_src, "ISTIO_HEALTH_PROBE_SRC", PROBES);
        let probes = list("ISTIO_HEALTH_PROBE_SRC", &probes, value)?;
        let drop_other = flags.drop_other || value("DROP_OTHER", &text(&None, "DROP_OTHER", "false"))?;
        Ok(Redirect {
            outbound_port,
            inbound_port,
            outbound_open,
            inbound_open,
            inbound_excluded,
            pod,
            probes,
            drop_other,
        })
    }
}

impl NetinitSettings {
    /// Parses flags and variables. The DNS servers are read from their file afterwards, if they are needed.
    pub(super) fn parse(texts: &Texts<'_>) -> Result<Self, String> {
        let flags = texts.arguments;
        let mesh = match texts.get(flags.ztunnel_mark.as_ref(), "ZTUNNEL_MARK", "0x539/0xfff").as_str() {
            "none" => None,
            text => Some(mark(text)?),
        };
        let inbound = texts.inbound_capture(mesh)?;
        let mode = match texts.get(flags.mode.as_ref(), "MODE", "redirect").as_str() {
            "redirect" if inbound.is_some() => {
                return Err("INBOUND_TRANSPARENT_PORT belongs to enforce-redirect; in mode redirect Envoy takes what comes in, \
                     at INBOUND_PROXY_PORT"
                    .to_owned());
            }
            "redirect" => CaptureMode::Redirect(texts.redirect()?),
            "enforce-redirect" => {
                let text = texts.get(flags.transparent_port.as_ref(), "TRANSPARENT_PORT", "8082");
                CaptureMode::Enforce {
                    transparent_port: port("TRANSPARENT_PORT", &text)?,
                    outbound_open: texts.outbound_excluded()?,
                    inbound,
                }
            }
            other => return Err(format!("MODE is redirect or enforce-redirect, not {}", Quoted(other))),
        };
        let proxy_uid = value("PROXY_UID", &texts.get(flags.proxy_uid.as_ref(), "PROXY_UID", "1337"))?;
        if proxy_uid == 0 {
            return Err("PROXY_UID 0 would let every process of root out".to_owned());
        }
        let repeated = (!flags.agent_port.is_empty()).then(|| flags.agent_port.join(","));
        let agent_ports = list("AGENT_PORT", &texts.get(repeated.as_ref(), "AGENT_PORT", ""), port)?;
        let agent_ports = agent_ports.into_iter().collect();
        Ok(Self { mode, proxy_uid, mesh, agent_ports, nameservers: Vec::new() })
    }

    /// True if outgoing traffic without a rule is dropped, so that DNS servers have to be named.
    pub(super) fn confines(&self) -> bool {
        match &self.mode {
            CaptureMode::Redirect(redirect) => redirect.drop_other,
            CaptureMode::Enforce { .. } => true,
        }
    }
}

impl CaptureMode {
    /// Name of the mode on the command line.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Redirect(_) => "redirect",
            Self::Enforce { .. } => "enforce-redirect",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;

    fn parse(flags: &[&str], variables: &[(&str, &str)]) -> Result<NetinitSettings, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        NetinitSettings::parse(&Texts { arguments: &arguments(flags), variable: &variable })
    }

    fn redirect(flags: &[&str], variables: &[(&str, &str)]) -> Redirect {
        match parse(flags, variables).unwrap().mode {
            CaptureMode::Redirect(redirect) => redirect,
            CaptureMode::Enforce { .. } => panic!("enforced"),
        }
    }

    #[test]
    fn the_user_who_is_let_out_is_that_of_the_image() {
        let (_, stage) =
            include_str!("../../../Dockerfile").split_once("FROM scratch AS authbridge\n").unwrap();
        let (stage, _) = stage.split_once("\nFROM ").unwrap();
        let uid = parse(&[], &[("MODE", "enforce-redirect")]).unwrap().proxy_uid;
        assert!(stage.contains(&format!("\nUSER {uid}:{uid}\n")), "{uid}: {stage}");
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
        let variables = [("POD_IP", "10.0.0.1"), ("PROXY_PORT", "1000"), ("INBOUND_PROXY_PORT", " ")];
        let read = redirect(&["--proxy-port", "2000"], &variables);
        assert_eq!((read.outbound_port, read.inbound_port), (2000, 15_124));
        assert_eq!(redirect(&[], &variables).outbound_port, 1000);
    }

    #[test]
    fn excluded_ports_join_those_of_the_proxy_its_administration_and_the_mesh() {
        let variables = [
            ("POD_IP", "10.0.0.1"),
            ("OUTBOUND_PORTS_EXCLUDE", "8080,443"),
            ("INBOUND_PORTS_EXCLUDE", "7000"),
            ("SSH_PORT", "none"),
        ];
        let read = redirect(&[], &variables);
        assert_eq!(read.outbound_open, BTreeSet::from([443, 8080]));
        assert_eq!(read.inbound_open, BTreeSet::from([7000, 9090, 9901, 15_008, 15_123, 15_124]));
        assert_eq!(read.inbound_excluded, BTreeSet::from([7000]));
    }

    #[test]
    fn a_pod_and_its_probes_have_addresses_of_both_families() {
        let read = redirect(&["--pod-ip", "10.0.0.1,fd00::1"], &[]);
        assert_eq!(read.pod, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        assert_eq!(read.probes.iter().filter(|address| address.is_ipv6()).count(), 1);
    }

    #[test]
    fn agent_ports_are_repeated_as_flags_and_listed_in_a_variable() {
        let enforce = ("MODE", "enforce-redirect");
        let listed = parse(&[], &[enforce, ("AGENT_PORT", "8001,8002")]).unwrap();
        assert_eq!(listed.agent_ports, BTreeSet::from([8001, 8002]));
        let repeated = parse(&["--agent-port", "8002", "--agent-port", "8001"], &[enforce]).unwrap();
        assert_eq!(repeated, listed);
    }

    #[test]
    fn incoming_tcp_is_redirected_if_a_port_is_named_and_not_to_ports_of_the_sidecar() {
        let capture = |variables: &[(&str, &str)]| {
            let variables = [&[("MODE", "enforce-redirect")], variables].concat();
            match parse(&[], &variables).unwrap().mode {
                CaptureMode::Enforce { inbound, .. } => inbound,
                CaptureMode::Redirect(_) => panic!("redirected"),
            }
        };
        assert_eq!(capture(&[]), None);
        assert_eq!(capture(&[("INBOUND_TRANSPARENT_PORT", "")]), None);
        let port = ("INBOUND_TRANSPARENT_PORT", "8083");
        let open = BTreeSet::from([8081, 9091, 9093, 9094, 15_008]);
        assert_eq!(capture(&[port]), Some(InboundCapture { port: 8083, open }));
        let others = [port, ("SIDECAR_PORTS_EXCLUDE", "9191"), ("INBOUND_PORTS_EXCLUDE", "7000")];
        let open = BTreeSet::from([7000, 9191]);
        let found = capture(&[&others[..], &[("ZTUNNEL_MARK", "none")]].concat());
        assert_eq!(found, Some(InboundCapture { port: 8083, open }));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (name, value) in [
            ("MODE", "enforce"),
            ("PROXY_UID", "0"),
            ("PROXY_UID", "proxy"),
            ("PROXY_PORT", "0"),
            ("POD_IP", ""),
            ("POD_IP", "pod"),
            ("SSH_PORT", "ssh"),
            ("ZTUNNEL_MARK", "0/0"),
            ("DROP_OTHER", "yes"),
            ("AGENT_PORT", "8001;accept"),
            ("INBOUND_TRANSPARENT_PORT", "8083"),
            ("INBOUND_TRANSPARENT_PORT", "x"),
            ("ISTIO_HEALTH_PROBE_SRC", "0.0.0.0/0"),
        ] {
            let others = [("POD_IP", "10.0.0.1")].into_iter().filter(|(known, _)| *known != name);
            let variables: Vec<_> = others.chain([(name, value)]).collect();
            assert!(parse(&[], &variables).unwrap_err().contains(name), "{name}={value}");
        }
    }
}

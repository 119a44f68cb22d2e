//! Settings of the rules: flags and variables, parsed into ports, addresses and users.
//! Only these types reach the text of a rule, so no variable can add a rule of its own.

use super::arguments::Arguments;
use super::values::{self, PacketMark, address, boolean, list, mark, port, user};
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

/// Name of a setting as its author wrote it: a flag has the name of its variable, in lower case and with dashes.
fn written(flag: Option<&String>, variable: &str) -> String {
    if flag.is_none() {
        return variable.to_owned();
    }
    format!("--{}", variable.to_ascii_lowercase().replace('_', "-"))
}

impl Texts<'_> {
    fn get(&self, flag: Option<&String>, name: &str, default: &str) -> String {
        let variable = || (self.variable)(name).filter(|text| !text.trim().is_empty());
        flag.cloned().or_else(variable).unwrap_or_else(|| default.to_owned())
    }

    /// Value of a setting by `parse`, whose errors begin with the name under which it was written: that of the flag, or of
    /// the variable.
    fn parse<T>(
        &self,
        (flag, name, default): (Option<&String>, &str, &str),
        parse: impl Fn(&str, &str) -> Result<T, String>,
    ) -> Result<T, String> {
        parse(&written(flag, name), &self.get(flag, name, default))
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
        let setting = (self.arguments.outbound_ports_exclude.as_ref(), NAME, "");
        self.parse(setting, |name, text| list(name, text, port)).map(BTreeSet::from_iter)
    }

    /// The port for incoming TCP, and the ports that are left alone: those of the sidecar and the mesh's tunnel among them.
    fn inbound_capture(&self, mesh: Option<PacketMark>) -> Result<Option<InboundCapture>, String> {
        const NAME: &str = "INBOUND_TRANSPARENT_PORT";
        const SIDECAR: &str = "SIDECAR_PORTS_EXCLUDE";
        let flag = self.arguments.inbound_transparent_port.as_ref();
        if self.get(flag, NAME, "").trim().is_empty() {
            return Ok(None);
        }
        let port = self.parse((flag, NAME, ""), port)?;
        let mut open = self.inbound_excluded()?;
        let sidecar = (self.arguments.sidecar_ports_exclude.as_ref(), SIDECAR, "8081,9091,9093,9094");
        open.extend(self.parse(sidecar, |name, text| list(name, text, values::port))?);
        if mesh.is_some() {
            open.insert(self.tunnel()?);
        }
        Ok(Some(InboundCapture { port, open }))
    }

    fn inbound_excluded(&self) -> Result<BTreeSet<u16>, String> {
        const NAME: &str = "INBOUND_PORTS_EXCLUDE";
        let setting = (self.arguments.inbound_ports_exclude.as_ref(), NAME, "");
        self.parse(setting, |name, text| list(name, text, port)).map(BTreeSet::from_iter)
    }

    fn tunnel(&self) -> Result<u16, String> {
        const NAME: &str = "ZTUNNEL_HBONE_PORT";
        self.parse((self.arguments.ztunnel_hbone_port.as_ref(), NAME, "15008"), port)
    }

    fn redirect(&self) -> Result<Redirect, String> {
        let flags = self.arguments;
        let single = |flag: &Option<String>, name, default| self.parse((flag.as_ref(), name, default), port);
        let outbound_port = single(&flags.proxy_port, "PROXY_PORT", "15123")?;
        let inbound_port = single(&flags.inbound_proxy_port, "INBOUND_PROXY_PORT", "15124")?;
        let ssh = self.parse((flags.ssh_port.as_ref(), "SSH_PORT", "22"), |name, text| match text {
            "none" => Ok(None),
            ssh => port(name, ssh).map(Some).map_err(|problem| format!("{problem}, or none")),
        })?;
        let mut outbound_open = self.outbound_excluded()?;
        outbound_open.extend(ssh);
        let inbound_excluded = self.inbound_excluded()?;
        let mut inbound_open = inbound_excluded.clone();
        // 9090 is the external processor, which Envoy calls, and 9901 Envoy's admin interface.
        inbound_open.extend([outbound_port, inbound_port, 9090, 9901, self.tunnel()?]);
        inbound_open.extend(ssh);
        let pod =
            self.parse((flags.pod_ip.as_ref(), "POD_IP", ""), |name, text| list(name, text, address))?;
        if pod.is_empty() {
            return Err(
                "POD_IP, or --pod-ip, is needed in mode redirect: a mesh's deliveries are sent on to it; set it to the \
                 addresses of the Pod, which the field status.podIPs has"
                    .to_owned(),
            );
        }
        let probes = (flags.istio_health_probe_src.as_ref(), "ISTIO_HEALTH_PROBE_SRC", PROBES);
        let probes = self.parse(probes, |name, text| list(name, text, address))?;
        let drop_other = flags.drop_other || self.parse((None, "DROP_OTHER", "false"), boolean)?;
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
        let mesh = (flags.ztunnel_mark.as_ref(), "ZTUNNEL_MARK", "0x539/0xfff");
        let mesh = texts.parse(mesh, |name, text| match text {
            "none" => Ok(None),
            text => mark(name, text).map(Some),
        })?;
        let inbound = texts.inbound_capture(mesh)?;
        let mode = match texts.get(flags.mode.as_ref(), "MODE", "redirect").as_str() {
            "redirect" if inbound.is_some() => {
                return Err(format!(
                    "{} belongs to enforce-redirect; in mode redirect Envoy takes what comes in, at INBOUND_PROXY_PORT",
                    written(flags.inbound_transparent_port.as_ref(), "INBOUND_TRANSPARENT_PORT")
                ));
            }
            "redirect" => CaptureMode::Redirect(texts.redirect()?),
            "enforce-redirect" => {
                let setting = (flags.transparent_port.as_ref(), "TRANSPARENT_PORT", "8082");
                CaptureMode::Enforce {
                    transparent_port: texts.parse(setting, port)?,
                    outbound_open: texts.outbound_excluded()?,
                    inbound,
                }
            }
            other => {
                let mode = written(flags.mode.as_ref(), "MODE");
                return Err(format!(
                    "{mode} is redirect or enforce-redirect, not {}; write one of them",
                    Quoted(other)
                ));
            }
        };
        let proxy_uid = texts.parse((flags.proxy_uid.as_ref(), "PROXY_UID", "1337"), user)?;
        let repeated = (!flags.agent_port.is_empty()).then(|| flags.agent_port.join(","));
        let agent_ports = (repeated.as_ref(), "AGENT_PORT", "");
        let agent_ports =
            texts.parse(agent_ports, |name, text| list(name, text, port))?.into_iter().collect();
        // Where the list does not count, it is told so, and contradicts nothing.
        if mode.uses("INBOUND_PORTS_EXCLUDE") {
            refuse_excluded(&agent_ports, &texts.inbound_excluded()?)?;
        }
        Ok(Self { mode, proxy_uid, mesh, agent_ports, nameservers: Vec::new() })
    }

    /// A sentence for each setting that was written and does not count in this mode.
    pub(super) fn unused(&self, texts: &Texts<'_>) -> Vec<String> {
        let flags = texts.arguments;
        let drops = flags.drop_other.then(String::new);
        [
            ("PROXY_PORT", flags.proxy_port.as_ref()),
            ("INBOUND_PROXY_PORT", flags.inbound_proxy_port.as_ref()),
            ("TRANSPARENT_PORT", flags.transparent_port.as_ref()),
            ("SIDECAR_PORTS_EXCLUDE", flags.sidecar_ports_exclude.as_ref()),
            ("SSH_PORT", flags.ssh_port.as_ref()),
            ("INBOUND_PORTS_EXCLUDE", flags.inbound_ports_exclude.as_ref()),
            ("POD_IP", flags.pod_ip.as_ref()),
            ("ZTUNNEL_HBONE_PORT", flags.ztunnel_hbone_port.as_ref()),
            ("ISTIO_HEALTH_PROBE_SRC", flags.istio_health_probe_src.as_ref()),
            ("DROP_OTHER", drops.as_ref()),
        ]
        .into_iter()
        .filter(|(name, flag)| {
            let is_written = flag.is_some() || !texts.get(None, name, "").trim().is_empty();
            is_written && !self.mode.uses(name)
        })
        .map(|(name, flag)| {
            let (name, mode) = (written(flag, name), self.mode.name());
            let without = match &self.mode {
                CaptureMode::Enforce { inbound: None, .. } => " without INBOUND_TRANSPARENT_PORT",
                _ => "",
            };
            format!("{name} does not count in mode {mode}{without}; take it out, or see docs/netinit.md for what does")
        })
        .collect()
    }

    /// True if outgoing traffic without a rule is dropped, so that DNS servers have to be named.
    pub(super) fn confines(&self) -> bool {
        match &self.mode {
            CaptureMode::Redirect(redirect) => redirect.drop_other,
            CaptureMode::Enforce { .. } => true,
        }
    }
}

/// Refuses a port that is closed as the agent's, and left alone as well.
fn refuse_excluded(agent: &BTreeSet<u16>, excluded: &BTreeSet<u16>) -> Result<(), String> {
    match agent.intersection(excluded).next() {
        Some(port) => Err(format!(
            "port {port} cannot be closed as an agent's (AGENT_PORT) and left alone (INBOUND_PORTS_EXCLUDE); take it out of \
             one of them"
        )),
        None => Ok(()),
    }
}

impl CaptureMode {
    /// True if the mode reads the setting of this variable.
    fn uses(&self, variable: &str) -> bool {
        let inbound = match self {
            Self::Redirect(_) => true,
            Self::Enforce { inbound, .. } => inbound.is_some(),
        };
        let is_redirect = matches!(self, Self::Redirect(_));
        match variable {
            "PROXY_PORT"
            | "INBOUND_PROXY_PORT"
            | "SSH_PORT"
            | "POD_IP"
            | "ISTIO_HEALTH_PROBE_SRC"
            | "DROP_OTHER" => is_redirect,
            "TRANSPARENT_PORT" => !is_redirect,
            "SIDECAR_PORTS_EXCLUDE" => inbound && !is_redirect,
            "INBOUND_PORTS_EXCLUDE" | "ZTUNNEL_HBONE_PORT" => inbound,
            _ => true,
        }
    }

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
    fn an_error_names_what_was_written_the_flag_or_the_variable() {
        for (name, bad) in [
            ("PROXY_PORT", "0"),
            ("INBOUND_PROXY_PORT", "x"),
            ("SSH_PORT", "x"),
            ("OUTBOUND_PORTS_EXCLUDE", "x"),
            ("INBOUND_PORTS_EXCLUDE", "x"),
            ("POD_IP", "x"),
            ("ZTUNNEL_HBONE_PORT", "x"),
            ("ZTUNNEL_MARK", "0/0"),
            ("ISTIO_HEALTH_PROBE_SRC", "x"),
            ("PROXY_UID", "0"),
            ("AGENT_PORT", "x"),
            ("MODE", "x"),
            ("INBOUND_TRANSPARENT_PORT", "9083"),
        ] {
            let pod = ("POD_IP", "10.0.0.1");
            let told = parse(&[], &[(name, bad), pod]).unwrap_err();
            assert!(told.starts_with(&format!("{name} ")), "{told}");
            let flag = format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
            let told = parse(&[&flag, bad], &[pod]).unwrap_err();
            assert!(told.starts_with(&format!("{flag} ")), "{flag}: {told}");
        }
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
    fn a_setting_that_does_not_count_in_the_mode_is_told() {
        let told = |flags: &[&str], variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let arguments = arguments(flags);
            let texts = Texts { arguments: &arguments, variable: &variable };
            NetinitSettings::parse(&texts).unwrap().unused(&texts)
        };
        let enforce = ["--mode", "enforce-redirect"];
        let dropping = told(&[&enforce[..], &["--drop-other"]].concat(), &[]);
        assert!(
            dropping[0].starts_with("--drop-other does not count in mode enforce-redirect"),
            "{dropping:?}"
        );
        let excluded = told(&enforce, &[("INBOUND_PORTS_EXCLUDE", "7000"), ("SSH_PORT", "22")]);
        assert!(
            excluded[0].starts_with("SSH_PORT ") && excluded[1].starts_with("INBOUND_PORTS_EXCLUDE "),
            "{excluded:?}"
        );
        let malformed = told(&enforce, &[("INBOUND_PORTS_EXCLUDE", "http")]);
        assert!(malformed[0].starts_with("INBOUND_PORTS_EXCLUDE does not count"), "{malformed:?}");
        let counts = [
            ("MODE", "enforce-redirect"),
            ("INBOUND_PORTS_EXCLUDE", "http"),
            ("INBOUND_TRANSPARENT_PORT", "8083"),
        ];
        assert!(parse(&[], &counts).is_err());
        let inbound = [("INBOUND_PORTS_EXCLUDE", "7000"), ("INBOUND_TRANSPARENT_PORT", "8083")];
        assert_eq!(told(&enforce, &inbound), [""; 0]);
        assert_eq!(
            told(&["--pod-ip", "10.0.0.1", "--drop-other", "--inbound-ports-exclude", "1"], &[]),
            [""; 0]
        );
        assert_eq!(told(&["--pod-ip", "10.0.0.1"], &[("TRANSPARENT_PORT", "8082")]).len(), 1);
    }

    #[test]
    fn a_port_is_not_closed_as_the_agents_and_left_alone_where_the_list_counts() {
        for (mode, inbound, list, is_refused) in [
            ("redirect", "", "8001", true),
            ("redirect", "", "8002", false),
            ("enforce-redirect", "8083", "8001", true),
            ("enforce-redirect", "8083", "8002", false),
            // The list does not count, which a notice tells, whatever is in it.
            ("enforce-redirect", "", "8001", false),
            ("enforce-redirect", "", "8001,http", false),
        ] {
            let variables = [
                ("MODE", mode),
                ("POD_IP", "10.0.0.1"),
                ("AGENT_PORT", "8001"),
                ("INBOUND_PORTS_EXCLUDE", list),
                ("INBOUND_TRANSPARENT_PORT", inbound),
            ];
            match parse(&[], &variables) {
                Ok(_) => assert!(!is_refused, "{mode} {inbound} {list}"),
                Err(problem) => assert!(
                    is_refused
                        && problem.contains("port 8001 cannot be closed")
                        && problem.contains("take it out"),
                    "{mode} {inbound} {list}: {problem}"
                ),
            }
        }
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

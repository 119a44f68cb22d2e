//! Text of the transaction: one table, made anew, with chains for outgoing and incoming packets.
//! Its family is `inet`: the kernel applies each chain to IPv4 and IPv6 or refuses it, so neither family is left open.

use super::settings::{CaptureMode, InboundCapture, NetinitSettings, Redirect};
use super::values::PacketMark;
use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::net::IpAddr;

/// Before the address translation of others (-100, `NF_IP_PRI_NAT_DST`), because the first translation counts.
const CAPTURE: &str = "priority -110; policy accept;";
/// Before rules of others act on marks (-150, `NF_IP_PRI_MANGLE`).
const MARK: &str = "priority -160; policy accept;";
/// `ICMPv6` of the kernel itself, without which IPv6 has no neighbours or routers (RFC 4861 §4, RFC 3810 §5).
const NEIGHBOURS: &str = "icmpv6 type { mld-listener-report, mld-listener-done, nd-router-solicit, \
                          nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept";

/// Plans the transaction, which replaces the whole table of an earlier run.
pub(super) fn plan_rules(settings: &NetinitSettings) -> Result<String, String> {
    let mut closed = settings.agent_ports.clone();
    // Ports that a mesh's TCP must not reach: those of the agent only where it is not led to the proxy instead.
    let mut closed_to_mesh = BTreeSet::new();
    let mut chains = String::new();
    match &settings.mode {
        CaptureMode::Redirect(redirect) => {
            refuse_open(&closed, |port| redirect.opens(port))?;
            closed.insert(redirect.outbound_port);
            chains.push_str(&redirect_chains(redirect, settings));
        }
        CaptureMode::Enforce { transparent_port, outbound_open, inbound } => {
            closed.insert(*transparent_port);
            closed_to_mesh.insert(*transparent_port);
            match inbound {
                Some(capture) => {
                    refuse_open(&closed, |port| port == capture.port || capture.open.contains(&port))?;
                    chains.push_str(&capture_inbound(capture, settings));
                }
                None => closed_to_mesh.extend(&settings.agent_ports),
            }
            chains.push_str(&enforce_chain(*transparent_port, outbound_open, inbound.is_some(), settings));
            if let Some(mark) = settings.mesh {
                chains.push_str(&close_mesh(mark, (&closed_to_mesh, &closed), settings.proxy_uid));
            }
        }
    }
    if settings.confines() {
        if settings.nameservers.is_empty() {
            return Err("without a nameserver all DNS would be cut off".to_owned());
        }
        chains.push_str(&confinement(settings));
    }
    chains.push_str(&chain(
        "close_inbound",
        "type filter hook input priority 0; policy accept;",
        &[
            "iifname \"lo\" accept".to_owned(),
            // Answers to calls of the pod come first: their local port may by chance be an agent port.
            "ct direction reply accept".to_owned(),
            format!("meta l4proto {{ tcp, udp }} th dport {} drop", set(&closed)),
        ],
    ));
    // `delete` fails if there is no such table, so it is added first (nft(8), section TABLES).
    Ok(format!(
        "add table inet authbridge\ndelete table inet authbridge\ntable inet authbridge {{\n{chains}}}\n"
    ))
}

/// Refuses a port that is closed, as the agent's or the proxy's own, and open as well.
fn refuse_open(closed: &BTreeSet<u16>, opens: impl Fn(u16) -> bool) -> Result<(), String> {
    match closed.iter().find(|port| opens(**port)) {
        Some(port) => Err(format!(
            "port {port} cannot be closed as an agent's and open for others; take it out of AGENT_PORT or of what is excluded"
        )),
        None => Ok(()),
    }
}

/// The rule that marks what the proxy delivers within the pod, so that a mesh does not take it for a call of the agent.
fn mark_delivery(PacketMark { value, mask }: PacketMark, uid: u32) -> String {
    let marked = format!(
        "meta skuid {uid} fib daddr type local meta mark set meta mark & 0x{:08x} | 0x{value:08x}",
        !mask
    );
    chain("mark_delivery", &format!("type route hook output {MARK}"), &[marked])
}

/// Chains for incoming TCP of mode enforce-redirect: by an interface, and delivered by a mesh. Only the port is changed,
/// never the address: the proxy can then tell what was not going to this pod, and a mesh's packets keep an address to which
/// the kernel takes their foreign source from loopback.
fn capture_inbound(capture: &InboundCapture, settings: &NetinitSettings) -> String {
    let InboundCapture { port, open } = capture;
    let translate = format!("meta l4proto tcp dnat to :{port}");
    let mut chains = String::new();
    if let Some(mark) = settings.mesh {
        chains.push_str(&mark_delivery(mark, settings.proxy_uid));
        let accept = (!open.is_empty()).then(|| format!("tcp dport {} accept", set(open)));
        let rules: Vec<String> = accept.into_iter().chain([translate.clone()]).collect();
        chains.push_str(&chain("mesh_delivery", "", &rules));
    }
    let mut rules = vec![
        "meta l4proto != tcp return".to_owned(),
        "iifname \"lo\" return".to_owned(),
        "fib daddr type != local return".to_owned(),
    ];
    if !open.is_empty() {
        rules.push(format!("tcp dport {} return", set(open)));
    }
    rules.push(translate);
    chains.push_str(&chain("capture_inbound", &format!("type nat hook prerouting {CAPTURE}"), &rules));
    chains
}

impl Redirect {
    fn opens(&self, port: u16) -> bool {
        port == self.inbound_port || self.inbound_excluded.contains(&port)
    }
}

fn redirect_chains(redirect: &Redirect, settings: &NetinitSettings) -> String {
    let Redirect { outbound_port, inbound_port, .. } = redirect;
    let uid = settings.proxy_uid;
    let mut chains = String::new();
    let mut outbound = vec!["meta l4proto != tcp return".to_owned()];
    if let Some(mark) = settings.mesh {
        chains.push_str(&mark_delivery(mark, uid));
        chains.push_str(&chain("mesh_delivery", "", &mesh_delivery(redirect)));
        outbound.push(format!("{mark} meta skuid != {uid} fib daddr type local goto mesh_delivery"));
        outbound.push(format!("{mark} return"));
    }
    outbound.push(format!("meta skuid {uid} return"));
    outbound.push("ip daddr 127.0.0.0/8 return".to_owned());
    outbound.push("ip6 daddr ::1 return".to_owned());
    if !redirect.outbound_open.is_empty() {
        outbound.push(format!("tcp dport {} return", set(&redirect.outbound_open)));
    }
    outbound.push(format!("meta l4proto tcp redirect to :{outbound_port}"));
    chains.push_str(&chain("capture_outbound", &format!("type nat hook output {CAPTURE}"), &outbound));
    let mut inbound = vec!["meta l4proto != tcp return".to_owned()];
    inbound.extend(to_each(&redirect.probes, "saddr", "return"));
    inbound.push(format!("tcp dport {} return", set(&redirect.inbound_open)));
    inbound.push(format!("meta l4proto tcp redirect to :{inbound_port}"));
    chains.push_str(&chain("capture_inbound", &format!("type nat hook prerouting {CAPTURE}"), &inbound));
    chains
}

/// Rules for packets that a mesh delivers to the agent: they go to the proxy first. A family for which the pod has no
/// address has no proxy to go to, so its packets are dropped rather than let past it.
fn mesh_delivery(redirect: &Redirect) -> Vec<String> {
    let mut rules = Vec::new();
    if !redirect.inbound_excluded.is_empty() {
        rules.push(format!("tcp dport {} accept", set(&redirect.inbound_excluded)));
    }
    let port = redirect.inbound_port;
    if let Some(pod) = redirect.pod.iter().find(|address| address.is_ipv4()) {
        rules.push(format!("meta nfproto ipv4 meta l4proto tcp dnat ip to {pod}:{port}"));
    }
    if let Some(pod) = redirect.pod.iter().find(|address| address.is_ipv6()) {
        rules.push(format!("meta nfproto ipv6 meta l4proto tcp dnat ip6 to [{pod}]:{port}"));
    }
    rules.push("drop".to_owned());
    rules
}

fn enforce_chain(
    port: u16,
    outbound_open: &BTreeSet<u16>,
    captures_inbound: bool,
    settings: &NetinitSettings,
) -> String {
    let uid = settings.proxy_uid;
    let mut rules = vec!["meta l4proto != tcp return".to_owned()];
    if let Some(mark) = settings.mesh {
        if captures_inbound {
            rules.push(format!("{mark} meta skuid != {uid} fib daddr type local goto mesh_delivery"));
        }
        rules.push(format!("{mark} return"));
    }
    rules.push(format!("meta skuid {} return", settings.proxy_uid));
    // By address and not by interface, because a socket may choose its interface (SO_BINDTODEVICE, socket(7)).
    rules.push("fib daddr type local return".to_owned());
    rules.extend(to_each(&settings.nameservers, "daddr", "tcp dport 53 return"));
    if !outbound_open.is_empty() {
        rules.push(format!("tcp dport {} return", set(outbound_open)));
    }
    rules.push(format!("meta l4proto tcp redirect to :{port}"));
    chain("capture_outbound", &format!("type nat hook output {CAPTURE}"), &rules)
}

/// Chain that drops what a mesh delivers to the closed ports. It delivers by sockets within the pod, so to `close_inbound`
/// a caller from another pod looks like a neighbour in this one. Before rules of others, which may replace the mark.
fn close_mesh(mark: PacketMark, (tcp, udp): (&BTreeSet<u16>, &BTreeSet<u16>), uid: u32) -> String {
    let rules = [("tcp", tcp), ("udp", udp)].map(|(protocol, ports)| {
        format!("{mark} meta skuid != {uid} fib daddr type local {protocol} dport {} drop", set(ports))
    });
    chain("close_mesh", &format!("type filter hook output {MARK}"), &rules)
}

/// Chain that drops every outgoing packet without a rule. It hooks after routing, where redirected packets already go to
/// loopback, so they need no rule that the agent could use to get out.
fn confinement(settings: &NetinitSettings) -> String {
    let uid = settings.proxy_uid;
    let mut rules = vec!["oifname \"lo\" accept".to_owned()];
    rules.extend(settings.mesh.map(|mark| format!("{mark} accept")));
    rules.push(format!("meta skuid {uid} accept"));
    rules.push("ct direction reply accept".to_owned());
    rules.extend(to_each(&settings.nameservers, "daddr", "meta l4proto { tcp, udp } th dport 53 accept"));
    let (CaptureMode::Redirect(Redirect { outbound_open, .. }) | CaptureMode::Enforce { outbound_open, .. }) =
        &settings.mode;
    if !outbound_open.is_empty() {
        rules.push(format!("tcp dport {} accept", set(outbound_open)));
    }
    // Established connections are not exempt: one could date from before these rules, or reuse ports of the proxy's.
    rules.push(format!("meta skuid != {uid} drop"));
    // Packets without an owning socket: the kernel resets connections whose socket is closed, and finds neighbours.
    rules.push("ct state established,related accept".to_owned());
    rules.push(NEIGHBOURS.to_owned());
    rules.push("ip protocol igmp accept".to_owned());
    chain("confine_outbound", "type filter hook postrouting priority 0; policy drop;", &rules)
}

fn chain(name: &str, hook: &str, rules: &[String]) -> String {
    let mut text = format!("\tchain {name} {{\n");
    for line in std::iter::once(hook).filter(|hook| !hook.is_empty()).chain(rules.iter().map(String::as_str))
    {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str("\t}\n");
    text
}

/// One rule per address family in `addresses`; nftables matches the families by different expressions.
fn to_each(addresses: &[IpAddr], side: &str, rest: &str) -> impl Iterator<Item = String> {
    let of = |is: fn(&IpAddr) -> bool| addresses.iter().copied().filter(is).collect::<BTreeSet<_>>();
    let families = [("ip", of(IpAddr::is_ipv4)), ("ip6", of(IpAddr::is_ipv6))];
    let rule = move |(family, some)| format!("{family} {side} {} {rest}", set(&some));
    families.into_iter().filter(|(_, some)| !some.is_empty()).map(rule)
}

fn set<T: Display>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("{{ {} }}", items.join(", "))
}

impl Display for PacketMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "meta mark & 0x{:08x} == 0x{:08x}", self.mask, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn settings(mode: CaptureMode) -> NetinitSettings {
        NetinitSettings {
            mode,
            proxy_uid: 1337,
            mesh: Some(PacketMark { value: 0x539, mask: 0xfff }),
            agent_ports: BTreeSet::new(),
            nameservers: Vec::new(),
        }
    }

    fn redirect() -> Redirect {
        Redirect {
            outbound_port: 15_123,
            inbound_port: 15_124,
            outbound_open: BTreeSet::from([22, 8080]),
            inbound_open: BTreeSet::from([22, 7000, 9090, 9901, 15_008, 15_123, 15_124]),
            inbound_excluded: BTreeSet::from([7000]),
            pod: addresses(&["10.1.2.3", "fd00::3"]),
            probes: addresses(&["169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"]),
            drop_other: false,
        }
    }

    fn enforce() -> NetinitSettings {
        let nameservers = addresses(&["fd00::a", "10.96.0.10", "10.96.0.9"]);
        let agent_ports = BTreeSet::from([8001]);
        NetinitSettings {
            agent_ports,
            nameservers,
            ..settings(CaptureMode::Enforce {
                transparent_port: 8082,
                outbound_open: BTreeSet::new(),
                inbound: None,
            })
        }
    }

    #[test]
    fn enforcing_sends_tcp_to_the_proxy_and_nothing_else_out() {
        let expected = r#"add table inet authbridge
delete table inet authbridge
table inet authbridge {
	chain capture_outbound {
		type nat hook output priority -110; policy accept;
		meta l4proto != tcp return
		meta mark & 0x00000fff == 0x00000539 return
		meta skuid 1337 return
		fib daddr type local return
		ip daddr { 10.96.0.9, 10.96.0.10 } tcp dport 53 return
		ip6 daddr { fd00::a } tcp dport 53 return
		meta l4proto tcp redirect to :8082
	}
	chain close_mesh {
		type filter hook output priority -160; policy accept;
		meta mark & 0x00000fff == 0x00000539 meta skuid != 1337 fib daddr type local tcp dport { 8001, 8082 } drop
		meta mark & 0x00000fff == 0x00000539 meta skuid != 1337 fib daddr type local udp dport { 8001, 8082 } drop
	}
	chain confine_outbound {
		type filter hook postrouting priority 0; policy drop;
		oifname "lo" accept
		meta mark & 0x00000fff == 0x00000539 accept
		meta skuid 1337 accept
		ct direction reply accept
		ip daddr { 10.96.0.9, 10.96.0.10 } meta l4proto { tcp, udp } th dport 53 accept
		ip6 daddr { fd00::a } meta l4proto { tcp, udp } th dport 53 accept
		meta skuid != 1337 drop
		ct state established,related accept
		icmpv6 type { mld-listener-report, mld-listener-done, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
		ip protocol igmp accept
	}
	chain close_inbound {
		type filter hook input priority 0; policy accept;
		iifname "lo" accept
		ct direction reply accept
		meta l4proto { tcp, udp } th dport { 8001, 8082 } drop
	}
}
"#;
        assert_eq!(plan_rules(&enforce()).unwrap(), expected);
    }

    fn capturing() -> NetinitSettings {
        let inbound = Some(InboundCapture { port: 8083, open: BTreeSet::from([9091, 15_008]) });
        let mode = CaptureMode::Enforce { transparent_port: 8082, outbound_open: BTreeSet::new(), inbound };
        NetinitSettings { mode, ..enforce() }
    }

    #[test]
    fn enforcing_can_lead_incoming_tcp_and_what_a_mesh_delivers_to_the_proxy() {
        let expected = r#"table inet authbridge {
	chain mark_delivery {
		type route hook output priority -160; policy accept;
		meta skuid 1337 fib daddr type local meta mark set meta mark & 0xfffff000 | 0x00000539
	}
	chain mesh_delivery {
		tcp dport { 9091, 15008 } accept
		meta l4proto tcp dnat to :8083
	}
	chain capture_inbound {
		type nat hook prerouting priority -110; policy accept;
		meta l4proto != tcp return
		iifname "lo" return
		fib daddr type != local return
		tcp dport { 9091, 15008 } return
		meta l4proto tcp dnat to :8083
	}
	chain capture_outbound {
		type nat hook output priority -110; policy accept;
		meta l4proto != tcp return
		meta mark & 0x00000fff == 0x00000539 meta skuid != 1337 fib daddr type local goto mesh_delivery
		meta mark & 0x00000fff == 0x00000539 return
		meta skuid 1337 return
		fib daddr type local return
		ip daddr { 10.96.0.9, 10.96.0.10 } tcp dport 53 return
		ip6 daddr { fd00::a } tcp dport 53 return
		meta l4proto tcp redirect to :8082
	}
	chain close_mesh {
		type filter hook output priority -160; policy accept;
		meta mark & 0x00000fff == 0x00000539 meta skuid != 1337 fib daddr type local tcp dport { 8082 } drop
		meta mark & 0x00000fff == 0x00000539 meta skuid != 1337 fib daddr type local udp dport { 8001, 8082 } drop
	}
"#;
        let rules = plan_rules(&capturing()).unwrap();
        assert!(rules.contains(expected), "{rules}");
        assert!(rules.contains("th dport { 8001, 8082 } drop"), "what was not led to the proxy: {rules}");
    }

    #[test]
    fn redirecting_leads_tcp_both_ways_through_the_proxy_and_a_mesh_to_it() {
        let expected = r#"add table inet authbridge
delete table inet authbridge
table inet authbridge {
	chain mark_delivery {
		type route hook output priority -160; policy accept;
		meta skuid 1337 fib daddr type local meta mark set meta mark & 0xfffff000 | 0x00000539
	}
	chain mesh_delivery {
		tcp dport { 7000 } accept
		meta nfproto ipv4 meta l4proto tcp dnat ip to 10.1.2.3:15124
		meta nfproto ipv6 meta l4proto tcp dnat ip6 to [fd00::3]:15124
		drop
	}
	chain capture_outbound {
		type nat hook output priority -110; policy accept;
		meta l4proto != tcp return
		meta mark & 0x00000fff == 0x00000539 meta skuid != 1337 fib daddr type local goto mesh_delivery
		meta mark & 0x00000fff == 0x00000539 return
		meta skuid 1337 return
		ip daddr 127.0.0.0/8 return
		ip6 daddr ::1 return
		tcp dport { 22, 8080 } return
		meta l4proto tcp redirect to :15123
	}
	chain capture_inbound {
		type nat hook prerouting priority -110; policy accept;
		meta l4proto != tcp return
		ip saddr { 169.254.7.127 } return
		ip6 saddr { fd16:9254:7127:1337:ffff:ffff:ffff:ffff } return
		tcp dport { 22, 7000, 9090, 9901, 15008, 15123, 15124 } return
		meta l4proto tcp redirect to :15124
	}
	chain close_inbound {
		type filter hook input priority 0; policy accept;
		iifname "lo" accept
		ct direction reply accept
		meta l4proto { tcp, udp } th dport { 15123 } drop
	}
}
"#;
        assert_eq!(plan_rules(&settings(CaptureMode::Redirect(redirect()))).unwrap(), expected);
    }

    #[test]
    fn redirecting_can_confine_as_well_and_then_lets_out_what_is_not_redirected() {
        let redirect = Redirect { drop_other: true, ..redirect() };
        let settings = NetinitSettings {
            nameservers: addresses(&["10.96.0.10"]),
            ..settings(CaptureMode::Redirect(redirect))
        };
        let rules = plan_rules(&settings).unwrap();
        let (_, confinement) = rules.split_once("chain confine_outbound").unwrap();
        assert!(confinement.contains("policy drop;"), "{rules}");
        let excluded = confinement.find("tcp dport { 22, 8080 } accept").unwrap();
        assert!(excluded < confinement.find("meta skuid != 1337 drop").unwrap(), "{rules}");
    }

    #[test]
    fn a_delivery_of_a_mesh_to_a_family_without_an_address_is_dropped() {
        for (pod, translations) in
            [("10.1.2.3", ["dnat ip to 10.1.2.3:15124"]), ("fd00::3", ["dnat ip6 to [fd00::3]:15124"])]
        {
            let redirect = Redirect { pod: addresses(&[pod]), ..redirect() };
            let rules = mesh_delivery(&redirect);
            let found: Vec<_> = rules.iter().filter_map(|rule| rule.get(rule.find("dnat")?..)).collect();
            assert_eq!(found, translations);
            assert_eq!(rules.last().unwrap(), "drop");
        }
    }

    #[test]
    fn without_a_mesh_no_mark_means_anything() {
        for mode in [
            CaptureMode::Redirect(redirect()),
            CaptureMode::Enforce { transparent_port: 8082, outbound_open: BTreeSet::new(), inbound: None },
        ] {
            let rules = plan_rules(&NetinitSettings { mode, mesh: None, ..enforce() }).unwrap();
            assert!(!rules.contains("mark") && !rules.contains("mesh"), "{rules}");
        }
    }

    #[test]
    fn no_rule_is_written_for_an_empty_list() {
        let empty = Redirect {
            outbound_open: BTreeSet::new(),
            inbound_excluded: BTreeSet::new(),
            probes: Vec::new(),
            ..redirect()
        };
        let rules = plan_rules(&settings(CaptureMode::Redirect(empty))).unwrap();
        assert!(!rules.contains("{  }") && !rules.contains("saddr"), "{rules}");
    }

    #[test]
    fn a_port_is_not_both_closed_and_open() {
        for port in [15_124, 7000] {
            let closed = NetinitSettings {
                agent_ports: BTreeSet::from([port]),
                ..settings(CaptureMode::Redirect(redirect()))
            };
            assert!(plan_rules(&closed).unwrap_err().contains(&port.to_string()));
        }
        for port in [8083, 9091, 15_008] {
            let closed = NetinitSettings { agent_ports: BTreeSet::from([port]), ..capturing() };
            assert!(plan_rules(&closed).unwrap_err().contains(&port.to_string()));
        }
    }

    #[test]
    fn nobody_is_confined_without_a_way_to_ask_for_names() {
        assert!(plan_rules(&NetinitSettings { nameservers: Vec::new(), ..enforce() }).is_err());
    }
}

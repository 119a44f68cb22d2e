//! Checks of the addresses at which the sidecar listens, and of that of the agent.

use super::{Addresses, Checker, shown_url};
use crate::config::address::{Backend, ListenAddress};
use crate::config::host_pattern::host_problem;
use crate::config::model::{Config, InboundInterception, Listener, Role, SidecarMode};
use countersign_api::yaml::PathStep;
use countersign_core::text::Quoted;
use std::net::{IpAddr, SocketAddr};

/// True if two listeners cannot both have their address.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let is_any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (is_any || a.ip() == b.ip())
}

/// Reverse proxy with the agent behind it, and listener for redirected connections to the agent.
type InboundAddresses = (Option<(ListenAddress, Backend)>, Option<ListenAddress>);

/// Addresses at which requests come in, and of the agent.
#[derive(Default)]
struct Served {
    inbound: Option<(ListenAddress, Backend)>,
    transparent_inbound: Option<ListenAddress>,
    outbound: Option<ListenAddress>,
    transparent: Option<ListenAddress>,
    ext_proc: Option<ListenAddress>,
}

impl Checker<'_> {
    /// Addresses of all listeners, and of the agent; `None` after an error.
    pub(super) fn addresses(&mut self, config: &Config) -> Option<Addresses> {
        let listener = &config.listener;
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        if listener.ext_authz_addr.is_some() {
            self.wrong(
                &at("ext_authz_addr"),
                "it belongs to the mode waypoint, for which there is no program",
            );
        }
        let health =
            self.listen(&[PathStep::Key("health"), PathStep::Key("address")], &config.health.address);
        let stats =
            self.private(config, &[PathStep::Key("stats"), PathStep::Key("address")], &config.stats.address);
        let session = listener.session_api_addr.as_deref().unwrap_or(":9094");
        let session = self.private(config, &at("session_api_addr"), session);
        let served = match config.mode {
            SidecarMode::Waypoint => {
                self.wrong(&[PathStep::Key("mode")], "there is no program for waypoint; use proxy-sidecar");
                None
            }
            SidecarMode::EnvoySidecar => self.envoy(listener),
            SidecarMode::ProxySidecar => self.proxy(listener),
        };
        self.skip_hosts(listener);
        let Served { inbound, transparent_inbound, outbound, transparent, ext_proc } = served?;
        let (health, stats, session) = (health?, stats?, session?);
        let addresses = Addresses {
            inbound,
            outbound,
            transparent_inbound,
            transparent,
            ext_proc,
            health,
            stats,
            session,
        };
        self.distinct(config, &addresses);
        Some(addresses)
    }

    /// Addresses of envoy-sidecar; `None` after an error.
    fn envoy(&mut self, listener: &Listener) -> Option<Served> {
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        for (name, is_given) in [
            ("reverse_proxy_addr", listener.reverse_proxy_addr.is_some()),
            ("reverse_proxy_backend", listener.reverse_proxy_backend.is_some()),
            ("forward_proxy_addr", listener.forward_proxy_addr.is_some()),
            ("transparent_proxy_addr", listener.transparent_proxy_addr.is_some()),
            ("transparent_inbound_addr", listener.transparent_inbound_addr.is_some()),
            ("inbound_interception", listener.inbound_interception.is_some()),
            ("roles", !listener.roles.is_empty()),
        ] {
            if is_given {
                self.wrong(&at(name), "Envoy does this in envoy-sidecar; take it out");
            }
        }
        let text = listener.ext_proc_addr.as_deref().unwrap_or(":9090");
        let ext_proc = self.loopback(&at("ext_proc_addr"), text)?;
        Some(Served { ext_proc: Some(ext_proc), ..Served::default() })
    }

    /// Addresses of proxy-sidecar; `None` after an error.
    fn proxy(&mut self, listener: &Listener) -> Option<Served> {
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        if listener.ext_proc_addr.is_some() {
            self.wrong(&at("ext_proc_addr"), "it belongs to the mode envoy-sidecar; take it out");
        }
        self.sides(listener);
        let inbound = self.inbound(listener);
        let outbound = self.outbound(listener);
        let ((inbound, transparent_inbound), (outbound, transparent)) = (inbound?, outbound?);
        Some(Served { inbound, transparent_inbound, outbound, transparent, ext_proc: None })
    }

    /// Tells of addresses of a side that `roles` leave out.
    fn sides(&mut self, listener: &Listener) {
        let (inbound, outbound) = (!listener.has(Role::Reverse), !listener.has(Role::Forward));
        let came_in = "`roles` does not name reverse, so nothing comes in; take it out";
        let went_out = "`roles` does not name forward, so nothing goes out; take it out";
        for (name, is_given, problem) in [
            ("reverse_proxy_addr", inbound && listener.reverse_proxy_addr.is_some(), came_in),
            ("reverse_proxy_backend", inbound && listener.reverse_proxy_backend.is_some(), came_in),
            ("inbound_interception", inbound && listener.inbound_interception.is_some(), came_in),
            ("transparent_inbound_addr", inbound && listener.transparent_inbound_addr.is_some(), came_in),
            ("forward_proxy_addr", outbound && listener.forward_proxy_addr.is_some(), went_out),
            ("transparent_proxy_addr", outbound && listener.transparent_proxy_addr.is_some(), went_out),
        ] {
            if is_given {
                self.wrong(&[PathStep::Key("listener"), PathStep::Key(name)], problem);
            }
        }
    }

    /// Reverse proxy, and listener for redirected connections to the agent; `None` after an error.
    fn inbound(&mut self, listener: &Listener) -> Option<InboundAddresses> {
        if !listener.has(Role::Reverse) {
            return Some((None, None));
        }
        let transparent_inbound = self.transparent_inbound(listener);
        let is_named = listener.reverse_proxy_addr.is_some() || listener.reverse_proxy_backend.is_some();
        let inbound = if transparent_inbound == Some(None) || is_named {
            self.reverse_proxy(listener).map(Some)
        } else {
            Some(None)
        };
        Some((inbound?, transparent_inbound?))
    }

    /// Forward proxy, and listener for redirected connections of the agent; `None` after an error.
    fn outbound(&mut self, listener: &Listener) -> Option<(Option<ListenAddress>, Option<ListenAddress>)> {
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        if !listener.has(Role::Forward) {
            return Some((None, None));
        }
        let outbound = listener.forward_proxy_addr.as_deref().unwrap_or(":8081");
        let outbound = self.loopback(&at("forward_proxy_addr"), outbound);
        let transparent = match &listener.transparent_proxy_addr {
            Some(text) => self.loopback(&at("transparent_proxy_addr"), text).map(Some),
            None => Some(None),
        };
        Some((Some(outbound?), transparent?))
    }

    fn skip_hosts(&mut self, listener: &Listener) {
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        for pattern in &listener.skip_hosts {
            let all = pattern.bytes().all(|byte| matches!(byte, b'*' | b'.' | b'?'));
            let is_wide = all || pattern.contains(':');
            let wide = || is_wide.then(|| format!("{} matches everything or names a port", Quoted(pattern)));
            if let Some(problem) = host_problem(pattern).or_else(wide) {
                self.wrong(&at("skip_hosts"), problem);
            }
        }
    }

    /// Tells of listeners that could not both be opened, and of an agent that would be a listener of its own.
    fn distinct(&mut self, config: &Config, addresses: &Addresses) {
        let inbound = addresses.inbound.as_ref();
        let at = |name| ("listener", name);
        let listeners = [
            (at("reverse_proxy_addr"), inbound.map(|(address, _)| *address)),
            (at("transparent_inbound_addr"), addresses.transparent_inbound),
            (at("forward_proxy_addr"), addresses.outbound),
            (at("transparent_proxy_addr"), addresses.transparent),
            (at("ext_proc_addr"), addresses.ext_proc),
            (("health", "address"), Some(addresses.health)),
            (("stats", "address"), Some(addresses.stats)),
            (at("session_api_addr"), Some(addresses.session)),
        ];
        let mut known: Vec<((&'static str, &'static str), SocketAddr)> = Vec::new();
        let steps = |(block, name): (&'static str, &'static str)| [PathStep::Key(block), PathStep::Key(name)];
        let written: Vec<_> = listeners
            .iter()
            .map(|(place, _)| *place)
            .filter(|place| self.is_written(&steps(*place)))
            .collect();
        let is_written = |place| written.contains(&place);
        let whose = |place: (&'static str, &'static str)| {
            // The addresses of `listener` are known by their own names.
            let name = match place {
                ("listener", name) => name.to_owned(),
                (block, name) => format!("{block}.{name}"),
            };
            if is_written(place) { format!("that of {name}") } else { format!("the default of {name}") }
        };
        for (place, address) in listeners {
            let Some(address) = address.map(|one| one.address).filter(|one| one.port() != 0) else {
                continue;
            };
            // Its default stands for an address that the file has.
            if self.mistakes.is_unread(&steps(place)) {
                continue;
            }
            if let Some((other, _)) = known.iter().find(|(_, other)| overlap(*other, address)) {
                // The one that the file has is the one to change.
                let (at, of) = if is_written(place) { (place, *other) } else { (*other, place) };
                self.wrong(&steps(at), format!("port {} is {} as well", address.port(), whose(of)));
            }
            known.push((place, address));
        }
        let agent = config.listener.reverse_proxy_backend.as_deref().and(inbound).and_then(|(_, backend)| {
            let (host, port) = backend.authority.rsplit_once(':')?;
            let host = if host == "localhost" { "127.0.0.1" } else { host.trim_matches(['[', ']']) };
            Some(SocketAddr::new(host.parse().ok().filter(IpAddr::is_loopback)?, port.parse().ok()?))
        });
        if let Some(own) = agent.and_then(|agent| known.iter().find(|(_, own)| overlap(*own, agent))) {
            let (place, address) = own;
            let problem = format!(
                "the agent cannot be at port {}, {}, which the sidecar opens",
                address.port(),
                whose(*place)
            );
            self.wrong(&steps(at("reverse_proxy_backend")), problem);
        }
    }

    fn reverse_proxy(&mut self, listener: &Listener) -> Option<(ListenAddress, Backend)> {
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        let text = listener.reverse_proxy_addr.as_deref().unwrap_or(":8080");
        let reverse = self.listen(&at("reverse_proxy_addr"), text);
        let Some(backend) = &listener.reverse_proxy_backend else {
            let problem = "it is missing; name the agent, such as http://127.0.0.1:8001";
            let instead = ["inbound_interception", "transparent_inbound_addr"].map(|name| at(name).to_vec());
            self.lacks(&at("reverse_proxy_backend"), &instead, problem);
            return None;
        };
        let parsed = Backend::parse(backend);
        if let Err(problem) = parsed {
            self.wrong(&at("reverse_proxy_backend"), format!("{} {problem}", shown_url(backend)));
        }
        Some((reverse?, parsed.ok()?))
    }

    /// The listener for redirected connections to the agent: `Some(None)` if there is to be none, `None` after an error.
    #[expect(
        clippy::option_option,
        reason = "an error is told where it is found, and nothing is returned for it"
    )]
    fn transparent_inbound(&mut self, listener: &Listener) -> Option<Option<ListenAddress>> {
        let steps = [PathStep::Key("listener"), PathStep::Key("transparent_inbound_addr")];
        let text = match (listener.inbound_interception, listener.transparent_inbound_addr.as_deref()) {
            (None | Some(InboundInterception::ReverseProxy), None) => return Some(None),
            (Some(InboundInterception::ReverseProxy), Some(_)) => {
                let problem = "it contradicts `inbound_interception: reverse-proxy`; say only one of them";
                self.wrong(&steps, problem);
                return None;
            }
            (Some(InboundInterception::Transparent), None) => ":8083",
            (_, Some(text)) => text,
        };
        let address = self.listen(&steps, text)?;
        if address.address.ip().is_loopback() {
            let problem =
                "redirected connections arrive at the pod's own addresses; name a port alone, such as :8083";
            self.wrong(&steps, problem);
            return None;
        }
        Some(Some(address))
    }

    fn listen(&mut self, steps: &[PathStep<'_>], text: &str) -> Option<ListenAddress> {
        let parsed = ListenAddress::parse(text);
        if let Err(problem) = parsed {
            self.wrong(steps, format!("{} {problem}", Quoted(text)));
        }
        parsed.ok()
    }

    /// An address that only this pod may reach. For the existing AuthBridge a port alone means every interface, so that
    /// it now means loopback is told in a notice.
    fn loopback(&mut self, steps: &[PathStep<'_>], text: &str) -> Option<ListenAddress> {
        let address = self.listen(steps, text)?;
        if address.only_port {
            let what = if self.is_written(steps) { "it".to_owned() } else { format!("the default {text}") };
            self.note(
                steps,
                format!("{what} listens on 127.0.0.1, not on every interface: only the agent may use it"),
            );
        } else if !address.address.ip().is_loopback() {
            self.wrong(steps, "it must be a loopback address: whoever reaches it speaks as the agent");
            return None;
        }
        Some(address.on_loopback())
    }

    /// Tells of admin servers that listen beyond the Pod only because there is a token: a port alone means loopback without
    /// one, and every interface with one.
    pub(super) fn opened_by_token(&mut self, config: &Config) {
        const ADMIN: [(&str, &str, &str); 2] =
            [("stats", "address", ":9093"), ("listener", "session_api_addr", ":9094")];
        if config.admin.token_file.is_none() {
            return;
        }
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        let written =
            [&*config.stats.address, config.listener.session_api_addr.as_deref().unwrap_or(":9094")];
        for ((block, key, default), text) in ADMIN.into_iter().zip(written) {
            let Some(address) = ListenAddress::parse(text).ok().filter(|address| address.only_port) else {
                continue;
            };
            let is_written = self.is_written(&[PathStep::Key(block), PathStep::Key(key)]);
            let shown = if is_written { text.to_owned() } else { format!("the default {default}") };
            open.push(format!("{block}.{key} ({shown})"));
            closed.push(address.on_loopback().address.to_string());
        }
        let (listen, them) = match open.len() {
            0 => return,
            1 => ("listens", "it"),
            _ => ("listen", "them"),
        };
        self.note(
            &[PathStep::Key("admin"), PathStep::Key("token_file")],
            format!(
                "with it {} {listen} on every interface, for whoever has the token; write {} there to keep {them} within \
                 the Pod",
                open.join(" and "),
                closed.join(" and ")
            ),
        );
    }

    /// An address of an admin server: loopback, or any with `admin.token_file`.
    fn private(&mut self, config: &Config, steps: &[PathStep<'_>], text: &str) -> Option<ListenAddress> {
        let address = self.listen(steps, text)?;
        if address.only_port && config.admin.token_file.is_none() {
            if self.is_written(steps) {
                let what = "it listens on 127.0.0.1, not on every interface; set admin.token_file for others, who then need \
                            its token";
                self.note(steps, what);
            }
            return Some(address.on_loopback());
        }
        if !address.address.ip().is_loopback() && config.admin.token_file.is_none() {
            self.wrong(
                steps,
                "it listens beyond loopback; set admin.token_file, whose token callers then need",
            );
            return None;
        }
        Some(address)
    }
}

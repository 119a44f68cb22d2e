//! Checks beyond the types: keys that need or exclude each other, and settings that are refused as unsafe.

use super::address::{Backend, ListenAddress};
use super::model::{Config, InboundInterception, Listener, SidecarMode};
use super::plugins::{OnError, PluginSettings};
use super::token_exchange::{Action, DefaultPolicy, IdentityKind, Route, RouteTls, TokenExchange};
use super::{AudienceMode, JwtValidation};
use crate::glob::Glob;
use crate::peers::PeerPolicy;
use crate::request_path::BypassPaths;
use countersign_api::yaml::{Diagnostic, PathStep, YamlNode, diagnostic_at, is_written};
use countersign_core::text::Quoted;
use std::net::{IpAddr, SocketAddr};

/// Addresses of all listeners, and of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Reverse proxy and the agent behind it; absent in envoy-sidecar, and where only redirected connections are served.
    pub inbound: Option<(ListenAddress, Backend)>,
    /// Forward proxy; absent in envoy-sidecar.
    pub outbound: Option<ListenAddress>,
    /// Listener for connections to the agent that the kernel redirects.
    pub transparent_inbound: Option<ListenAddress>,
    /// Listener for connections of the agent that the kernel redirects.
    pub transparent: Option<ListenAddress>,
    /// External processor; only in envoy-sidecar.
    pub ext_proc: Option<ListenAddress>,
    /// Health server.
    pub health: ListenAddress,
    /// Statistics server.
    pub stats: ListenAddress,
    /// Session server.
    pub session: ListenAddress,
}

/// True if two listeners cannot both have their address.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let is_any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (is_any || a.ip() == b.ip())
}

/// A URL as a problem may quote it: a user name in it comes with a password, which no log may have.
fn shown_url(url: &str) -> String {
    if url.contains('@') { "it".to_owned() } else { Quoted(url).to_string() }
}

impl Addresses {
    /// Ports of all listeners but the reverse proxy: nothing that is redirected to the agent may lead to one of them.
    pub(crate) fn closed_ports(&self) -> impl Iterator<Item = u16> + '_ {
        let optional = [self.transparent_inbound, self.outbound, self.transparent, self.ext_proc];
        let always = [self.health, self.stats, self.session];
        optional.into_iter().flatten().chain(always).map(|address| address.address.port())
    }
}

/// Collects diagnostics with the lines they are about.
struct Checker<'a> {
    root: &'a YamlNode,
    diagnostics: Vec<Diagnostic>,
    notices: &'a mut Vec<Diagnostic>,
}

/// Checks a configuration: its addresses, or every error in it.
pub(super) fn check(
    config: &Config,
    root: &YamlNode,
    notices: &mut Vec<Diagnostic>,
) -> Result<Addresses, Vec<Diagnostic>> {
    let mut check = Checker { root, diagnostics: Vec::new(), notices };
    let addresses = check.addresses(config);
    check.opened_by_token(config);
    check.pipelines(config);
    check.mtls(config);
    match addresses {
        Some(addresses) if check.diagnostics.is_empty() => Ok(addresses),
        _ => Err(check.diagnostics),
    }
}

/// Checks routes, which are in `root` below `path`.
pub(super) fn check_routes(
    routes: &[Route],
    root: &YamlNode,
    path: &[PathStep],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (index, route) in routes.iter().enumerate() {
        let location = [path, &[PathStep::Index(index)]].concat();
        if let Some((key, problem)) = route_problem(route) {
            let steps = [location.as_slice(), &[PathStep::Key(key)]].concat();
            diagnostics.push(diagnostic_at(root, &steps, problem));
        }
    }
}

fn route_problem(route: &Route) -> Option<(&'static str, String)> {
    if let Err(problem) = Glob::parse(&route.host, b'.') {
        return Some(("host", format!("the pattern {} {problem}", Quoted(&route.host))));
    }
    let says_both =
        route.passthrough == Some(true) && route.action.is_some_and(|action| action != Action::Passthrough);
    if says_both {
        return Some(("passthrough", "it contradicts `action`; say only one of them".to_owned()));
    }
    if let Some(server) = &route.server_spiffe_id {
        if let Err(problem) = PeerPolicy::parse(std::slice::from_ref(server)) {
            return Some(("server_spiffe_id", problem));
        }
        if matches!(route.tls, Some(RouteTls::Plain | RouteTls::System)) {
            return Some(("server_spiffe_id", "it needs `tls: mtls`, which proves it".to_owned()));
        }
    }
    None
}

impl Checker<'_> {
    fn wrong(&mut self, steps: &[PathStep<'_>], problem: impl Into<String>) {
        self.diagnostics.push(diagnostic_at(self.root, steps, problem.into()));
    }

    fn note(&mut self, steps: &[PathStep<'_>], problem: impl Into<String>) {
        self.notices.push(diagnostic_at(self.root, steps, problem.into()));
    }

    fn addresses(&mut self, config: &Config) -> Option<Addresses> {
        let listener = &config.listener;
        let at = |name| [PathStep::Key("listener"), PathStep::Key(name)];
        if listener.ext_authz_addr.is_some() {
            self.wrong(
                &at("ext_authz_addr"),
                "it belongs to the mode waypoint, for which there is no program",
            );
        }
        let health =
            self.listen(&[PathStep::Key("health"), PathStep::Key("address")], &config.health.address)?;
        let stats =
            self.private(config, &[PathStep::Key("stats"), PathStep::Key("address")], &config.stats.address)?;
        let session = listener.session_api_addr.as_deref().unwrap_or(":9094");
        let session = self.private(config, &at("session_api_addr"), session)?;
        let mut addresses = Addresses {
            inbound: None,
            transparent_inbound: None,
            outbound: None,
            transparent: None,
            ext_proc: None,
            health,
            stats,
            session,
        };
        match config.mode {
            SidecarMode::Waypoint => {
                self.wrong(&[PathStep::Key("mode")], "there is no program for waypoint; use proxy-sidecar");
                return None;
            }
            SidecarMode::EnvoySidecar => {
                for (name, given) in [
                    ("reverse_proxy_addr", &listener.reverse_proxy_addr),
                    ("reverse_proxy_backend", &listener.reverse_proxy_backend),
                    ("forward_proxy_addr", &listener.forward_proxy_addr),
                    ("transparent_proxy_addr", &listener.transparent_proxy_addr),
                    ("transparent_inbound_addr", &listener.transparent_inbound_addr),
                ] {
                    if given.is_some() {
                        self.wrong(&at(name), "Envoy does this in envoy-sidecar; take it out");
                    }
                }
                if listener.inbound_interception.is_some() {
                    self.wrong(&at("inbound_interception"), "Envoy does this in envoy-sidecar; take it out");
                }
                let text = listener.ext_proc_addr.as_deref().unwrap_or(":9090");
                addresses.ext_proc = Some(self.loopback(&at("ext_proc_addr"), text)?);
            }
            SidecarMode::ProxySidecar => {
                if listener.ext_proc_addr.is_some() {
                    self.wrong(&at("ext_proc_addr"), "it belongs to the mode envoy-sidecar; take it out");
                }
                addresses.transparent_inbound = self.transparent_inbound(listener)?;
                let is_named =
                    listener.reverse_proxy_addr.is_some() || listener.reverse_proxy_backend.is_some();
                if addresses.transparent_inbound.is_none() || is_named {
                    addresses.inbound = Some(self.reverse_proxy(listener)?);
                }
                let text = listener.forward_proxy_addr.as_deref().unwrap_or(":8081");
                addresses.outbound = Some(self.loopback(&at("forward_proxy_addr"), text)?);
                if let Some(text) = &listener.transparent_proxy_addr {
                    addresses.transparent = Some(self.loopback(&at("transparent_proxy_addr"), text)?);
                }
            }
        }
        for pattern in &listener.skip_hosts {
            let all = pattern.bytes().all(|byte| matches!(byte, b'*' | b'.' | b'?'));
            match Glob::parse(pattern, b'.') {
                Ok(_) if !all && !pattern.contains(':') => {}
                Ok(_) => self.wrong(
                    &at("skip_hosts"),
                    format!("{} matches everything or names a port", Quoted(pattern)),
                ),
                Err(problem) => {
                    self.wrong(&at("skip_hosts"), format!("the pattern {} {problem}", Quoted(pattern)));
                }
            }
        }
        self.distinct(config, &addresses);
        Some(addresses)
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
        let root = self.root;
        let is_written = |place| is_written(root, &steps(place));
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
        let reverse = self.listen(&at("reverse_proxy_addr"), text)?;
        let Some(backend) = &listener.reverse_proxy_backend else {
            let problem = "it is missing; name the agent, such as http://127.0.0.1:8001";
            self.wrong(&at("reverse_proxy_backend"), problem);
            return None;
        };
        let parsed = Backend::parse(backend);
        if let Err(problem) = parsed {
            self.wrong(&at("reverse_proxy_backend"), format!("{} {problem}", shown_url(backend)));
        }
        Some((reverse, parsed.ok()?))
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
            let what =
                if is_written(self.root, steps) { "it".to_owned() } else { format!("the default {text}") };
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
    fn opened_by_token(&mut self, config: &Config) {
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
            let is_written = is_written(self.root, &[PathStep::Key(block), PathStep::Key(key)]);
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

    fn pipelines(&mut self, config: &Config) {
        let pipelines = &config.pipeline;
        let dangerous = pipelines.dangerously_allow_unauthenticated;
        for (direction, pipeline) in [("inbound", &pipelines.inbound), ("outbound", &pipelines.outbound)] {
            let plugins = [PathStep::Key("pipeline"), PathStep::Key(direction), PathStep::Key("plugins")];
            let mut seen = Vec::new();
            for (index, plugin) in pipeline.plugins.iter().enumerate() {
                let steps = [&plugins[..], &[PathStep::Index(index)]].concat();
                let name = plugin.settings.name();
                let inbound = matches!(
                    plugin.settings,
                    PluginSettings::JwtValidation(_) | PluginSettings::A2aParser(_)
                );
                if inbound != (direction == "inbound") {
                    self.wrong(
                        &steps,
                        format!(
                            "{name} does not work on {direction} requests; move it to the other pipeline"
                        ),
                    );
                }
                if seen.contains(&name) {
                    self.wrong(&steps, format!("{name} stands there twice; only one would count"));
                }
                seen.push(name);
                let gate = matches!(
                    plugin.settings,
                    PluginSettings::JwtValidation(_) | PluginSettings::TokenExchange(_)
                );
                if gate && plugin.on_error != OnError::Enforce && !dangerous {
                    let steps = [&steps[..], &[PathStep::Key("on_error")]].concat();
                    self.wrong(&steps, format!("{name} must enforce; pipeline.dangerously_allow_unauthenticated would let requests pass without it"));
                }
                let at = [&steps[..], &[PathStep::Key("config")]].concat();
                match &plugin.settings {
                    PluginSettings::JwtValidation(jwt) => self.jwt_validation(jwt, &at),
                    PluginSettings::TokenExchange(exchange) => self.token_exchange(config, exchange, &at),
                    _ if config.mode == SidecarMode::EnvoySidecar => {
                        self.note(&steps, format!("{name} reads nothing: Envoy sends no bodies here"));
                    }
                    _ => {}
                }
            }
            if direction == "inbound" && !seen.contains(&"jwt-validation") && !dangerous {
                self.wrong(&plugins, "jwt-validation is missing: every request would reach the agent; pipeline.dangerously_allow_unauthenticated allows that");
            }
        }
        if dangerous {
            self.note(
                &[PathStep::Key("pipeline"), PathStep::Key("dangerously_allow_unauthenticated")],
                "requests may pass without authentication",
            );
        }
    }

    fn jwt_validation(&mut self, jwt: &JwtValidation, at: &[PathStep<'_>]) {
        let key = |name| [at, &[PathStep::Key(name)]].concat();
        if jwt.issuer.is_empty() {
            self.wrong(&key("issuer"), "it is missing; it must equal `iss` of the tokens");
        }
        if jwt.audience.is_some() && jwt.audience_file.is_some() {
            self.wrong(
                &key("audience_file"),
                "it stands beside `audience`, and both would be accepted; keep one of `audience` and `audience_file`, and \
                 put further audiences into `allowed_audiences`",
            );
        }
        if jwt.audience_mode == AudienceMode::PerHost {
            self.wrong(&key("audience_mode"), "per-host belongs to the mode waypoint; use static");
        }
        if jwt.placeholder_mode {
            self.wrong(&key("placeholder_mode"), "it is not supported: the agent gets the token as it came");
        }
        if let Err(problem) = BypassPaths::parse(&jwt.bypass_paths) {
            self.wrong(&key("bypass_paths"), problem);
        }
        if jwt.clock_skew.0 > std::time::Duration::from_mins(1) {
            self.wrong(&key("clock_skew"), "it is longer than one minute; correct the clocks instead");
        }
        self.derived_url(&[key("jwks_url"), key("keycloak_url"), key("issuer")], &jwt.key_set_url());
    }

    /// Checks a URL that the file has at the first of these places, or that follows from what it has at a later one. The error
    /// is about the place that the file has.
    fn derived_url(&mut self, places: &[Vec<PathStep<'_>>], url: &str) {
        let plain = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if plain.is_some_and(|rest| {
            !rest.is_empty() && !rest.contains('@') && !rest.contains(char::is_whitespace)
        }) {
            return;
        }
        let written = places.iter().position(|steps| is_written(self.root, steps)).unwrap_or_default();
        let Some(steps) = places.get(written) else { return };
        let follows = if written == 0 { "" } else { ", which follows from it," };
        self.wrong(steps, format!("{}{follows} is not an http(s) URL without user name", shown_url(url)));
    }

    fn token_exchange(&mut self, config: &Config, exchange: &TokenExchange, at: &[PathStep<'_>]) {
        let key = |name| [at, &[PathStep::Key(name)]].concat();
        let identity = |name| [at, &[PathStep::Key("identity"), PathStep::Key(name)]].concat();
        match exchange.token_endpoint() {
            Some(url) => {
                self.derived_url(&[key("token_url"), key("keycloak_url"), key("provider_url")], &url);
            }
            None => {
                self.wrong(&key("token_url"), "it is missing; set it, or keycloak_url and keycloak_realm");
            }
        }
        match exchange.identity.kind {
            None => self.wrong(&identity("type"), "it is missing; set spiffe or client-secret"),
            Some(IdentityKind::Spiffe) if exchange.identity.jwt_audience.is_none() => {
                self.wrong(
                    &identity("jwt_audience"),
                    "it is missing; for Keycloak set the address of the realm",
                );
            }
            Some(IdentityKind::Spiffe) if config.spiffe.is_none() => {
                self.wrong(&identity("type"), "a JWT-SVID needs the block `spiffe`");
            }
            Some(_) => {}
        }
        if exchange.resolve_placeholders {
            self.wrong(&key("resolve_placeholders"), "it is not supported, as placeholder_mode is not");
        }
        if exchange.default_policy == DefaultPolicy::Exchange && !exchange.audience_from_host {
            self.wrong(
                &key("default_policy"),
                "exchange needs audience_from_host: no route names an audience",
            );
        }
        let path = [at, &[PathStep::Key("routes"), PathStep::Key("rules")]].concat();
        check_routes(&exchange.routes.rules, self.root, &path, &mut self.diagnostics);
        for (index, route) in exchange.routes.rules.iter().enumerate() {
            let says_tls =
                route.server_spiffe_id.is_some() || matches!(route.tls, Some(tls) if tls != RouteTls::Plain);
            if config.mode == SidecarMode::EnvoySidecar && says_tls {
                let steps = [&path[..], &[PathStep::Index(index), PathStep::Key("tls")]].concat();
                self.wrong(
                    &steps,
                    "Envoy connects in envoy-sidecar; say TLS in its cluster, and take it out here",
                );
            }
        }
    }

    fn mtls(&mut self, config: &Config) {
        let Some(mtls) = &config.mtls else { return };
        let at = [PathStep::Key("mtls"), PathStep::Key("allowed_peers")];
        if config.spiffe.is_none() {
            self.wrong(
                &[PathStep::Key("mtls")],
                "it needs the block `spiffe`, which says where identities come from",
            );
        }
        match &mtls.allowed_peers {
            None => {
                self.note(&at, "every workload of the own trust domain may connect; name those that should");
            }
            Some(peers) => {
                if let Err(problem) = PeerPolicy::parse(peers) {
                    self.wrong(&at, problem);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Reading, parse_config};

    /// Ports of the reverse proxy and of the transparent inbound listener, or the errors.
    fn inbound(mode: &str, listener: &str) -> Result<(Option<u16>, Option<u16>), String> {
        let text = format!(
            "mode: {mode}\nlistener: {{{listener}}}\npipeline: {{dangerously_allow_unauthenticated: true}}\n"
        );
        let checked = parse_config(&text, &|_| None, Reading::Strict)
            .map_err(|diagnostics| diagnostics.iter().map(ToString::to_string).collect::<String>())?;
        let addresses = checked.addresses;
        let reverse = addresses.inbound.map(|(address, _)| address.address.port());
        Ok((reverse, addresses.transparent_inbound.map(|address| address.address.port())))
    }

    #[test]
    fn calls_come_to_the_reverse_proxy_or_redirected_or_both() {
        const BACKEND: &str = "reverse_proxy_backend: 'http://127.0.0.1:8001'";
        const TRANSPARENT: &str = "inbound_interception: transparent";
        for (listener, expected) in [
            (BACKEND.to_owned(), (Some(8080), None)),
            (format!("{BACKEND}, inbound_interception: reverse-proxy"), (Some(8080), None)),
            (TRANSPARENT.to_owned(), (None, Some(8083))),
            (format!("{TRANSPARENT}, transparent_inbound_addr: ':9083'"), (None, Some(9083))),
            ("transparent_inbound_addr: ':9083'".to_owned(), (None, Some(9083))),
            (format!("{BACKEND}, {TRANSPARENT}"), (Some(8080), Some(8083))),
            (format!("{BACKEND}, transparent_inbound_addr: ':8083'"), (Some(8080), Some(8083))),
        ] {
            assert_eq!(inbound("proxy-sidecar", &listener), Ok(expected), "{listener}");
        }
        for (mode, listener, key) in [
            ("proxy-sidecar", "", "listener.reverse_proxy_backend"),
            ("proxy-sidecar", "inbound_interception: reverse-proxy", "listener.reverse_proxy_backend"),
            (
                "proxy-sidecar",
                "inbound_interception: transparent, reverse_proxy_addr: ':8080'",
                "listener.reverse_proxy_backend",
            ),
            (
                "proxy-sidecar",
                "inbound_interception: reverse-proxy, transparent_inbound_addr: ':8083'",
                "listener.transparent_inbound_addr",
            ),
            (
                "proxy-sidecar",
                "transparent_inbound_addr: '127.0.0.1:8083'",
                "listener.transparent_inbound_addr",
            ),
            ("proxy-sidecar", "transparent_inbound_addr: '8083'", "listener.transparent_inbound_addr"),
            ("proxy-sidecar", "inbound_interception: both", "listener.inbound_interception"),
            (
                "proxy-sidecar",
                "reverse_proxy_backend: 'http://127.0.0.1:8001', reverse_proxy_addr: ':8081'",
                "listener.reverse_proxy_addr: port 8081 is the default of forward_proxy_addr as well",
            ),
            (
                "proxy-sidecar",
                "reverse_proxy_backend: 'http://localhost:8080', forward_proxy_addr: '127.0.0.1:9094'",
                "listener.forward_proxy_addr: port 9094 is the default of session_api_addr as well",
            ),
            (
                "proxy-sidecar",
                "reverse_proxy_backend: 'http://localhost:8080'",
                "listener.reverse_proxy_backend: the agent cannot be at port 8080, the default of reverse_proxy_addr",
            ),
            ("envoy-sidecar", "inbound_interception: transparent", "listener.inbound_interception"),
            ("envoy-sidecar", "transparent_inbound_addr: ':8083'", "listener.transparent_inbound_addr"),
        ] {
            let problem = inbound(mode, listener).unwrap_err();
            assert!(problem.contains(key), "{mode} {listener}: {problem}");
        }
    }
}

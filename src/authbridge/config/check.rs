//! Checks beyond the types: keys that need or exclude each other, and settings that are refused as unsafe.

mod listeners;
mod ranges;

pub(super) use ranges::clamp_session;

use super::address::{Backend, ListenAddress};
use super::host_pattern::host_problem;
use super::model::{Config, Role, SidecarMode};
use super::plugins::{OnError, PluginSettings};
use super::token_exchange::{Action, DefaultPolicy, IdentityKind, Route, RouteTls, TokenExchange};
use super::{AudienceMode, JwtValidation};
use crate::peers::PeerPolicy;
use crate::request_path::BypassPaths;
use countersign_api::yaml::{Diagnostic, Mistakes, PathStep, YamlNode, diagnostic_at};
use countersign_core::text::Quoted;

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

/// Collects mistakes and notices with the lines they are about.
struct Checker<'a> {
    root: &'a YamlNode,
    mistakes: &'a mut Mistakes,
    notices: &'a mut Vec<Diagnostic>,
}

/// Checks what could be read of a configuration, and adds what is wrong to its mistakes; `None` if that are addresses.
pub(super) fn check(
    config: &Config,
    root: &YamlNode,
    mistakes: &mut Mistakes,
    notices: &mut Vec<Diagnostic>,
) -> Option<Addresses> {
    let mut check = Checker { root, mistakes, notices };
    let addresses = check.addresses(config);
    check.opened_by_token(config);
    check.pipelines(config);
    check.mtls(config);
    check.ranges(config);
    addresses
}

/// Checks routes, which are in `root` below `path`.
pub(super) fn check_routes(routes: &[Route], root: &YamlNode, path: &[PathStep], mistakes: &mut Mistakes) {
    for (index, route) in routes.iter().enumerate() {
        let location = [path, &[PathStep::Index(index)]].concat();
        if let Some((key, problem)) = route_problem(route) {
            let steps = [location.as_slice(), &[PathStep::Key(key)]].concat();
            mistakes.add(root, &steps, problem);
        }
    }
}

fn route_problem(route: &Route) -> Option<(&'static str, String)> {
    if let Some(problem) = host_problem(&route.host) {
        return Some(("host", problem));
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
        self.mistakes.add(self.root, steps, problem.into());
    }

    /// Tells that `steps` are missing, unless that or one of `instead` is there and could not be read.
    fn lacks(&mut self, steps: &[PathStep<'_>], instead: &[Vec<PathStep<'_>>], problem: &str) {
        let is_unread = self.mistakes.is_unread(steps);
        if !is_unread && !instead.iter().any(|steps| self.mistakes.is_unread(steps)) {
            self.wrong(steps, problem);
        }
    }

    /// True if the file has a value at `steps`.
    fn is_written(&self, steps: &[PathStep<'_>]) -> bool {
        self.mistakes.is_written(self.root, steps)
    }

    fn note(&mut self, steps: &[PathStep<'_>], problem: impl Into<String>) {
        self.notices.push(diagnostic_at(self.root, steps, problem.into()));
    }

    fn pipelines(&mut self, config: &Config) {
        let pipelines = &config.pipeline;
        let dangerous = pipelines.dangerously_allow_unauthenticated;
        let dangerously = [PathStep::Key("pipeline"), PathStep::Key("dangerously_allow_unauthenticated")];
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
                    let (other, there) = if direction == "inbound" {
                        ("outbound", &pipelines.outbound)
                    } else {
                        ("inbound", &pipelines.inbound)
                    };
                    let is_there = there.plugins.iter().any(|plugin| plugin.settings.name() == name);
                    let advice = if is_there {
                        format!(", and stands in pipeline.{other} as well; take it out here")
                    } else {
                        format!("; move it to pipeline.{other}")
                    };
                    self.wrong(&steps, format!("{name} does not work on {direction} requests{advice}"));
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
            let role = if direction == "inbound" { Role::Reverse } else { Role::Forward };
            let is_served = config.mode != SidecarMode::ProxySidecar || config.listener.has(role);
            if !is_served && !pipeline.plugins.is_empty() {
                let what = if direction == "inbound" { "nothing comes in" } else { "nothing goes out" };
                self.note(
                    &plugins,
                    format!("{what} by `listener.roles`, and they do nothing: take them out"),
                );
            }
            if direction == "inbound" && is_served && !seen.contains(&"jwt-validation") && !dangerous {
                self.lacks(
                    &plugins,
                    &[dangerously.to_vec()],
                    "jwt-validation is missing: every request would reach the agent; \
                     pipeline.dangerously_allow_unauthenticated allows that",
                );
            }
        }
        if dangerous {
            self.note(&dangerously, "requests may pass without authentication");
        }
    }

    fn jwt_validation(&mut self, jwt: &JwtValidation, at: &[PathStep<'_>]) {
        let key = |name| [at, &[PathStep::Key(name)]].concat();
        if jwt.issuer.is_empty() {
            self.lacks(&key("issuer"), &[], "it is missing; it must equal `iss` of the tokens");
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
        self.keys_max_age(jwt, &key("jwks_max_age"));
        self.derived_url(&[key("jwks_url"), key("keycloak_url"), key("issuer")], &jwt.key_set_url());
    }

    /// Checks a URL that the file has at the first of these places, or that follows from what it has at a later one. The error
    /// is about the place that the file has.
    fn derived_url(&mut self, places: &[Vec<PathStep<'_>>], url: &str) {
        let is_there = |steps: &&Vec<PathStep<'_>>| self.mistakes.is_unread(steps) || self.is_written(steps);
        if places.iter().find(is_there).is_some_and(|steps| self.mistakes.is_unread(steps)) {
            return;
        }
        let plain = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if plain.is_some_and(|rest| {
            !rest.is_empty() && !rest.contains('@') && !rest.contains(char::is_whitespace)
        }) {
            return;
        }
        let written = places.iter().position(|steps| self.is_written(steps)).unwrap_or_default();
        let Some(steps) = places.get(written) else { return };
        let follows = if written == 0 { "" } else { ", which follows from it," };
        self.wrong(steps, format!("{}{follows} is not an http(s) URL without user name", shown_url(url)));
    }

    fn token_exchange(&mut self, config: &Config, exchange: &TokenExchange, at: &[PathStep<'_>]) {
        let key = |name| [at, &[PathStep::Key(name)]].concat();
        let spiffe = vec![PathStep::Key("spiffe")];
        let identity = |name| [at, &[PathStep::Key("identity"), PathStep::Key(name)]].concat();
        if let Some(url) = exchange.token_endpoint() {
            self.derived_url(&[key("token_url"), key("keycloak_url"), key("provider_url")], &url);
        } else {
            let instead = ["keycloak_url", "keycloak_realm", "provider_url", "provider_realm"].map(key);
            let problem = "it is missing; set it, or keycloak_url and keycloak_realm";
            self.lacks(&key("token_url"), &instead, problem);
        }
        match exchange.identity.kind {
            None => self.lacks(&identity("type"), &[], "it is missing; set spiffe or client-secret"),
            Some(IdentityKind::Spiffe) if exchange.identity.jwt_audience.is_none() => {
                self.lacks(
                    &identity("jwt_audience"),
                    &[],
                    "it is missing; for Keycloak set the address of the realm",
                );
            }
            Some(IdentityKind::Spiffe) if config.spiffe.is_none() => {
                self.lacks(
                    &identity("type"),
                    std::slice::from_ref(&spiffe),
                    "a JWT-SVID needs the block `spiffe`",
                );
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
        check_routes(&exchange.routes.rules, self.root, &path, self.mistakes);
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
            self.lacks(
                &[PathStep::Key("mtls")],
                &[vec![PathStep::Key("spiffe")]],
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

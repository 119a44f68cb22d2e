//! The table of routes: one decision for each host, made from its name in one form.

use crate::config::{Action, DefaultPolicy, NoTokenPolicy, Route, RouteTls, TokenExchange};
use crate::glob::Glob;
use crate::peers::PeerPolicy;
use std::sync::Arc;

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenAction {
    /// It goes on as it is.
    Keep {
        /// True if no route said so.
        by_default: bool,
    },
    /// It is refused.
    Deny,
    /// It gets another token.
    Exchange(Arc<Wanted>, NoTokenPolicy),
    /// It gets a token of the agent itself.
    Own(Arc<Wanted>),
}

/// Which token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its audience.
    pub(super) audience: Option<String>,
    /// Its scopes: each once, in order.
    pub(super) scopes: Vec<String>,
    /// Another token endpoint than usual.
    pub(super) token_url: Option<String>,
    /// The resource (RFC 8707).
    pub(super) resource: Option<String>,
}

/// The decision for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteDecision {
    /// Which token.
    pub(super) token: TokenAction,
    /// How the server is reached, if a route says so.
    pub(super) tls: Option<RouteTls>,
    /// Who the server must be, if a route says so.
    pub(super) server: Option<Arc<PeerPolicy>>,
}

/// Routes in order, and what happens without one.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: Vec<(Glob, RouteDecision)>,
    skip: Vec<Glob>,
    default: DefaultPolicy,
    audience_from_host: bool,
    no_token: NoTokenPolicy,
}

/// A host in the one form in which it is compared: lower case, without a dot at its end, without a port.
pub(super) fn normalize_host(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

impl Table {
    /// A table of these routes; without the plugin everything is kept.
    pub(super) fn new(
        plugin: Option<&TokenExchange>,
        from_file: &[Route],
        skip_hosts: &[String],
    ) -> Result<Self, String> {
        let glob = |pattern: &str| {
            Glob::parse(&pattern.to_ascii_lowercase(), b'.')
                .map_err(|problem| format!("a pattern of hosts {problem}"))
        };
        let mut table = Self::default();
        for pattern in skip_hosts {
            table.skip.push(glob(pattern)?);
        }
        let Some(plugin) = plugin else { return Ok(table) };
        table.default = plugin.default_policy;
        table.audience_from_host = plugin.audience_from_host;
        table.no_token = plugin.no_token_policy;
        for route in from_file.iter().chain(&plugin.routes.rules) {
            table.routes.push((glob(&route.host)?, decision(route, plugin)?));
        }
        Ok(table)
    }

    /// The endpoints besides the usual one.
    pub(super) fn token_urls(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|(_, decision)| match &decision.token {
            TokenAction::Exchange(wanted, _) | TokenAction::Own(wanted) => wanted.token_url.as_deref(),
            TokenAction::Keep { .. } | TokenAction::Deny => None,
        })
    }

    /// The decision for a normalized host.
    pub(super) fn decide(&self, host: &str) -> RouteDecision {
        let keep =
            |by_default| RouteDecision { token: TokenAction::Keep { by_default }, tls: None, server: None };
        if self.skip.iter().any(|glob| glob.matches(host)) {
            return keep(false);
        }
        if let Some((_, decision)) = self.routes.iter().find(|(glob, _)| glob.matches(host)) {
            return self.with_audience(decision.clone(), host);
        }
        match self.default {
            DefaultPolicy::Passthrough => keep(true),
            DefaultPolicy::Deny => RouteDecision { token: TokenAction::Deny, ..keep(true) },
            DefaultPolicy::Exchange => {
                let token = TokenAction::Exchange(Arc::default(), self.no_token);
                self.with_audience(RouteDecision { token, ..keep(true) }, host)
            }
        }
    }

    fn with_audience(&self, mut decision: RouteDecision, host: &str) -> RouteDecision {
        if let TokenAction::Exchange(wanted, _) | TokenAction::Own(wanted) = &mut decision.token
            && self.audience_from_host
            && wanted.audience.is_none()
        {
            let first = host.split('.').next().unwrap_or_default().to_owned();
            *wanted = Arc::new(Wanted { audience: Some(first), ..wanted.as_ref().clone() });
        }
        decision
    }
}

fn decision(route: &Route, plugin: &TokenExchange) -> Result<RouteDecision, String> {
    let mut scopes: Vec<String> =
        route.token_scopes.as_deref().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let wanted = Arc::new(Wanted {
        audience: route.target_audience.clone(),
        scopes,
        token_url: route.token_url.clone(),
        resource: route.resource.clone(),
    });
    let token = match (route.action, route.passthrough) {
        (Some(Action::Passthrough), _) | (None, Some(true)) => TokenAction::Keep { by_default: false },
        (Some(Action::Deny), _) => TokenAction::Deny,
        (Some(Action::ClientCredentials), _) => TokenAction::Own(wanted),
        (Some(Action::Exchange) | None, _) => TokenAction::Exchange(wanted, plugin.no_token_policy),
    };
    let server = route.server_spiffe_id.as_ref().map(|rule| PeerPolicy::parse(std::slice::from_ref(rule)));
    let server = server.transpose()?.map(Arc::new);
    let tls = route.tls.or_else(|| server.is_some().then_some(RouteTls::Mtls));
    Ok(RouteDecision { token, tls, server })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str) -> Route {
        Route {
            host: host.to_owned(),
            target_audience: Some("aud".to_owned()),
            token_scopes: None,
            token_url: None,
            action: None,
            passthrough: None,
            resource: None,
            tls: None,
            server_spiffe_id: None,
        }
    }

    fn table(routes: &[Route]) -> Table {
        Table::new(Some(&TokenExchange::default()), routes, &["*.skip.example".to_owned()]).unwrap()
    }

    #[test]
    fn the_first_route_that_matches_decides_whatever_the_case() {
        let deny = Route { action: Some(Action::Deny), ..route("tool.team1") };
        let table = table(&[deny, route("*.team1")]);
        assert_eq!(table.decide(&normalize_host("TOOL.Team1.")).token, TokenAction::Deny);
        assert!(matches!(table.decide("other.team1").token, TokenAction::Exchange(..)));
        assert_eq!(table.decide("other.team2").token, TokenAction::Keep { by_default: true });
        assert_eq!(table.decide("a.skip.example").token, TokenAction::Keep { by_default: false });
    }

    #[test]
    fn passthrough_is_understood_in_both_forms() {
        let old = Route { passthrough: Some(true), ..route("a") };
        let new = Route { action: Some(Action::Passthrough), ..route("b") };
        let table = table(&[old, new]);
        for host in ["a", "b"] {
            assert_eq!(table.decide(host).token, TokenAction::Keep { by_default: false }, "{host}");
        }
    }

    #[test]
    fn scopes_are_a_set() {
        let one = Route { token_scopes: Some("b a b".to_owned()), ..route("a") };
        let TokenAction::Exchange(wanted, _) = table(&[one]).decide("a").token else { panic!() };
        assert_eq!(wanted.scopes, ["a", "b"]);
    }

    #[test]
    fn an_audience_comes_from_the_host_only_where_that_is_asked_for() {
        let plugin = TokenExchange {
            audience_from_host: true,
            default_policy: DefaultPolicy::Exchange,
            ..TokenExchange::default()
        };
        let table = Table::new(Some(&plugin), &[], &[]).unwrap();
        let TokenAction::Exchange(wanted, _) = table.decide("tool.team1.svc").token else { panic!() };
        assert_eq!(wanted.audience.as_deref(), Some("tool"));
    }
}

//! Table of routes: one decision for each host, found by its normalized name.

use crate::config::{Action, DefaultPolicy, NoTokenPolicy, Route, RouteTls, TokenExchange};
use crate::glob::Glob;
use crate::peers::PeerPolicy;
use std::sync::Arc;

/// Action of a route on the token of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenAction {
    /// The request keeps its own token, if it has one.
    Keep {
        /// True if no route matched: the request then counts as `passthrough` by default, and not by a route.
        by_default: bool,
    },
    /// The request is refused.
    Deny,
    /// The token is exchanged (RFC 8693); the policy is for requests without one.
    Exchange(Arc<Wanted>, NoTokenPolicy),
    /// The request gets a token of the agent itself, whatever it carries (RFC 6749 §4.4).
    Own(Arc<Wanted>),
}

/// Parameters of the token to request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `audience` (RFC 8693 §2.1).
    pub(super) audience: Option<String>,
    /// `scope`, sorted and without duplicates, so that equal sets share a cache entry.
    pub(super) scopes: Vec<String>,
    /// Token endpoint of this route; `None` is the plugin's.
    pub(super) token_url: Option<String>,
    /// `resource` (RFC 8707).
    pub(super) resource: Option<String>,
}

/// Decision of the table for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteDecision {
    /// Action on the token of a request to the host.
    pub(super) token: TokenAction,
    /// Transport to the server: plain, mTLS or TLS. `None` leaves the choice to `mtls.mode`.
    pub(super) tls: Option<RouteTls>,
    /// Policy for the server's SPIFFE ID, if the route has one.
    pub(super) server: Option<Arc<PeerPolicy>>,
}

/// Routes in order, with the default for hosts that none matches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    routes: Vec<(Glob, RouteDecision)>,
    skip: Vec<Glob>,
    default: DefaultPolicy,
    audience_from_host: bool,
    no_token: NoTokenPolicy,
}

/// Normalizes a host for comparison: lower case and without the dot of a fully qualified name. Otherwise `TOOL.team1.`
/// would reach the same server past the route for `tool.team1`.
pub(super) fn normalize_host(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

impl Table {
    /// A table of these routes: the file's first, then the plugin's. Without the plugin every token is kept.
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

    /// Token endpoints that routes name.
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

//! Table of routes: one decision for each host, found by its name or by the address that a connection goes to.

use crate::config::{Action, DefaultPolicy, NoTokenPolicy, Route, RouteTls, TokenExchange};
use crate::glob::{Glob, expand};
use crate::host::{Host, is_of_addresses, normalize_pattern};
use crate::peers::PeerPolicy;
use std::net::IpAddr;
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

impl RouteDecision {
    const fn keep(by_default: bool) -> Self {
        Self { token: TokenAction::Keep { by_default }, tls: None, server: None }
    }
}

impl TableRoute {
    fn is_for(&self, host: &Host) -> bool {
        self.hosts.matches(host.text())
    }

    fn is_for_address(&self, address: &Host) -> bool {
        self.addresses.iter().any(|glob| glob.matches(address.text()))
    }
}

/// Routes in order, with the default for hosts that none matches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    routes: Vec<TableRoute>,
    skip: Vec<Glob>,
    default: DefaultPolicy,
    audience_from_host: bool,
    no_token: NoTokenPolicy,
}

/// One route.
#[derive(Debug, PartialEq, Eq)]
struct TableRoute {
    hosts: Glob,
    /// Patterns of addresses among them, with which the addresses of names are compared, too.
    addresses: Vec<Glob>,
    decision: RouteDecision,
}

/// What the name in a redirected request decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The request may go to that address whatever it is called.
    Irrelevant,
    /// The route is one for the address, and the name counts for nothing.
    OfAddress,
    /// The address alone would not be allowed: the agent chose both, so the name must be proven.
    Decides,
}

impl Table {
    /// A table of these routes: the file's first, then the plugin's. Without the plugin every token is kept.
    pub(super) fn new(
        plugin: Option<&TokenExchange>,
        from_file: &[Route],
        skip_hosts: &[String],
    ) -> Result<Self, String> {
        let mut table = Self::default();
        for pattern in skip_hosts {
            table.skip.push(glob(&normalize_pattern(pattern))?);
        }
        let Some(plugin) = plugin else { return Ok(table) };
        table.default = plugin.default_policy;
        table.audience_from_host = plugin.audience_from_host;
        table.no_token = plugin.no_token_policy;
        for route in from_file.iter().chain(&plugin.routes.rules) {
            let pattern = normalize_pattern(&route.host);
            table.routes.push(TableRoute {
                hosts: glob(&pattern)?,
                addresses: addresses(&pattern)?,
                decision: decision(route, plugin)?,
            });
        }
        Ok(table)
    }

    /// Token endpoints that routes name.
    pub(super) fn token_urls(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| match &route.decision.token {
            TokenAction::Exchange(wanted, _) | TokenAction::Own(wanted) => wanted.token_url.as_deref(),
            TokenAction::Keep { .. } | TokenAction::Deny => None,
        })
    }

    /// The decision for a request at the forward proxy, which connects to what it resolves `host` to.
    pub(super) fn decide_proxied(&self, host: &Host) -> RouteDecision {
        if self.skips(host) { RouteDecision::keep(false) } else { self.decide(host) }
    }

    /// The decision for a redirected connection to `address` whose bytes name `host`. No host is skipped: the name is
    /// only a claim. A route for the address counts as one for the name does, and the first of them decides.
    pub(super) fn decide_redirected(&self, host: &Host, address: IpAddr) -> (RouteDecision, Claim) {
        let going = Host::of(address);
        let found = self.routes.iter().find(|route| route.is_for(host) || route.is_for_address(&going));
        let claim = match found {
            Some(route) if route.is_for_address(&going) => Claim::OfAddress,
            Some(_) if !matches!(self.decide(&going).token, TokenAction::Keep { .. }) => Claim::Decides,
            _ => Claim::Irrelevant,
        };
        (self.decision(found, host), claim)
    }

    /// True if a connection to `host` must not go to `address`, one of the addresses of that name: a route for addresses
    /// denies it, and stands before any for the name.
    pub(super) fn denies_address(&self, host: &Host, address: IpAddr) -> bool {
        let going = Host::of(address);
        if self.skips(host) || *host == going {
            return false;
        }
        let found = self.routes.iter().find(|route| route.is_for(host) || route.is_for_address(&going));
        found.is_some_and(|route| !route.is_for(host) && route.decision.token == TokenAction::Deny)
    }

    /// The decision for a host, none of which is skipped.
    pub(super) fn decide(&self, host: &Host) -> RouteDecision {
        self.decision(self.routes.iter().find(|route| route.is_for(host)), host)
    }

    fn skips(&self, host: &Host) -> bool {
        self.skip.iter().any(|glob| glob.matches(host.text()))
    }

    /// The decision of a route, or the default.
    fn decision(&self, route: Option<&TableRoute>, host: &Host) -> RouteDecision {
        if let Some(route) = route {
            return self.with_audience(route.decision.clone(), host);
        }
        match self.default {
            DefaultPolicy::Passthrough => RouteDecision::keep(true),
            DefaultPolicy::Deny => RouteDecision { token: TokenAction::Deny, ..RouteDecision::keep(true) },
            DefaultPolicy::Exchange => {
                let token = TokenAction::Exchange(Arc::default(), self.no_token);
                self.with_audience(RouteDecision { token, ..RouteDecision::keep(true) }, host)
            }
        }
    }

    fn with_audience(&self, mut decision: RouteDecision, host: &Host) -> RouteDecision {
        if let TokenAction::Exchange(wanted, _) | TokenAction::Own(wanted) = &mut decision.token
            && self.audience_from_host
            && wanted.audience.is_none()
        {
            let first = host.text().split('.').next().unwrap_or_default().to_owned();
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

fn glob(pattern: &str) -> Result<Glob, String> {
    Glob::parse(pattern, b'.').map_err(|problem| format!("a pattern of hosts {problem}"))
}

/// Patterns of addresses that a pattern stands for: all of it, or those of its alternatives in braces.
fn addresses(pattern: &str) -> Result<Vec<Glob>, String> {
    if is_of_addresses(pattern) {
        return Ok(vec![glob(pattern)?]);
    }
    let alternatives = expand(pattern).map_err(|problem| format!("a pattern of hosts {problem}"))?;
    alternatives.iter().filter(|one| is_of_addresses(one)).map(|one| glob(one)).collect()
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

    const KEPT: TokenAction = TokenAction::Keep { by_default: false };
    const KEPT_BY_DEFAULT: TokenAction = TokenAction::Keep { by_default: true };

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn denied(host: &str) -> Route {
        Route { action: Some(Action::Deny), ..route(host) }
    }

    fn passed(host: &str) -> Route {
        Route { action: Some(Action::Passthrough), ..route(host) }
    }

    fn table_by(default_policy: DefaultPolicy, routes: &[Route]) -> Table {
        let plugin = TokenExchange { default_policy, ..TokenExchange::default() };
        Table::new(Some(&plugin), routes, &["skipped".to_owned()]).unwrap()
    }

    #[test]
    fn a_denied_address_is_denied_in_every_spelling_of_request_and_route() {
        for pattern in ["169.254.169.254", "0xA9FEA9FE", "::ffff:a9fe:a9fe", "169.254.*.*", "169.254.**"] {
            let table = table(&[denied(pattern)]);
            for spelling in
                ["169.254.169.254.", "2852039166", "[::ffff:169.254.169.254]", "0251.0376.0251.0376"]
            {
                assert_eq!(
                    table.decide_proxied(&host(spelling)).token,
                    TokenAction::Deny,
                    "{pattern} {spelling}"
                );
            }
        }
    }

    #[test]
    fn a_redirected_connection_is_judged_by_where_it_goes_and_a_name_that_decides_is_to_be_proven() {
        use Claim::{Decides, Irrelevant, OfAddress};
        use DefaultPolicy::{Deny, Passthrough};
        let inside = [10, 0, 0, 1];
        for (default, routes, name, token, claim) in [
            (Passthrough, vec![], "any", KEPT_BY_DEFAULT, Irrelevant),
            (Passthrough, vec![denied("10.0.0.1")], "any", TokenAction::Deny, OfAddress),
            (Passthrough, vec![denied("10.**")], "skipped", TokenAction::Deny, OfAddress),
            (Passthrough, vec![denied("bad")], "bad", TokenAction::Deny, Irrelevant),
            (Passthrough, vec![passed("good"), denied("10.**")], "good", KEPT, Decides),
            (Passthrough, vec![denied("10.**"), passed("good")], "good", TokenAction::Deny, OfAddress),
            (Passthrough, vec![passed("good"), denied("**")], "good", KEPT, Decides),
            (Deny, vec![passed("good")], "good", KEPT, Decides),
            (Deny, vec![passed("good")], "skipped", TokenAction::Deny, Irrelevant),
            (Deny, vec![passed("10.0.0.1")], "any", KEPT, OfAddress),
            (Deny, vec![passed("good"), passed("10.0.0.1")], "good", KEPT, Irrelevant),
            (Deny, vec![passed("10.0.0.1")], "10.0.0.1", KEPT, OfAddress),
            (Deny, vec![passed("10.9.9.9")], "10.9.9.9", KEPT, Decides),
            // A route for names of one label is none for IPv6 addresses, which have no dot either.
            (Deny, vec![passed("*")], "a.b", TokenAction::Deny, Irrelevant),
        ] {
            let (decision, claimed) =
                table_by(default, &routes).decide_redirected(&host(name), inside.into());
            assert_eq!((decision.token, claimed), (token, claim), "{default:?} {name} {routes:?}");
        }
    }

    #[test]
    fn an_address_of_a_name_is_denied_by_a_route_before_that_of_the_name() {
        for (routes, name, is_denied) in [
            (vec![denied("10.**")], "any", true),
            (vec![denied("10.**")], "skipped", false),
            (vec![passed("good"), denied("10.**")], "good", false),
            (vec![denied("10.**"), passed("good")], "good", true),
            (vec![passed("10.0.0.1"), denied("10.**")], "any", false),
            (vec![denied("**")], "any", false),
            (vec![denied("{evil,10.0.0.1}")], "any", true),
            (vec![denied("{*,10.9.9.9}x"), denied("{evil,10.1.**}")], "any", false),
        ] {
            let table = table_by(DefaultPolicy::Passthrough, &routes);
            assert_eq!(
                table.denies_address(&host(name), [10, 0, 0, 1].into()),
                is_denied,
                "{name} {routes:?}"
            );
        }
    }

    fn table(routes: &[Route]) -> Table {
        Table::new(Some(&TokenExchange::default()), routes, &["*.skip.example".to_owned()]).unwrap()
    }

    #[test]
    fn the_first_route_that_matches_decides_whatever_the_case() {
        let deny = Route { action: Some(Action::Deny), ..route("tool.team1") };
        let table = table(&[deny, route("*.team1")]);
        assert_eq!(table.decide(&host("TOOL.Team1.")).token, TokenAction::Deny);
        assert!(matches!(table.decide(&host("other.team1")).token, TokenAction::Exchange(..)));
        assert_eq!(table.decide(&host("other.team2")).token, KEPT_BY_DEFAULT);
        assert_eq!(table.decide_proxied(&host("a.skip.example")).token, KEPT);
    }

    #[test]
    fn passthrough_is_understood_in_both_forms() {
        let old = Route { passthrough: Some(true), ..route("a") };
        let new = Route { action: Some(Action::Passthrough), ..route("b") };
        let table = table(&[old, new]);
        for host in ["a", "b"] {
            assert_eq!(table.decide(&self::host(host)).token, KEPT, "{host}");
        }
    }

    #[test]
    fn scopes_are_a_set() {
        let one = Route { token_scopes: Some("b a b".to_owned()), ..route("a") };
        let TokenAction::Exchange(wanted, _) = table(&[one]).decide(&host("a")).token else { panic!() };
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
        let TokenAction::Exchange(wanted, _) = table.decide(&host("tool.team1.svc")).token else { panic!() };
        assert_eq!(wanted.audience.as_deref(), Some("tool"));
    }
}

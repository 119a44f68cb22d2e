//! What an open tunnel of the agent depends on: the routes, and the identity of its server. Both may change while it is
//! open, and it ends when it would no longer be opened.

use super::connect::{Reached, Target, expected_server};
use super::routes::{Claim, RouteDecision, Table, TokenAction};
use crate::config::RouteTls;
use crate::host::Host;
use crate::identity::VerifiedPeer;
use crate::quiet::Quiet;
use crate::runtime_config::{ActiveConfig, RuntimeConfig};
use crate::serve::Standing;
use countersign_io::clock::now;
use std::net::SocketAddr;
use std::sync::Arc;

/// What passes through a tunnel of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    /// Messages of a WebSocket whose handshake was forwarded over this transport.
    WebSocket(RouteTls),
    /// Bytes that nobody reads, after a `CONNECT` or the first message of TLS.
    Unread,
    /// The same of a protocol that goes out unencrypted.
    Unencrypted,
}

/// Original destination of a redirected connection, and the name in its bytes, which is only a claim.
#[derive(Clone, Debug)]
pub(super) struct Redirected {
    destination: SocketAddr,
    /// Kept also where a route for the address decided: other routes may ask for the name.
    claimed: Host,
    /// What the name decided when the tunnel was opened. Where it did, it is true.
    claim: Claim,
}

impl Redirected {
    /// The connection to `destination` whose bytes name `claimed`.
    pub(super) const fn new(destination: SocketAddr, claimed: Host, claim: Claim) -> Self {
        Self { destination, claimed, claim }
    }

    /// The connection to `destination` whose bytes name nobody.
    pub(super) fn unnamed(destination: SocketAddr) -> Self {
        Self::new(destination, Host::of(destination.ip()), Claim::Irrelevant)
    }
}

/// Conditions of one tunnel.
pub(super) struct Lease {
    /// The configuration in force.
    pub(super) active: ActiveConfig,
    /// Where its end is told: a change may end thousands.
    pub(super) quiet: Arc<Quiet>,
    /// The server that the tunnel was opened to.
    pub(super) target: Target,
    /// Where the connection was going, if the kernel redirected it.
    pub(super) redirected: Option<Redirected>,
    /// What passes.
    pub(super) passes: Passes,
}

impl Lease {
    /// The question whether a tunnel to `reached` may stay.
    pub(super) fn standing(self, reached: Reached) -> Standing {
        Box::new(move || {
            let runtime = self.active.current();
            let stands = self.stands(&runtime, &reached);
            if !stands {
                let named = self.redirected.as_ref().map_or(&self.target.host, |known| &known.claimed);
                let host = named.text();
                let why = format!("the route or the server of {host} is no longer allowed");
                self.quiet.log("a tunnel is ended", &why);
            }
            stands
        })
    }

    fn stands(&self, runtime: &RuntimeConfig, reached: &Reached) -> bool {
        let (rules, routing) = (&runtime.outbound, runtime.outbound.routing());
        let again = decide_again(&routing.table, &self.target, self.redirected.as_ref());
        let Some((decision, host)) = again else { return false };
        let by_name = self.target.address.is_none();
        if by_name && routing.table.denies_address(&self.target.host, reached.address.ip()) {
            return false;
        }
        let is_expected = || {
            let server = reached.server.as_deref();
            server.is_some_and(|server| is_expected(runtime, &decision, &host, server))
        };
        may_stay(self.passes, &decision.token, rules.tls(&decision), is_expected)
    }
}

/// The decision about an open tunnel to `target` and the host that it is about, as if it were opened now; `None` if it would
/// lead elsewhere.
fn decide_again(
    table: &Table,
    target: &Target,
    redirected: Option<&Redirected>,
) -> Option<(RouteDecision, Host)> {
    let Some(Redirected { destination, claimed, claim }) = redirected else {
        return Some((table.decide_proxied(&target.host), target.host.clone()));
    };
    let going = Host::of(destination.ip());
    let (decision, now) = table.decide_redirected(claimed, destination.ip());
    let (by_name, is_named) = (target.address.is_none(), *claimed != going);
    match now {
        // It was connected by its name because that had other addresses, and would go to its own address now.
        Claim::OfAddress if by_name => None,
        // The name was not compared with the address when it was opened, because it decided nothing then.
        Claim::Decides if !by_name && is_named && *claim != Claim::Decides => None,
        Claim::OfAddress => Some((decision, going)),
        Claim::Decides | Claim::Irrelevant => Some((decision, claimed.clone())),
    }
}

/// True if a tunnel would still be opened under these rules; `is_expected` tells whether its server proved a SPIFFE ID that
/// is still trusted and expected there. Another token alone ends no WebSocket: the one it was opened with has its own end.
fn may_stay(passes: Passes, token: &TokenAction, tls: RouteTls, is_expected: impl FnOnce() -> bool) -> bool {
    match (passes, token) {
        (_, TokenAction::Deny) => false,
        (Passes::Unread, token) => matches!(token, TokenAction::Keep { .. }),
        (Passes::Unencrypted, token) => matches!(token, TokenAction::Keep { .. }) && tls == RouteTls::Plain,
        (Passes::WebSocket(opened), _) => match (tls, opened) {
            (RouteTls::Mtls, RouteTls::Mtls) => is_expected(),
            (RouteTls::Plain, _) | (RouteTls::System, RouteTls::System) => true,
            (RouteTls::Mtls | RouteTls::System, _) => false,
        },
    }
}

/// True if the chain of a server is valid under the bundles of now, and its ID is one that the route expects. As for
/// callers, an expired chain is verified as of its last second: SVIDs live for minutes.
fn is_expected(
    runtime: &RuntimeConfig,
    decision: &RouteDecision,
    host: &Host,
    server: &VerifiedPeer,
) -> bool {
    let Some(current) = runtime.identity.current() else { return false };
    let verified = current.verify_again(server, now().min(server.valid_until));
    verified.is_ok() && expected_server(decision.server.as_ref(), &current, host).admits(&server.id)
}

#[cfg(test)]
mod tests {
    use super::super::handler::decide_redirected;
    use super::*;
    use crate::config::{Action, DefaultPolicy, NoTokenPolicy, Route, TokenExchange};

    fn table((default_policy, routes): (DefaultPolicy, &[(&str, Action)])) -> Table {
        let plugin = TokenExchange { default_policy, ..TokenExchange::default() };
        let routes: Vec<_> = routes.iter().map(|(host, action)| route(host, *action)).collect();
        Table::new(Some(&plugin), &routes, &["skipped".to_owned()]).unwrap()
    }

    fn route(host: &str, action: Action) -> Route {
        let text = format!("{{host: {host:?}}}");
        Route { action: Some(action), ..serde_saphyr::from_str(&text).unwrap() }
    }

    #[test]
    fn a_redirected_tunnel_is_judged_by_where_it_was_going() {
        use Action::{Deny, Passthrough as Pass};
        let (none, deny) = (DefaultPolicy::Passthrough, DefaultPolicy::Deny);
        let by_name = (deny, [("good", Pass)].as_slice());
        let open = (none, [].as_slice());
        for (opened, at_address, now, stays) in [
            // Connected by its name, which had other addresses.
            (by_name, false, by_name, true),
            (by_name, false, (deny, [("good", Deny)].as_slice()), false),
            (by_name, false, (deny, [("10.**", Deny), ("good", Pass)].as_slice()), false),
            (by_name, false, (deny, [("10.**", Pass), ("good", Pass)].as_slice()), false),
            (by_name, false, (deny, [("good", Pass), ("10.**", Deny)].as_slice()), true),
            (by_name, false, open, true),
            // Connected to its address, by a name that decided and was compared, or by one that did not matter.
            (by_name, true, by_name, true),
            (by_name, true, (deny, [("10.**", Pass)].as_slice()), true),
            (by_name, true, (deny, [("10.**", Deny), ("good", Pass)].as_slice()), false),
            (open, true, open, true),
            (open, true, by_name, false),
            (open, true, (none, [("good", Deny)].as_slice()), false),
            (open, true, (none, [("good", Pass)].as_slice()), true),
            (open, true, (none, [("10.**", Deny)].as_slice()), false),
        ] {
            let destination = SocketAddr::from(([10, 0, 0, 1], 443));
            let host = Host::parse("good").unwrap();
            let (_, claim) = table(opened).decide_redirected(&host, destination.ip());
            let redirected = Redirected::new(destination, host.clone(), claim);
            let target = Target { host, port: 443, address: at_address.then_some(destination) };
            let decision = decide_again(&table(now), &target, Some(&redirected));
            let found = decision.is_some_and(|(decision, _)| decision.token != TokenAction::Deny);
            assert_eq!(found, stays, "{opened:?} {at_address} {now:?}");
        }
        // Called by its address, which no token changes.
        let destination = SocketAddr::from(([10, 0, 0, 1], 443));
        let target = Target { host: Host::of(destination.ip()), port: 443, address: Some(destination) };
        let redirected = Redirected::unnamed(destination);
        assert!(
            decide_again(&table((none, &[("**", Action::Exchange)])), &target, Some(&redirected)).is_some()
        );
        let target = Target { host: Host::parse("skipped").unwrap(), port: 443, address: None };
        let denied = table((deny, &[]));
        assert!(
            decide_again(&denied, &target, None).is_some_and(|(found, _)| found.token != TokenAction::Deny)
        );
    }

    #[tokio::test]
    async fn a_name_is_asked_for_again_also_where_a_route_for_the_address_decided() {
        use Action::{Deny, Exchange, Passthrough as Pass};
        let (none, deny) = (DefaultPolicy::Passthrough, DefaultPolicy::Deny);
        let destination = SocketAddr::from(([10, 0, 0, 1], 443));
        for (now, expected) in [
            ((none, [("10.**", Pass)].as_slice()), Some("10.0.0.1")),
            ((none, [("good", Deny), ("10.**", Pass)].as_slice()), None),
            ((none, [("10.**", Pass), ("good", Deny)].as_slice()), Some("10.0.0.1")),
            ((none, [("10.**", Deny)].as_slice()), None),
            // It would keep its token now by its name, which nobody has compared with the address.
            ((deny, [("good", Pass)].as_slice()), None),
            ((none, [("good", Pass)].as_slice()), Some("good")),
            ((none, [("other", Deny)].as_slice()), Some("good")),
            ((none, [("**", Exchange)].as_slice()), None),
        ] {
            let opened = table((none, &[("10.**", Pass)]));
            let host = Host::parse("good").unwrap();
            let mut target = Target { host, port: 80, address: Some(destination) };
            let (_, redirected) = decide_redirected(&opened, &mut target, destination).await;
            assert_eq!(
                (target.host.text(), target.port),
                ("10.0.0.1", 443),
                "a route for the address decided"
            );
            let again = decide_again(&table(now), &target, Some(&redirected));
            let stays = again
                .filter(|(decision, _)| may_stay(Passes::Unread, &decision.token, RouteTls::Plain, || false))
                .map(|(_, host)| host.text().to_owned());
            assert_eq!(stays.as_deref(), expected, "{now:?}");
        }
    }

    #[test]
    fn a_tunnel_stays_while_it_would_be_opened() {
        let keep = TokenAction::Keep { by_default: true };
        let exchange = TokenAction::Exchange(Arc::default(), NoTokenPolicy::Deny);
        let websocket = Passes::WebSocket;
        let (plain, system, mtls) = (RouteTls::Plain, RouteTls::System, RouteTls::Mtls);
        for (passes, token, tls, expected, stays) in [
            (Passes::Unread, &keep, plain, false, true),
            (Passes::Unread, &keep, mtls, false, true),
            (Passes::Unread, &exchange, plain, false, false),
            (Passes::Unread, &TokenAction::Deny, plain, false, false),
            (Passes::Unencrypted, &keep, plain, false, true),
            (Passes::Unencrypted, &keep, mtls, false, false),
            (Passes::Unencrypted, &exchange, plain, false, false),
            (websocket(plain), &keep, plain, false, true),
            (websocket(plain), &exchange, plain, false, true),
            (websocket(plain), &TokenAction::Deny, plain, false, false),
            (websocket(plain), &keep, mtls, false, false),
            (websocket(plain), &keep, system, false, false),
            (websocket(system), &keep, system, false, true),
            (websocket(system), &keep, mtls, false, false),
            (websocket(mtls), &exchange, mtls, true, true),
            (websocket(mtls), &exchange, mtls, false, false),
            (websocket(mtls), &TokenAction::Deny, mtls, true, false),
            (websocket(mtls), &keep, plain, false, true),
        ] {
            assert_eq!(may_stay(passes, token, tls, || expected), stays, "{passes:?} {token:?} {tls:?}");
        }
    }
}

//! What an open tunnel of the agent depends on: the routes, and the identity of its server. Both may change while it is
//! open, and it ends when it would no longer be opened.

use super::connect::{Reached, Target, expected_server};
use super::routes::{RouteDecision, Table, TokenAction};
use crate::config::RouteTls;
use crate::identity::VerifiedPeer;
use crate::runtime_config::{ActiveConfig, RuntimeConfig};
use crate::serve::Standing;
use countersign_io::clock::now;

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

/// Conditions of one tunnel.
pub(super) struct Lease {
    /// The configuration in force.
    pub(super) active: ActiveConfig,
    /// The server as the agent named it.
    pub(super) target: Target,
    /// True if the kernel redirected the connection, so that the name is only a claim.
    pub(super) is_redirected: bool,
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
                let host = self.target.host.text();
                tracing::info!(host, "a tunnel is ended: its route or its server is no longer allowed");
            }
            stands
        })
    }

    fn stands(&self, runtime: &RuntimeConfig, reached: &Reached) -> bool {
        let (rules, routing) = (&runtime.outbound, runtime.outbound.routing());
        let decision = self.decide(&routing.table);
        let by_name = self.target.address.is_none();
        if by_name && routing.table.denies_address(&self.target.host, reached.address.ip()) {
            return false;
        }
        let is_expected = || {
            let server = reached.server.as_deref();
            server.is_some_and(|server| is_expected(runtime, &decision, &self.target, server))
        };
        may_stay(self.passes, &decision.token, rules.tls(&decision), is_expected)
    }

    fn decide(&self, table: &Table) -> RouteDecision {
        match self.target.address {
            Some(address) => table.decide_redirected(&self.target.host, address.ip()).0,
            None if self.is_redirected => table.decide(&self.target.host),
            None => table.decide_proxied(&self.target.host),
        }
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
    target: &Target,
    server: &VerifiedPeer,
) -> bool {
    let Some(current) = runtime.identity.current() else { return false };
    let verified = current.verify(&server.chain, now().min(server.valid_until));
    verified
        .is_ok_and(|server| expected_server(decision.server.as_ref(), &current, target).admits(&server.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NoTokenPolicy;
    use std::sync::Arc;

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

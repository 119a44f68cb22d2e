//! Token for a request of the agent: its own is kept or exchanged, the agent's is added, or the request is refused.

use super::exchange::NAME;
use super::routes::{RouteDecision, TokenAction};
use super::rules::OutboundRules;
use crate::config::NoTokenPolicy;
use crate::denial::{Code, Denial};
use crate::jwt::unverified_expiry;
use crate::outcome::{Outcome, enforce_or_observe};
use crate::quiet::Quiet;
use crate::upgrade::WebSocket;
use countersign_core::time::{Seconds, Timestamp};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use std::sync::Arc;

/// Grant for one request of the agent.
pub(crate) struct Granted {
    /// Replaces every `Authorization` of the request; `None` leaves them.
    pub(crate) authorization: Option<HeaderValue>,
    /// What was done, for the event of the request.
    pub(crate) outcome: Outcome,
    /// First second in which the token of the request no longer counts, and with an exchanged one, the token that it was
    /// exchanged for; `None` if the request has none or its token does not say. Clock skew is not included.
    ends_at: Option<Timestamp>,
}

impl Granted {
    const fn nothing(outcome: Outcome) -> Self {
        Self { authorization: None, outcome, ends_at: None }
    }

    /// A request that keeps what it has. What a token says of its end is not verified: it only shortens a tunnel.
    fn kept(outcome: Outcome, headers: &HeaderMap, upgrade: Option<WebSocket>) -> Self {
        // Read for tunnels alone, since it costs a decoded token.
        let token = upgrade.and_then(|_| bearer(headers));
        Self { ends_at: token.and_then(unverified_expiry), ..Self::nothing(outcome) }
    }

    /// First second in which a tunnel that the request opens may no longer be open.
    pub(crate) fn until(&self, skew: Seconds) -> Option<Timestamp> {
        self.ends_at.map(|end| end.plus(skew))
    }
}

impl OutboundRules {
    /// Grants a request with these headers what the decision for its host says, or what an exchange that only observes
    /// does.
    pub(super) async fn grant_or_observe(
        &self,
        decision: &RouteDecision,
        headers: &HeaderMap,
        upgrade: Option<WebSocket>,
        quiet: &Quiet,
    ) -> Result<Granted, Denial> {
        let granted = self.grant(decision, headers, upgrade).await;
        enforce_or_observe(granted, self.observes, upgrade, Granted::nothing(Outcome::Observed), quiet)
    }

    async fn grant(
        &self,
        decision: &RouteDecision,
        headers: &HeaderMap,
        upgrade: Option<WebSocket>,
    ) -> Result<Granted, Denial> {
        let counts = &self.stats.outbound;
        let (wanted, subject) = match &decision.token {
            TokenAction::Keep { by_default: true } => {
                counts.no_matching_route.inc();
                return Ok(Granted::kept(Outcome::Unrouted, headers, upgrade));
            }
            TokenAction::Keep { by_default: false } => {
                counts.passthrough.inc();
                return Ok(Granted::kept(Outcome::PassedThrough, headers, upgrade));
            }
            TokenAction::Deny => return Err(self.denied_by_route()),
            TokenAction::Own(wanted) => (Arc::clone(wanted), None),
            TokenAction::Exchange(wanted, no_token) => match (bearer(headers), no_token) {
                (Some(token), _) => (Arc::clone(wanted), Some(token)),
                (None, NoTokenPolicy::Allow) => {
                    counts.no_token_policy.inc();
                    return Ok(Granted::nothing(Outcome::WithoutToken));
                }
                (None, NoTokenPolicy::ClientCredentials) => (Arc::clone(wanted), None),
                (None, NoTokenPolicy::Deny) => {
                    counts.no_token.inc();
                    let why = "this host needs a token, and the request has none";
                    return Err(Denial::new(Code::MissingToken, why).by(NAME));
                }
            },
        };
        let failed = |why: &str| Denial::new(Code::ExchangeFailed, why).by(NAME);
        let exchanger = self.exchanger.as_ref().ok_or_else(|| failed("no token endpoint is configured"))?;
        let issued = exchanger.token(subject, &wanted).await.inspect_err(|_| {
            match subject {
                Some(_) => counts.token_exchange_failed.inc(),
                None => counts.credentials_grant_failure.inc(),
            };
        })?;
        counts.replace_token.inc();
        let mut value = HeaderValue::try_from(["Bearer ", issued.token.expose()].concat())
            .map_err(|_| failed("the token is not usable"))?;
        value.set_sensitive(true);
        let ends = [issued.ends_at, upgrade.and(subject).and_then(unverified_expiry)];
        let ends_at = ends.into_iter().flatten().min();
        Ok(Granted { authorization: Some(value), outcome: Outcome::Replaced, ends_at })
    }

    /// Denial by a route with `action: deny`, or by the default policy; counted.
    pub(super) fn denied_by_route(&self) -> Denial {
        self.stats.outbound.denied_by_route.inc();
        Denial::new(Code::Forbidden, "a route denies this host").by(NAME)
    }
}

/// The bearer token of a request; `None` unless there is exactly one `Authorization`, because servers differ about which
/// of several they read.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && values.next().is_none()).then_some(token)
}

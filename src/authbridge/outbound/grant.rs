//! Token for a request of the agent: its own is kept or exchanged, the agent's is added, or the request is refused.

use super::exchange::NAME;
use super::routes::{RouteDecision, TokenAction};
use super::rules::OutboundRules;
use crate::config::NoTokenPolicy;
use crate::denial::{Code, Denial};
use crate::outcome::{Outcome, enforce_or_observe};
use crate::quiet::Quiet;
use crate::upgrade::WebSocket;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use std::sync::Arc;

/// Grant for one request of the agent.
pub(crate) struct Granted {
    /// Replaces every `Authorization` of the request; `None` leaves them.
    pub(crate) authorization: Option<HeaderValue>,
    /// What was done, for the event of the request.
    pub(crate) outcome: Outcome,
}

impl Granted {
    const fn nothing(outcome: Outcome) -> Self {
        Self { authorization: None, outcome }
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
        let granted = self.grant(decision, headers).await;
        enforce_or_observe(granted, self.observes, upgrade, Granted::nothing(Outcome::Observed), quiet)
    }

    async fn grant(&self, decision: &RouteDecision, headers: &HeaderMap) -> Result<Granted, Denial> {
        let counts = &self.stats.outbound;
        let (wanted, subject) = match &decision.token {
            TokenAction::Keep { by_default: true } => {
                counts.no_matching_route.inc();
                return Ok(Granted::nothing(Outcome::Unrouted));
            }
            TokenAction::Keep { by_default: false } => {
                counts.passthrough.inc();
                return Ok(Granted::nothing(Outcome::PassedThrough));
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
        let token = exchanger.token(subject, &wanted).await.inspect_err(|_| {
            match subject {
                Some(_) => counts.token_exchange_failed.inc(),
                None => counts.credentials_grant_failure.inc(),
            };
        })?;
        counts.replace_token.inc();
        let mut value = HeaderValue::try_from(["Bearer ", token.expose()].concat())
            .map_err(|_| failed("the token is not usable"))?;
        value.set_sensitive(true);
        Ok(Granted { authorization: Some(value), outcome: Outcome::Replaced })
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

//! Admission of requests to the agent, the same for the reverse proxy and Envoy: form, gate, counters and events.
//! A request is forwarded exactly as it was evaluated here, so that nothing can change between check and use.

use crate::auth::{Admitted, GATE};
use crate::denial::{Code, Denial};
use crate::events::{Direction, Parser, Watch};
use crate::forward;
use crate::identity::VerifiedPeer;
use crate::outcome::{Outcome, enforce_or_observe};
use crate::quiet::Quiet;
use crate::runtime_config::RuntimeConfig;
use crate::stats::Stats;
use crate::upgrade::WebSocket;
use hyper::{Method, Request};

/// Decision about one request; `Ok(None)` passes because there is no gate.
pub(crate) type AdmissionDecision = Result<Option<Admitted>, Denial>;

/// Decides whether a request from `peer` may pass. A WebSocket needs an accepted token even where a bypass path or
/// `on_error: observe` would let a request pass: its messages pass without any further check.
pub(crate) async fn admit<B: Sync>(
    runtime: &RuntimeConfig,
    request: &Request<B>,
    peer: Option<&VerifiedPeer>,
    quiet: &Quiet,
) -> AdmissionDecision {
    forward::refuse_ambiguity(request)?;
    if request.method() == Method::CONNECT {
        return Err(Denial::new(Code::BadRequest, "CONNECT is for proxies"));
    }
    let upgrade = WebSocket::requested(request);
    let decision = match &runtime.inbound.gate {
        None => None,
        Some(gate) => {
            let decided = gate.authorize(request.uri().path(), request.headers(), peer).await;
            let observes = runtime.inbound.observes;
            Some(enforce_or_observe(decided, observes, upgrade, Admitted::Observed, quiet)?)
        }
    };
    match decision {
        None | Some(Admitted::Bypass | Admitted::Observed) if upgrade.is_some() => {
            let why = "a WebSocket is joined only after a token was accepted, and none is asked for here";
            Err(Denial::new(Code::Forbidden, why))
        }
        decision => Ok(decision),
    }
}

/// Counts a decision under the names of the existing AuthBridge.
pub(crate) fn count(stats: &Stats, decision: &AdmissionDecision) {
    let inbound = &stats.inbound;
    match decision {
        Ok(None | Some(Admitted::Observed)) => &inbound.unauthenticated,
        Ok(Some(Admitted::Bypass)) => &inbound.passthrough,
        Ok(Some(Admitted::Token(..))) => &inbound.authorized,
        Err(denial) => match (denial.code, denial.reason) {
            (Code::MissingToken, _) => &inbound.no_header,
            (Code::InvalidToken, None) | (Code::BadRequest, _) => &inbound.malformed_header,
            (Code::CannotVerify, _) => &inbound.validator_missing,
            _ => &inbound.jwt_failed,
        },
    }
    .inc();
}

/// Begins the event of a request; `None` if sessions are not kept.
pub(crate) fn watch<B>(
    runtime: &RuntimeConfig,
    request: &Request<B>,
    peer: Option<&VerifiedPeer>,
    parsers: &[Parser],
    decision: &AdmissionDecision,
) -> Option<Watch> {
    let store = runtime.sessions.as_ref()?;
    let mut watch = Watch::new(store, Direction::Inbound, request, parsers);
    if let Some(peer) = peer {
        watch.peer(peer);
    }
    match decision {
        Ok(Some(Admitted::Token(token, digest))) => {
            watch.user(token, Some(*digest));
            watch.invocation(GATE, Outcome::Authorized);
        }
        Ok(Some(Admitted::Bypass)) => watch.invocation(GATE, Outcome::Bypassed),
        Ok(Some(Admitted::Observed)) => watch.invocation(GATE, Outcome::Observed),
        Ok(None) | Err(_) => {}
    }
    Some(watch)
}

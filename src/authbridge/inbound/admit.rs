//! The judgement of a request to the agent, for every way in: its form, the gate, and what is counted and told of it.
//! What passes here is passed on as it was judged.

use crate::auth::{Admitted, GATE};
use crate::denial::{Code, Denial};
use crate::events::{Direction, Parser, Watch};
use crate::forward;
use crate::identity::VerifiedPeer;
use crate::quiet::Quiet;
use crate::runtime_config::RuntimeConfig;
use crate::stats::Stats;
use crate::upgrade::WebSocket;
use hyper::{Method, Request};

/// What was found; `Ok(None)` passes without having been authenticated.
pub(crate) type AdmissionDecision = Result<Option<Admitted>, Denial>;

/// Judges a request from `peer`. What is said on a WebSocket is judged by nobody, so that one needs an accepted token,
/// whatever a path or a mode would forgive.
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
    let tunnel = WebSocket::requested(request).is_some();
    let decision = match &runtime.inbound.gate {
        None => None,
        Some(gate) => match gate.authorize(request.uri().path(), request.headers(), peer).await {
            Ok(admitted) => Some(admitted),
            Err(denial) if runtime.inbound.observes && !tunnel => {
                quiet.log("a request would have been denied", &denial.message);
                None
            }
            Err(denial) => return Err(denial),
        },
    };
    match decision {
        None | Some(Admitted::Bypass) if tunnel => {
            let why = "a WebSocket is joined only after a token was accepted, and none is asked for here";
            Err(Denial::new(Code::Forbidden, why))
        }
        decision => Ok(decision),
    }
}

/// Counts a judgement.
pub(crate) fn count(stats: &Stats, decision: &AdmissionDecision) {
    let inbound = &stats.inbound;
    match decision {
        Ok(None) => &inbound.unauthenticated,
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

/// Begins to watch a request, if anybody does.
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
            watch.invocation(GATE, "allow", "authorized");
        }
        Ok(Some(Admitted::Bypass)) => watch.invocation(GATE, "skip", "bypass"),
        Ok(None) | Err(_) => {}
    }
    Some(watch)
}

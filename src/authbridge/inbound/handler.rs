//! One request to the agent: admission, events, and forwarding.

use super::admit::{admit, count, watch};
use super::reauthorize::{authorize_connection, authorize_tunnel};
use crate::auth::Admitted;
use crate::body::ProxyBody;
use crate::denial::{Code, Denial};
use crate::forward;
use crate::quiet::Quiet;
use crate::runtime_config::{ActiveConfig, RuntimeConfig};
use crate::serve::{Connection, Handler, Joined, Turns};
use crate::stats::Stats;
use crate::upgrade::{WebSocket, write_upgrade};
use countersign_io::clock::instant;
use countersign_io::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::http::{request, uri};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Handler of requests to the agent.
pub(crate) struct InboundHandler {
    pub(super) active: ActiveConfig,
    stop: Shutdown,
    pub(super) stats: Stats,
    pub(super) quiet: Quiet,
    /// Turns at the cryptography of TLS handshakes.
    pub(super) handshakes: Turns,
    /// Port of the agent that last answered on a redirected connection.
    last_agent: Mutex<Option<Authority>>,
}

impl InboundHandler {
    /// A handler that reads the configuration in force at each request.
    pub(crate) fn new(active: ActiveConfig, stats: Stats, stop: Shutdown) -> Self {
        let (quiet, last_agent) = (Quiet::new("inbound"), Mutex::new(None));
        Self { active, stop, stats, quiet, handshakes: Turns::default(), last_agent }
    }

    /// Port of the agent that last answered on a redirected connection, as `address:port`.
    pub(crate) fn last_agent(&self) -> Option<Authority> {
        self.last_agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn deny(&self, denial: &Denial) -> Response<ProxyBody> {
        self.stats.denied(denial.code);
        self.quiet.log(denial.code.text(), &denial.message);
        forward::deny(denial)
    }
}

impl Handler for InboundHandler {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<ProxyBody> {
        let (ticket, began) = (connection.ticket(), instant());
        let (runtime, epoch) = self.active.current_with_epoch();
        let peer = connection.peer.as_deref();
        let decision = match authorize_connection(&connection, &runtime, epoch) {
            Ok(()) => admit(&runtime, &request, peer, &self.quiet).await,
            Err(denial) => Err(denial),
        };
        count(&self.stats, &decision);
        let mut watch = watch(&runtime, &request, peer, &runtime.inbound.parsers, &decision);
        let upgrade = WebSocket::requested(&request);
        let until = match &decision {
            Ok(Some(Admitted::Token(token, _))) => Some(token.ends_at()),
            _ => None,
        };
        let (parts, body) = request.into_parts();
        let call = if decision.is_ok() { connection.call() } else { None };
        let passed = if let Err(denial) = decision {
            Err(denial)
        } else if call.is_none() {
            Err(Denial::new(
                Code::Overloaded,
                "too many requests of this caller, or of all, wait for the agent",
            ))
        } else {
            let mut body = ProxyBody::incoming(body).with_ticket(connection.ticket());
            let observer = watch.as_mut().and_then(|watch| watch.goes_on(&parts.headers, parts.version));
            if let Some(observer) = observer {
                body = body.observed_by(observer);
            }
            self.pass_on(&runtime, &connection, parts, upgrade, body).await
        };
        // Who is at this end decides whether a tunnel stays, and nothing at the agent's.
        let call_of_tunnel = call.clone();
        let joined = |upgraded| {
            Some(Joined { stream: Box::new(TokioIo::new(upgraded)), stands: None, call: call_of_tunnel })
        };
        let answer = |response| forward::answer(response, upgrade, until, &connection, joined);
        let response = match passed.and_then(answer) {
            Ok(response) => response,
            Err(denial) => {
                if let Some(watch) = &mut watch {
                    watch.denied(&denial);
                }
                self.deny(&denial)
            }
        };
        self.stats.inbound_seconds.observe(began.elapsed().as_secs_f64());
        let response = match watch {
            Some(watch) => watch.ends(response, began),
            None => response,
        };
        response.map(|body| body.answers(ticket).of_call(call))
    }

    fn epochs(&self) -> watch::Receiver<u64> {
        self.active.epochs()
    }

    fn is_over(&self, connection: &Connection) -> bool {
        if self.stop.is_requested() {
            return true;
        }
        let (runtime, epoch) = self.active.current_with_epoch();
        let decision = authorize_connection(connection, &runtime, epoch);
        if let Err(denial) = &decision {
            self.quiet.log("a connection is ended", &denial.message);
        }
        decision.is_err()
    }

    fn is_cut(&self, connection: &Connection) -> bool {
        let decision = authorize_tunnel(connection, &self.active.current());
        if let Err(denial) = &decision {
            self.quiet.log("a tunnel is ended", &denial.message);
        }
        decision.is_err()
    }
}

impl InboundHandler {
    async fn pass_on(
        &self,
        runtime: &RuntimeConfig,
        connection: &Connection,
        mut parts: request::Parts,
        upgrade: Option<WebSocket>,
        body: ProxyBody,
    ) -> Result<Response<Incoming>, Denial> {
        forward::strip(&mut parts.headers);
        // HTTP/2 and absolute-form targets carry the host in the target; HTTP/1.1 needs it in `Host` (RFC 9113 §8.3.1).
        if let Some(authority) = parts.uri.authority()
            && !parts.headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            parts.headers.insert(HOST, host);
        }
        let grpc = parts.version == Version::HTTP_2
            && parts
                .headers
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        write_upgrade(upgrade, &mut parts.headers);
        // The bytes that the gate evaluated: a normalized path could be one that needs a token.
        let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut to = uri::Parts::default();
        to.scheme = Some(Scheme::HTTP);
        to.authority = Some(connection.agent.clone().map_or_else(|| runtime.backend(), Ok)?);
        to.path_and_query = Some(target);
        parts.uri =
            Uri::from_parts(to).map_err(|_| Denial::new(Code::BadRequest, "the target is not usable"))?;
        let agent = &runtime.agent;
        let client = if grpc { &agent.http2 } else { &agent.http1 };
        parts.version = if grpc { Version::HTTP_2 } else { Version::HTTP_11 };
        let answer =
            forward::send(client, Request::from_parts(parts, body), runtime.response_timeout()).await;
        if answer.is_ok() && connection.agent.is_some() {
            self.last_agent.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&connection.agent);
        }
        answer
    }
}

//! One request to the agent: its form, the gate, the parsers that watch, and on to the agent.

use crate::io::clock::instant;
use crate::io::shutdown::Shutdown;
use crate::sidecar::auth::{Admitted, GATE};
use crate::sidecar::body::Body;
use crate::sidecar::denial::{Code, Denial};
use crate::sidecar::events::{Direction, Watch};
use crate::sidecar::forward;
use crate::sidecar::plane::{Plane, Planes};
use crate::sidecar::quiet::Quiet;
use crate::sidecar::serve::{Handler, Link};
use crate::sidecar::stats::Stats;
use crate::sidecar::tls::until_unwelcome;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::http::{request, uri};
use hyper::{Method, Request, Response, Uri, Version};
use std::sync::Arc;

/// Answers requests to the agent.
pub(crate) struct Inbound {
    planes: Planes,
    stop: Shutdown,
    pub(super) stats: Stats,
    pub(super) quiet: Quiet,
}

impl Inbound {
    /// A handler over whatever configuration is current.
    pub(crate) const fn new(planes: Planes, stats: Stats, stop: Shutdown) -> Self {
        Self { planes, stop, stats, quiet: Quiet::new("inbound") }
    }

    /// The current configuration at work.
    pub(super) fn plane(&self) -> Arc<Plane> {
        self.planes.current()
    }

    async fn admit(
        &self,
        plane: &Plane,
        request: &Request<Incoming>,
        link: &Link,
    ) -> Result<Option<Admitted>, Denial> {
        forward::refuse_ambiguity(request)?;
        if request.method() == Method::CONNECT {
            return Err(Denial::new(Code::BadRequest, "CONNECT is for proxies"));
        }
        let Some(gate) = &plane.inbound.gate else { return Ok(None) };
        let judged = gate.judge(request.uri().path(), request.headers(), link.peer.as_deref()).await;
        match judged {
            Ok(admitted) => Ok(Some(admitted)),
            Err(denial) if plane.inbound.observes => {
                self.quiet.log("a request would have been denied", &denial.message);
                Ok(None)
            }
            Err(denial) => Err(denial),
        }
    }

    fn count(&self, judged: &Result<Option<Admitted>, Denial>) {
        let inbound = &self.stats.inbound;
        match judged {
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

    fn deny(&self, denial: &Denial) -> Response<Body> {
        self.stats.denied(denial.code);
        self.quiet.log(denial.code.text(), &denial.message);
        forward::deny(denial)
    }
}

impl Handler for Inbound {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, link: Arc<Link>) -> Response<Body> {
        let (ticket, began) = (link.ticket(), instant());
        let plane = self.plane();
        let judged = self.admit(&plane, &request, &link).await;
        self.count(&judged);
        let mut watch = watch(&plane, &request, &link, &judged);
        let (parts, body) = request.into_parts();
        let passed = if let Err(denial) = judged {
            Err(denial)
        } else {
            let mut body = Body::incoming(body).with_ticket(link.ticket());
            let observer = watch.as_mut().and_then(|watch| watch.goes_on(&parts.headers, parts.version));
            if let Some(observer) = observer {
                body = body.observed_by(observer);
            }
            self.pass_on(&plane, parts, body).await
        };
        let response = match passed {
            Ok(response) => forward::answer(response, &link),
            Err(denial) => {
                if let Some(watch) = &mut watch {
                    watch.denied(&denial);
                }
                self.deny(&denial)
            }
        };
        self.stats.inbound_seconds.observe(began.elapsed().as_secs_f64());
        if let Some(watch) = watch {
            watch.ends(&response, began);
        }
        response.map(|body| body.with_ticket(ticket))
    }

    async fn retired(&self, link: &Link) {
        let plane = self.plane();
        let unwelcome = async {
            match (&plane.terminator, &link.peer) {
                (Some((terminator, _)), Some(peer)) => {
                    until_unwelcome(terminator, &plane.identity, peer).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = unwelcome => {}
            () = self.planes.retired(plane.mtls_generation) => {}
            () = self.stop.requested() => {}
        }
    }
}

impl Inbound {
    async fn pass_on(
        &self,
        plane: &Plane,
        mut parts: request::Parts,
        body: Body,
    ) -> Result<Response<Incoming>, Denial> {
        let upgrade = forward::wanted_upgrade(&parts.headers);
        forward::strip(&mut parts.headers);
        // The agent sees the host that the caller meant, whichever way it was written.
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
        if let Some(protocol) = upgrade {
            forward::ask_upgrade(&mut parts.headers, protocol);
        }
        // Exactly the bytes that were judged.
        let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut to = uri::Parts::default();
        to.scheme = Some(Scheme::HTTP);
        to.authority = Some(plane.backend()?);
        to.path_and_query = Some(target);
        parts.uri =
            Uri::from_parts(to).map_err(|_| Denial::new(Code::BadRequest, "the target is not usable"))?;
        let agent = &plane.agent;
        let client = if grpc { &agent.http2 } else { &agent.http1 };
        parts.version = if grpc { Version::HTTP_2 } else { Version::HTTP_11 };
        forward::send(client, Request::from_parts(parts, body), plane.response_timeout()).await
    }
}

/// Begins to watch a request, if anybody does.
fn watch(
    plane: &Plane,
    request: &Request<Incoming>,
    link: &Link,
    judged: &Result<Option<Admitted>, Denial>,
) -> Option<Watch> {
    let store = plane.sessions.as_ref()?;
    let mut watch = Watch::new(store, Direction::Inbound, request, &plane.inbound.parsers);
    if let Some(peer) = &link.peer {
        watch.peer(peer);
    }
    match judged {
        Ok(Some(Admitted::Token(token, digest))) => {
            watch.user(token, Some(*digest));
            watch.invocation(GATE, "allow", "authorized");
        }
        Ok(Some(Admitted::Bypass)) => watch.invocation(GATE, "skip", "bypass"),
        Ok(None) | Err(_) => {}
    }
    Some(watch)
}

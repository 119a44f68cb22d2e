//! Evaluation of one request of Envoy: its direction, whether it may pass, and with which token.
//! Envoy sends neither bodies nor responses here, so events have no call and no outcome of a request that passed.

use super::answer::{deny, pass_on};
use super::attributes::Attributes;
use super::head::read_head;
use super::messages::{HttpHeaders, ProcessingResponse};
use crate::auth::Admitted;
use crate::config::MtlsMode;
use crate::denial::{Code, Denial};
use crate::events::{Direction, Watch};
use crate::forward;
use crate::identity::VerifiedPeer;
use crate::inbound::{admit, count, watch};
use crate::outbound::{EXCHANGE, Granted, bearer};
use crate::quiet::Quiet;
use crate::runtime_config::{ActiveConfig, RuntimeConfig};
use crate::stats::Stats;
use crate::upgrade::WebSocket;
use countersign_core::encoding::sha256;
use countersign_core::time::Timestamp;
use countersign_io::clock::{instant, now};
use countersign_io::shutdown::Shutdown;
use hyper::Request;
use hyper::http::uri::Authority;
use std::time::{Duration, Instant};

/// Evaluator of the requests that Envoy sends.
pub(crate) struct Processor {
    pub(super) active: ActiveConfig,
    pub(super) stop: Shutdown,
    pub(super) quiet: Quiet,
    stats: Stats,
    inbound: Quiet,
    outbound: Quiet,
}

impl Processor {
    /// A processor that reads the configuration in force at each request.
    pub(crate) const fn new(active: ActiveConfig, stats: Stats, stop: Shutdown) -> Self {
        let inbound = Quiet::new("inbound");
        let outbound = Quiet::new("outbound");
        Self { active, stop, quiet: Quiet::new("ext_proc"), stats, inbound, outbound }
    }

    /// Evaluates the head of a request; a denial is an answer too.
    pub(super) async fn evaluate(
        &self,
        head: &HttpHeaders,
        attributes: Attributes<'_>,
    ) -> ProcessingResponse {
        let began = instant();
        let runtime = self.active.current();
        match (attributes.direction(), read_head(head)) {
            (Ok(Direction::Inbound), Ok(request)) => {
                self.inbound(&runtime, &request, attributes, began).await
            }
            (Ok(Direction::Outbound), Ok(request)) => {
                self.outbound(&runtime, &request, attributes, began).await
            }
            (Ok(Direction::Inbound), Err(denial)) => {
                count(&self.stats, &Err(denial.clone()));
                self.refuse((&self.inbound, None), &denial, None, began)
            }
            (Ok(Direction::Outbound), Err(denial)) => {
                self.refuse((&self.outbound, None), &denial, None, began)
            }
            (Err(denial), _) => self.refuse((&self.quiet, None), &denial, None, began),
        }
    }

    async fn inbound(
        &self,
        runtime: &RuntimeConfig,
        request: &Request<()>,
        attributes: Attributes<'_>,
        began: Instant,
    ) -> ProcessingResponse {
        let (peer, decision) = match caller(runtime, attributes) {
            Ok(peer) => {
                let decision = admit(runtime, request, peer.as_ref(), &self.inbound).await;
                (peer, decision)
            }
            Err(denial) => (None, Err(denial)),
        };
        count(&self.stats, &decision);
        let mut watch = watch(runtime, request, peer.as_ref(), &[], &decision);
        match decision {
            Ok(admitted) => {
                if let Some(watch) = &mut watch {
                    watch.goes_on(request.headers(), request.version());
                }
                let until = match &admitted {
                    Some(Admitted::Token(token, _)) => Some(token.ends_at()),
                    _ => None,
                };
                pass_on(request.headers(), None, tunnel_time(request, until))
            }
            Err(denial) => self.refuse((&self.inbound, None), &denial, watch, began),
        }
    }

    async fn outbound(
        &self,
        runtime: &RuntimeConfig,
        request: &Request<()>,
        attributes: Attributes<'_>,
        began: Instant,
    ) -> ProcessingResponse {
        let mut watch =
            runtime.sessions.as_ref().map(|store| Watch::new(store, Direction::Outbound, request, &[]));
        if let Some(watch) = &mut watch
            && let Some(token) = bearer(request.headers())
        {
            watch.belongs_to(sha256(token.as_bytes()));
        }
        match self.grant(runtime, request, attributes).await {
            Ok(granted) => {
                if let Some(watch) = &mut watch {
                    watch.invocation(EXCHANGE, granted.outcome);
                    watch.goes_on(request.headers(), request.version());
                }
                let until = granted.until(runtime.clock_skew());
                let left = tunnel_time(request, until);
                pass_on(request.headers(), granted.authorization.as_ref(), left)
            }
            Err(denial) => {
                let host = request.uri().authority().map(Authority::host);
                self.refuse((&self.outbound, host), &denial, watch, began)
            }
        }
    }

    async fn grant(
        &self,
        runtime: &RuntimeConfig,
        request: &Request<()>,
        attributes: Attributes<'_>,
    ) -> Result<Granted, Denial> {
        let authority = request.uri().authority();
        let authority =
            authority.ok_or_else(|| Denial::new(Code::BadRequest, "the request names no host"))?;
        runtime.outbound.authorize(authority, || attributes.destination(), request, &self.outbound).await
    }

    fn refuse(
        &self,
        (quiet, host): (&Quiet, Option<&str>),
        denial: &Denial,
        watch: Option<Watch>,
        began: Instant,
    ) -> ProcessingResponse {
        self.stats.denied(denial.code);
        quiet.log_to(denial.code.text(), &denial.message, host);
        if let Some(mut watch) = watch {
            watch.denied(denial);
            drop(watch.ends(forward::deny(denial), began));
        }
        deny(denial)
    }
}

/// How long a tunnel may be open that the request opens; `None` if it opens none, or one that depends on no token.
fn tunnel_time(request: &Request<()>, until: Option<Timestamp>) -> Option<Duration> {
    let until = until.filter(|_| WebSocket::requested(request).is_some())?;
    Some(Duration::from_secs(u64::try_from(until.since(now())).unwrap_or(0)))
}

/// Authorizes the caller by `mtls`. Envoy has verified the certificate against its own bundle; `allowed_peers` and the
/// mode are enforced here, so that one configuration counts in both modes of the sidecar.
fn caller(runtime: &RuntimeConfig, attributes: Attributes<'_>) -> Result<Option<VerifiedPeer>, Denial> {
    let peer = attributes.peer()?;
    let problem = match (&runtime.terminator, &peer) {
        (Some((terminator, _)), Some(peer)) if !terminator.admits(&peer.id) => {
            "the caller is not one of the peers that may connect"
        }
        (Some((_, MtlsMode::Strict)), None) => {
            "mtls.mode is strict, and Envoy tells no SPIFFE ID: its listener must ask for a certificate, and its ext_proc \
             filter must name `connection.uri_san_peer_certificate` in `request_attributes`"
        }
        _ => return Ok(peer),
    };
    Err(Denial::new(Code::Forbidden, problem))
}

//! One request of the agent: destination, token, and forwarding.

use super::connect::{Target, Wire};
use super::destination::{belongs, verify_destination};
use super::exchange::NAME;
use super::grant::bearer;
use super::lease::{Lease, Passes, Redirected};
use super::routes::{Claim, RouteDecision, Table, TokenAction};
use super::rules::Routing;
use super::told::Told;
use crate::body::ProxyBody;
use crate::config::RouteTls;
use crate::denial::{Code, Denial, DeniedAddress};
use crate::events::{Direction, Watch};
use crate::forward;
use crate::host::Host;
use crate::quiet::Quiet;
use crate::runtime_config::{ActiveConfig, RuntimeConfig};
use crate::serve::{Connection, Handler, Joined, Prefixed, Tunnel};
use crate::stats::Stats;
use crate::upgrade::{WebSocket, write_upgrade};
use countersign_core::encoding::sha256;
use countersign_io::clock::instant;
use countersign_io::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::http::request;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::upgrade::Parts;
use hyper::{Method, Request, Response, Uri, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Handler of requests of the agent.
pub(crate) struct OutboundHandler {
    active: ActiveConfig,
    stop: Shutdown,
    pub(super) stats: Stats,
    pub(super) quiet: Arc<Quiet>,
    /// Destinations of other protocols that were told.
    pub(super) told: Told,
}

/// Destination of one request, with the route decision for it.
struct Trip {
    target: Target,
    decision: RouteDecision,
}

impl OutboundHandler {
    /// A handler that reads the configuration in force at each request.
    pub(crate) fn new(active: ActiveConfig, stats: Stats, stop: Shutdown) -> Self {
        Self { active, stop, stats, quiet: Arc::new(Quiet::new("outbound")), told: Told::new() }
    }

    /// The configuration in force.
    pub(super) fn runtime(&self) -> Arc<RuntimeConfig> {
        self.active.current()
    }

    /// What a tunnel to `target` depends on.
    fn lease(&self, target: &Target, redirected: Option<Redirected>, passes: Passes) -> Lease {
        let (active, quiet) = (self.active.clone(), Arc::clone(&self.quiet));
        Lease { active, quiet, target: target.clone(), redirected, passes }
    }

    async fn answer(
        &self,
        runtime: &RuntimeConfig,
        request: Request<Incoming>,
        connection: &Connection,
        watch: &mut Option<Watch>,
    ) -> Result<Response<ProxyBody>, Denial> {
        forward::refuse_ambiguity(&request)?;
        let routing = runtime.outbound.routing();
        let mut target = target(&request, connection)?;
        let (decision, redirected) = match target.address {
            None => (routing.table.decide_proxied(&target.host), None),
            Some(address) => {
                let (decision, redirected) = decide_redirected(&routing.table, &mut target, address).await;
                (decision, Some(redirected))
            }
        };
        if request.method() == Method::CONNECT {
            if request.version() == Version::HTTP_2 {
                let why = "CONNECT is understood by HTTP/1.1 only";
                return Err(Denial::new(Code::BadRequest, why));
            }
            let to = (target, redirected, Passes::Unread);
            return self.tunnel(runtime, &routing, to, &decision, connection).await;
        }
        let trip = Trip { target, decision };
        verify_trip(runtime, &trip).await?;
        let upgrade = WebSocket::requested(&request);
        let (mut parts, body) = request.into_parts();
        if let Some(watch) = watch.as_mut()
            && let Some(token) = bearer(&parts.headers)
        {
            watch.belongs_to(sha256(token.as_bytes()));
        }
        let rules = &runtime.outbound;
        let granted = rules.grant_or_observe(&trip.decision, &parts.headers, upgrade, &self.quiet).await?;
        let until = granted.until(runtime.clock_skew());
        let lease = upgrade
            .map(|_| self.lease(&trip.target, redirected, Passes::WebSocket(rules.tls(&trip.decision))));
        if let Some(authorization) = granted.authorization {
            parts.headers.insert(AUTHORIZATION, authorization);
        }
        let mut body = ProxyBody::incoming(body).with_ticket(connection.ticket());
        if let Some(watch) = watch.as_mut() {
            watch.invocation(NAME, granted.outcome);
            if let Some(observer) = watch.goes_on(&parts.headers, parts.version) {
                body = body.observed_by(observer);
            }
        }
        let response = pass_on(runtime, &routing, trip, (parts, upgrade), body).await?;
        forward::answer(response, upgrade, until, connection, move |upgraded| {
            let Parts { io, read_buf, .. } = upgraded.downcast::<Wire>().ok()?;
            let (stream, reached) = io.into_parts();
            let stream = Box::new(Prefixed::new(stream).push_back(&read_buf));
            Some(Joined { stream, stands: Some(lease?.standing(reached)), call: None })
        })
    }

    /// Opens a tunnel to `target`, if the decision lets bytes pass that are not read.
    pub(super) async fn tunnel(
        &self,
        runtime: &RuntimeConfig,
        routing: &Routing,
        (target, redirected, passes): (Target, Option<Redirected>, Passes),
        decision: &RouteDecision,
        connection: &Connection,
    ) -> Result<Response<ProxyBody>, Denial> {
        match decision.token {
            TokenAction::Keep { by_default: true } => self.stats.outbound.no_matching_route.inc(),
            TokenAction::Keep { by_default: false } => self.stats.outbound.passthrough.inc(),
            TokenAction::Deny => return Err(runtime.outbound.denied_by_route()),
            TokenAction::Exchange(..) | TokenAction::Own(_) => {
                let why =
                    "a tunnel hides the token that this route would exchange; call the server by http://";
                return Err(Denial::new(Code::Forbidden, why).by(NAME));
            }
        };
        let lease = self.lease(&target, redirected, passes);
        let dialer = runtime.outbound.dialer(routing, target, RouteTls::Plain, decision);
        let (stream, reached) = dialer.connect().await.map_err(|error| {
            if DeniedAddress::caused(&error) {
                return DeniedAddress.denial();
            }
            tracing::debug!("a tunnel was not opened: {error}");
            Denial::new(Code::Unreachable, "the other end cannot be reached")
        })?;
        let joined = Joined { stream, stands: Some(lease.standing(reached)), call: None };
        connection.join(Tunnel { other: Box::pin(async move { Some(joined) }), until: None });
        Ok(Response::new(ProxyBody::default()))
    }
}

impl Handler for OutboundHandler {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<ProxyBody> {
        let (ticket, began) = (connection.ticket(), instant());
        let runtime = self.runtime();
        let mut watch = runtime
            .sessions
            .as_ref()
            .map(|store| Watch::new(store, Direction::Outbound, &request, &runtime.outbound.parsers));
        let asked = (request.uri().authority().cloned(), request.headers().get(HOST).cloned());
        let response = match self.answer(&runtime, request, &connection, &mut watch).await {
            Ok(response) => response,
            Err(denial) => {
                if let Some(watch) = &mut watch {
                    watch.denied(&denial);
                }
                self.stats.denied(denial.code);
                let named = asked.1.as_ref().and_then(|host| host.to_str().ok());
                let host = asked.0.as_ref().map(Authority::host).or(named);
                self.quiet.log_to(denial.code.text(), &denial.message, host);
                forward::deny(&denial)
            }
        };
        self.stats.outbound_seconds.observe(began.elapsed().as_secs_f64());
        let response = match watch {
            Some(watch) => watch.ends(response, began),
            None => response,
        };
        response.map(|body| body.answers(ticket))
    }

    fn epochs(&self) -> watch::Receiver<u64> {
        self.active.epochs()
    }

    fn is_over(&self, _: &Connection) -> bool {
        self.stop.is_requested()
    }

    fn is_cut(&self, _: &Connection) -> bool {
        false
    }
}

/// Destination of a request: its target at the proxy, or its `Host` and the kernel's address on a redirected connection.
fn target(request: &Request<Incoming>, connection: &Connection) -> Result<Target, Denial> {
    let bad = |message: &str| Denial::new(Code::BadRequest, message);
    let uri = request.uri();
    let named = match (uri.authority(), connection.destination) {
        (Some(authority), None) => authority.clone(),
        (None, Some(_)) => {
            let host = request.headers().get(HOST).ok_or_else(|| bad("the request has no Host header"))?;
            Authority::try_from(host.as_bytes()).map_err(|_| bad("the Host header is not a host"))?
        }
        (Some(_), Some(_)) => return Err(bad("a redirected connection does not take requests for a proxy")),
        (None, None) => return Err(bad("this is a proxy: the target of a request must be a whole URL")),
    };
    let connect = request.method() == Method::CONNECT;
    if !connect && uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP) {
        return Err(bad("the target must begin with http://; use CONNECT for https"));
    }
    let port = match (named.port_u16(), connect) {
        (Some(port), _) => port,
        (None, false) if named.port().is_none() => 80,
        _ => return Err(bad("the target has no usable port")),
    };
    let host = Host::parse(named.host()).map_err(bad)?;
    Ok(Target { host, port, address: connection.destination })
}

/// Verifies the destination of a redirected request before it gets a token, or a connection with our SVID: the agent
/// chooses name and address independently of each other.
async fn verify_trip(runtime: &RuntimeConfig, trip: &Trip) -> Result<(), Denial> {
    let Some(address) = trip.target.address else { return Ok(()) };
    let keeps = matches!(trip.decision.token, TokenAction::Keep { .. } | TokenAction::Deny);
    if keeps && runtime.outbound.tls(&trip.decision) == RouteTls::Plain {
        return Ok(());
    }
    verify_destination(&trip.target.host, trip.target.port, address).await
}

/// The decision about a connection to `address` whose bytes claim `target`, which becomes true: where a route for the
/// address decides, that is the target; where the name alone allows it and has other addresses, it goes to one of those. A
/// name server may answer the agent with other addresses than the sidecar, so a mismatch alone proves no lie.
pub(super) async fn decide_redirected(
    table: &Table,
    target: &mut Target,
    address: SocketAddr,
) -> (RouteDecision, Redirected) {
    let (decision, claim) = table.decide_redirected(&target.host, address.ip());
    let redirected = Redirected::new(address, target.host.clone(), claim);
    match (claim, &decision.token) {
        (Claim::OfAddress, _) => (target.host, target.port) = (Host::of(address.ip()), address.port()),
        (Claim::Decides, TokenAction::Keep { .. }) => {
            target.port = address.port();
            if !belongs(&target.host, address.port(), address).await {
                target.address = None;
            }
        }
        _ => {}
    }
    (decision, redirected)
}

async fn pass_on(
    runtime: &RuntimeConfig,
    routing: &Routing,
    trip: Trip,
    (mut parts, upgrade): (request::Parts, Option<WebSocket>),
    body: ProxyBody,
) -> Result<Response<Incoming>, Denial> {
    let Trip { target, decision } = trip;
    forward::strip(&mut parts.headers);
    write_upgrade(upgrade, &mut parts.headers);
    let bad = |_| Denial::new(Code::BadRequest, "the target is not usable");
    let authority = if let Some(authority) = parts.uri.authority() {
        authority.clone()
    } else {
        let (host, port) = (target.host.text(), target.port);
        let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Authority::try_from(text).map_err(bad)?
    };
    // RFC 9112 §3.2.2: a proxy replaces `Host` by the authority of the target; `refuse_ambiguity` made sure they agree.
    if parts.uri.authority().is_some() {
        let host = HeaderValue::from_str(authority.as_str());
        parts
            .headers
            .insert(HOST, host.map_err(|_| Denial::new(Code::BadRequest, "the host is not usable"))?);
    }
    let mut to = hyper::http::uri::Parts::default();
    to.scheme = Some(Scheme::HTTP);
    to.authority = Some(authority);
    to.path_and_query =
        Some(parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(to).map_err(|_| Denial::new(Code::BadRequest, "the target is not usable"))?;
    parts.version = Version::HTTP_11;
    let client = runtime.outbound.client(routing, target, &decision);
    forward::send(&client, Request::from_parts(parts, body), runtime.response_timeout()).await
}

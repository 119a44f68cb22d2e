//! Recording of one request: the actions of plugins, the call in it, its answer, and the outcome.

use super::event::{Caller, Direction, Event, Head, Invocation, Phase};
use super::exchange::{AnswerObserver, Exchange, RequestObserver};
use super::media_type::Form;
use super::parser::{Parser, Protocol};
use super::reader::AnswerReader;
use super::store::{Place, SessionStore};
use super::text::bounded;
use crate::body::{Observe, ProxyBody};
use crate::denial::Denial;
use crate::identity::VerifiedPeer;
use crate::jwt::VerifiedToken;
use crate::outcome::Outcome;
use countersign_core::encoding::Digest;
use countersign_core::refusal::Reason;
use countersign_io::clock::now;
use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Request, Response, Version};
use std::sync::Arc;
use std::time::Instant;

/// Recorder of one request, which becomes one event per phase.
pub(crate) struct Watch {
    store: SessionStore,
    place: Place,
    token: Option<Digest>,
    event: Event,
    /// Protocol that a parser reads in request and answer, and the form of the request's body.
    protocol: Option<(Protocol, Option<Form>)>,
    /// Set once the request is passed on, if a parser reads it.
    exchange: Option<Arc<Exchange>>,
}

impl Watch {
    /// Starts the event of a request.
    pub(crate) fn new<B>(
        store: &SessionStore,
        direction: Direction,
        request: &Request<B>,
        parsers: &[Parser],
    ) -> Self {
        let path = request.uri().path();
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(Authority::as_str).or(host).unwrap_or_default();
        // A request that names a user is refused, and its event must not keep the password (RFC 9110 §4.2.4).
        let host = host.rsplit('@').next().unwrap_or_default();
        let event = Event {
            at: now(),
            request: Arc::new(Head {
                direction,
                method: bounded(request.method().as_str()),
                host: bounded(host),
                path: bounded(path),
                caller: Caller::default(),
                joined: None,
            }),
            phase: Phase::Request,
            call: None,
            answer: None,
            invocations: Arc::default(),
            status: None,
            error: None,
            duration_ms: None,
        };
        let protocol = if parsers.is_empty() {
            None
        } else {
            let form = Form::of(request.headers());
            let found = parsers.iter().find_map(|parser| parser.protocol(request.method(), path, form));
            found.map(|protocol| (protocol, form.filter(|form| protocol.reads(*form))))
        };
        let place = Place::of_user(None);
        Self { store: store.clone(), place, token: None, event, protocol, exchange: None }
    }

    /// The caller, before the first event has it.
    fn caller(&mut self) -> &mut Caller {
        &mut Arc::make_mut(&mut self.event.request).caller
    }

    /// Records the peer of the connection.
    pub(crate) fn peer(&mut self, peer: &VerifiedPeer) {
        self.caller().peer = Some(peer.id.to_string());
    }

    /// Records the verified token of a request to the agent; its user owns the session.
    pub(crate) fn user(&mut self, token: &VerifiedToken, digest: Option<Digest>) {
        let claims = token.claims();
        let caller = self.caller();
        caller.subject = claims.subject.as_deref().map(bounded);
        caller.scopes = claims.scopes.iter().take(32).map(|scope| bounded(scope)).collect();
        caller.client = claims.client.as_deref().map(bounded);
        self.place = Place::of_user(token.user());
        self.token = digest;
    }

    /// Joins the session that `token` opened at the gate, if it did. The token is not verified here: it only selects
    /// where the event is listed.
    pub(crate) fn belongs_to(&mut self, token: Digest) {
        self.place = Place::of_token(token, &self.store);
        Arc::make_mut(&mut self.event.request).joined = Some(token);
    }

    /// Records what a plugin did with a request that passes.
    pub(crate) fn invocation(&mut self, plugin: &'static str, outcome: Outcome) {
        let (action, reason, shadow) = outcome.told();
        self.invoked(Invocation { plugin, action, reason, shadow });
    }

    fn invoked(&mut self, invocation: Invocation) {
        // Most requests have one, which takes one allocation.
        self.event.invocations = self.event.invocations.iter().copied().chain([invocation]).collect();
    }

    /// Records the denial of the request.
    pub(crate) fn denied(&mut self, denial: &Denial) {
        self.event.phase = Phase::Denied;
        self.event.status = Some(denial.code.status().as_u16());
        self.event.error = Some((denial.code.text(), bounded(&denial.message)));
        if let Some(plugin) = denial.plugin {
            let reason = denial.reason.map_or(denial.code.text(), Reason::code);
            self.invoked(Invocation { plugin, action: "deny", reason, shadow: false });
        }
    }

    /// Stores the event of a request that is passed on. If its body may hold a call, the returned observer stores it
    /// once the body has passed.
    pub(crate) fn goes_on(&mut self, headers: &HeaderMap, version: Version) -> Option<Box<dyn Observe>> {
        let Some((protocol, form)) = self.protocol else {
            let owner = self.place.now(&self.store);
            if let Some(token) = self.token {
                self.store.remember(token, &owner, false);
            }
            self.store.add(&owner, self.event.clone());
            return None;
        };
        let exchange = Exchange::new(self.store.clone(), protocol, self.place.clone(), self.token);
        let exchange = Arc::clone(self.exchange.insert(Arc::new(exchange)));
        let has_body = version == Version::HTTP_2
            || headers.contains_key(CONTENT_LENGTH)
            || headers.contains_key(TRANSFER_ENCODING);
        if let Some(form) = form.filter(|_| has_body) {
            return Some(Box::new(RequestObserver::new(exchange, form, self.event.clone())));
        }
        exchange.asks(protocol.call_of_head(&self.event.request.method), self.event.clone());
        None
    }

    /// Stores the event of a response or denial, and returns the response. If its body is an answer to a call, the event is
    /// stored once the body has passed.
    pub(crate) fn ends(mut self, response: Response<ProxyBody>, began: Instant) -> Response<ProxyBody> {
        let passed = self.event.phase == Phase::Request;
        if passed {
            self.event.phase = Phase::Response;
            self.event.status = Some(response.status().as_u16());
        }
        self.event.ended(began);
        let Some(exchange) = self.exchange else {
            self.store.add(&self.place.now(&self.store), self.event);
            return response;
        };
        let form = Form::of(response.headers()).filter(|form| passed && exchange.protocol.answers_in(*form));
        let mut reader = AnswerReader::new(exchange.protocol, form.unwrap_or(Form::Json));
        // In gRPC a failure may be a head alone.
        reader.status(response.headers());
        let Some(form) = form.filter(|_| !response.body().is_end_stream()) else {
            exchange.answered(reader.finish(), self.event);
            return response;
        };
        let observer = AnswerObserver::new(exchange, form, reader, self.event, began);
        response.map(|body| body.observed_by(Box::new(observer)))
    }
}

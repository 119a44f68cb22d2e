//! Recording of one request: the actions of plugins, the call in the body, and the outcome.

use super::call::{Call, Parser};
use super::event::{Caller, Direction, Event, Head, Invocation, Phase};
use super::store::{Owner, SessionStore};
use super::text::bounded;
use crate::body::{Observe, ProxyBody};
use crate::denial::Denial;
use crate::identity::VerifiedPeer;
use crate::jwt::VerifiedToken;
use crate::outcome::Outcome;
use countersign_core::encoding::Digest;
use countersign_core::refusal::Reason;
use countersign_io::clock::now;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Request, Response, Version};
use std::sync::Arc;
use std::time::Instant;

/// Largest body that is parsed, in bytes; a larger one passes and its event has no call.
const BODY_BYTES: usize = 64 * 1024;

/// Recorder of one request, which becomes one event per phase.
pub(crate) struct Watch {
    store: SessionStore,
    owner: Owner,
    token: Option<Digest>,
    event: Event,
    parser: Option<Parser>,
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
            }),
            phase: Phase::Request,
            call: None,
            invocations: Vec::new(),
            status: None,
            error: None,
            duration_ms: None,
        };
        let parser = parsers.iter().find(|parser| parser.reads(path)).cloned();
        Self { store: store.clone(), owner: Owner::new(None, None), token: None, event, parser }
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
        self.owner = Owner::new(token.user(), None);
        self.token = digest;
    }

    /// Joins the session that `token` opened at the gate, if it did. The token is not verified here: it only selects
    /// where the event is listed.
    pub(crate) fn belongs_to(&mut self, token: Digest) {
        if let Some(owner) = self.store.of_token(token) {
            self.owner = owner;
        }
    }

    /// Records what a plugin did with a request that passes.
    pub(crate) fn invocation(&mut self, plugin: &'static str, outcome: Outcome) {
        let (action, reason, shadow) = outcome.told();
        self.event.invocations.push(Invocation { plugin, action, reason, shadow });
    }

    /// Records the denial of the request.
    pub(crate) fn denied(&mut self, denial: &Denial) {
        self.event.phase = Phase::Denied;
        self.event.status = Some(denial.code.status().as_u16());
        self.event.error = Some((denial.code.text(), bounded(&denial.message)));
        if let Some(plugin) = denial.plugin {
            let reason = denial.reason.map_or(denial.code.text(), Reason::code);
            self.event.invocations.push(Invocation { plugin, action: "deny", reason, shadow: false });
        }
    }

    /// Stores the event of a request that is passed on. If its body may hold a call, the returned observer stores it
    /// once the body has passed.
    pub(crate) fn goes_on(&mut self, headers: &HeaderMap, version: Version) -> Option<Box<dyn Observe>> {
        let has_body = version == Version::HTTP_2
            || headers.contains_key(CONTENT_LENGTH)
            || headers.contains_key(TRANSFER_ENCODING);
        let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/json"))
        });
        if let Some(parser) = self.parser.take().filter(|_| has_body && is_json) {
            let collector = BodyCollector {
                store: self.store.clone(),
                owner: self.owner.clone(),
                token: self.token,
                event: Some(self.event.clone()),
                parser,
                body: Vec::new(),
                whole: true,
            };
            return Some(Box::new(collector));
        }
        if let Some(token) = self.token {
            self.store.remember(token, &self.owner);
        }
        self.store.add(&self.owner, self.event.clone());
        None
    }

    /// Stores the event of the response or denial.
    pub(crate) fn ends(mut self, response: &Response<ProxyBody>, began: Instant) {
        if self.event.phase == Phase::Request {
            self.event.phase = Phase::Response;
            self.event.status = Some(response.status().as_u16());
        }
        self.event.at = now();
        self.event.duration_ms = Some(began.elapsed().as_secs_f64() * 1000.0);
        self.store.add(&self.owner, self.event);
    }
}

/// Observer that collects a body of at most [`BODY_BYTES`] and stores the event at its end.
struct BodyCollector {
    store: SessionStore,
    owner: Owner,
    token: Option<Digest>,
    event: Option<Event>,
    parser: Parser,
    body: Vec<u8>,
    whole: bool,
}

impl Observe for BodyCollector {
    fn data(&mut self, bytes: &Bytes) {
        if bytes.len() > BODY_BYTES.saturating_sub(self.body.len()) {
            self.whole = false;
            self.body = Vec::new();
        }
        if self.whole {
            self.body.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, whole: bool) {
        let Some(mut event) = self.event.take() else { return };
        if whole && self.whole {
            event.call = self.parser.parse(&event.request.method, &self.body);
        }
        let context = event.call.as_ref().and_then(Call::context);
        let owner = context.map_or_else(|| self.owner.clone(), |context| self.owner.with_context(context));
        if let Some(token) = self.token {
            self.store.remember(token, &owner);
        }
        self.store.add(&owner, event);
    }
}

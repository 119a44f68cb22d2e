//! Request and answer of one call while their bodies pass: what the request asked, and the session to which both belong.
//! The first context that is named decides it, the request's before the answer's.

use super::answer::Answer;
use super::buffer::{Buffer, Pool};
use super::event::{Direction, Event};
use super::media_type::Form;
use super::parser::{Asked, Protocol};
use super::reader::AnswerReader;
use super::split::{Receive, Splitter};
use super::store::{Hold, Owner, Place, SessionStore};
use crate::body::Observe;
use countersign_core::encoding::Digest;
use hyper::HeaderMap;
use hyper::body::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// What the observers of a request and of its answer have in common.
pub(super) struct Exchange {
    pub(super) store: SessionStore,
    pub(super) protocol: Protocol,
    /// Token of a request to the agent; calls of the agent with it belong to the same session.
    token: Option<Digest>,
    /// Session while no context is named.
    place: Place,
    /// Whoever decides, remembers and stores holds the lock for all of it: the request may end while its answer begins.
    listed: Mutex<Listed>,
    /// Call of the request; `None` inside if it is none. Not set until the body has passed.
    asked: OnceLock<Option<Asked>>,
}

/// Where the events of an exchange are listed.
#[derive(Default)]
struct Listed {
    /// Session of the context that was named.
    named: Option<Owner>,
    /// Keeps the session until the answer has ended.
    hold: Option<Hold>,
}

impl Exchange {
    /// An exchange by a request whose body is still to pass.
    pub(super) fn new(store: SessionStore, protocol: Protocol, place: Place, token: Option<Digest>) -> Self {
        Self { store, protocol, token, place, listed: Mutex::default(), asked: OnceLock::new() }
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session to which events belong by now.
    fn owner(&self, listed: &Listed) -> Owner {
        listed.named.clone().unwrap_or_else(|| self.place.now(&self.store))
    }

    /// Memory for copies of its bodies.
    fn pool(&self, direction: Direction) -> Pool {
        self.store.pool(self.place.first(), direction)
    }

    /// Takes over what the request asks, and stores its event.
    pub(super) fn asks(&self, asked: Option<Asked>, mut event: Event) {
        let mut listed = self.listed();
        if let Some(context) = asked.as_ref().and_then(|asked| asked.call.context()) {
            listed.named = Some(self.place.first().with_context(context));
        }
        let asked = self.asked.get_or_init(|| asked);
        event.call = asked.as_ref().map(|asked| Arc::clone(&asked.call));
        let owner = self.owner(&listed);
        if let Some(token) = self.token {
            self.store.remember(token, &owner, event.call.is_some());
        }
        listed.hold = Some(self.store.add_held(&owner, event));
    }

    /// Takes over the context that the answer names, if the request named none: the request's event and what the agent did
    /// for it go with it.
    fn names(&self, context: &str, event: &Event) {
        let (mut listed, first) = (self.listed(), self.place.first());
        if listed.named.is_some() || !matches!(self.asked.get(), Some(Some(_))) || !first.is_default() {
            return;
        }
        let owner = first.with_context(context);
        if let Some(token) = self.token {
            self.store.remember(token, &owner, true);
        }
        if let Some(hold) = self.store.move_exchange(first, &owner, &event.request, self.token) {
            listed.hold = Some(hold);
        }
        listed.named = Some(owner);
    }

    /// Stores the event of the answer.
    pub(super) fn answered(&self, answer: Option<Answer>, mut event: Event) {
        event.call = self.asked.get().and_then(Option::as_ref).map(|asked| Arc::clone(&asked.call));
        // An answer says little without its question, except how many tokens it took.
        let answer = answer.filter(|answer| event.call.is_some() || matches!(answer, Answer::Inference(_)));
        event.answer = answer.map(Box::new);
        let listed = self.listed();
        self.store.add(&self.owner(&listed), event);
    }
}

/// Observer of the body of a request; it stores the event at the end of the body.
pub(super) struct RequestObserver {
    exchange: Arc<Exchange>,
    splitter: Splitter,
    first: FirstMessage,
    event: Option<Event>,
}

/// The first message of a body.
enum FirstMessage {
    Awaited,
    Read(Buffer),
    /// It is not read, because it is too large or compressed.
    Unread,
}

impl RequestObserver {
    /// An observer of a body in this form.
    pub(super) fn new(exchange: Arc<Exchange>, form: Form, event: Event) -> Self {
        let splitter = Splitter::new(form, &exchange.pool(event.request.direction));
        Self { exchange, splitter, first: FirstMessage::Awaited, event: Some(event) }
    }
}

impl Receive for FirstMessage {
    fn message(&mut self, message: Option<&mut Buffer>) {
        if matches!(self, Self::Awaited) {
            *self = message.map_or(Self::Unread, |message| Self::Read(message.split_off()));
        }
    }
}

impl Observe for RequestObserver {
    fn data(&mut self, bytes: &Bytes) {
        self.splitter.data(bytes, &mut self.first);
    }

    fn trailers(&mut self, _: &HeaderMap) {}

    fn end(&mut self, whole: bool) {
        let Some(event) = self.event.take() else { return };
        let (protocol, method) = (self.exchange.protocol, event.request.method.as_str());
        if whole {
            self.splitter.end(&mut self.first);
        }
        let asked = match &mut self.first {
            FirstMessage::Read(message) => protocol.call_of_body(method, message.take()),
            FirstMessage::Awaited | FirstMessage::Unread => protocol.call_of_head(method),
        };
        self.exchange.asks(asked, event);
    }
}

/// Observer of the body of an answer; it stores the event at the end of the body.
pub(super) struct AnswerObserver {
    exchange: Arc<Exchange>,
    splitter: Splitter,
    reader: Option<AnswerReader>,
    event: Option<Event>,
    /// When the request came.
    began: Instant,
    /// True once the session cannot change any more.
    settled: bool,
}

impl AnswerObserver {
    /// An observer of a body in this form, under the head that `reader` has read.
    pub(super) fn new(
        exchange: Arc<Exchange>,
        form: Form,
        reader: AnswerReader,
        event: Event,
        began: Instant,
    ) -> Self {
        let splitter = Splitter::new(form, &exchange.pool(event.request.direction));
        Self { exchange, splitter, reader: Some(reader), event: Some(event), began, settled: false }
    }

    /// Moves to the session of the context that the answer names, as soon as it does.
    fn settle(&mut self) {
        let (Some(reader), Some(event)) = (&self.reader, &self.event) else { return };
        if let Some(context) = reader.context().filter(|_| !self.settled) {
            // Asked first: if the request ends right after, the next bytes name it.
            self.settled = self.exchange.asked.get().is_some();
            self.exchange.names(context, event);
        }
    }
}

impl Observe for AnswerObserver {
    fn data(&mut self, bytes: &Bytes) {
        let Some(reader) = &mut self.reader else { return };
        if let Some(Some(asked)) = self.exchange.asked.get() {
            reader.answers(asked.id.as_ref());
        }
        self.splitter.data(bytes, reader);
        self.settle();
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(reader) = &mut self.reader {
            reader.status(trailers);
        }
    }

    fn end(&mut self, whole: bool) {
        if let Some(reader) = self.reader.as_mut().filter(|_| whole) {
            self.splitter.end(reader);
        }
        self.settle();
        let (Some(reader), Some(mut event)) = (self.reader.take(), self.event.take()) else { return };
        event.ended(self.began);
        self.exchange.answered(reader.finish(), event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::{Caller, Head, Phase};
    use crate::events::store::Bounds;
    use countersign_core::encoding::sha256;
    use countersign_core::time::Timestamp;
    use countersign_io::clock::instant;
    use serde_json::Value;

    const REQUEST: &str = r#"{"id":1,"method":"message/send","params":{}}"#;
    const ANSWER: &str =
        r#"{"id":1,"result":{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"}}}"#;

    fn store() -> SessionStore {
        SessionStore::new(Bounds { events: 10, sessions: 10, bytes: 1_000_000, idle: 60 })
    }

    fn event(phase: Phase, request: &Arc<Head>) -> Event {
        let (at, request) = (Timestamp::from_unix(1), Arc::clone(request));
        let invocations = Arc::default();
        Event {
            at,
            request,
            phase,
            call: None,
            answer: None,
            invocations,
            status: None,
            error: None,
            duration_ms: None,
        }
    }

    /// Observers of a request and its answer, which come in these steps: `true` for the request's. Then all sessions.
    fn pass(store: &SessionStore, user: &[u8], form: Form, steps: &[(bool, &str)]) -> Vec<Value> {
        let head = Arc::new(Head {
            direction: Direction::Inbound,
            method: "POST".to_owned(),
            host: "a".to_owned(),
            path: "/".to_owned(),
            caller: Caller::default(),
            joined: None,
        });
        let place = Place::of_user(Some(sha256(user)));
        let exchange = Exchange::new(store.clone(), Protocol::A2aRpc, place, Some(sha256(b"token")));
        let exchange = Arc::new(exchange);
        let mut asking =
            RequestObserver::new(Arc::clone(&exchange), Form::Json, event(Phase::Request, &head));
        let reader = AnswerReader::new(exchange.protocol, form);
        let mut answering =
            AnswerObserver::new(exchange, form, reader, event(Phase::Response, &head), instant());
        for (is_request, bytes) in steps {
            let observer: &mut dyn Observe = if *is_request { &mut asking } else { &mut answering };
            if bytes.is_empty() {
                observer.end(true);
            } else {
                observer.data(&Bytes::copy_from_slice(bytes.as_bytes()));
            }
        }
        let list = store.list();
        let ids = list["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap());
        ids.map(|id| store.get(id).unwrap()).collect()
    }

    #[test]
    fn the_answer_names_the_session_of_a_request_that_named_none() {
        let sessions =
            pass(&store(), b"u", Form::Json, &[(true, REQUEST), (true, ""), (false, ANSWER), (false, "")]);
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert!(sessions[0]["id"].as_str().unwrap().starts_with("c."), "{sessions:?}");
        let events = sessions[0]["events"].as_array().unwrap();
        let told: Vec<_> =
            events.iter().map(|event| (&event["phase"], &event["a2a"]["finalStatus"])).collect();
        assert_eq!(told, [(&"request".into(), &Value::Null), (&"response".into(), &"completed".into())]);
        assert_eq!(events[1]["a2a"]["operation"], "SendMessage");
    }

    #[test]
    fn the_request_decides_before_the_answer_and_users_stay_apart() {
        let store = store();
        let named = REQUEST.replace("{}", r#"{"message":{"contextId":"mine"}}"#);
        let sessions =
            pass(&store, b"u", Form::Json, &[(true, &named), (true, ""), (false, ANSWER), (false, "")]);
        assert_eq!(sessions.len(), 1);
        assert!(sessions[0]["id"].as_str().unwrap().starts_with("mine."), "{sessions:?}");
        // The same contexts of another user.
        for steps in [[(true, named.as_str()), (true, "")], [(true, REQUEST), (true, "")]] {
            pass(&store, b"v", Form::Json, &[steps[0], steps[1], (false, ANSWER), (false, "")]);
        }
        let sessions = store.list();
        let ids: Vec<&str> =
            sessions["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 3, "{ids:?}");
        assert_eq!(ids.iter().filter(|id| id.starts_with("mine.")).count(), 2, "{ids:?}");
    }

    #[test]
    fn a_stream_names_the_session_with_its_first_event() {
        let (store, first) = (store(), format!("data: {ANSWER}\n\n"));
        let sessions = pass(&store, b"u", Form::Events, &[(true, REQUEST), (true, ""), (false, &first)]);
        let known = store.of_token(sha256(b"token")).unwrap();
        assert!(known.id().starts_with("c."), "{}", known.id());
        // The stream ended with its observer, which is not the end of the body.
        assert_eq!(sessions[0]["events"].as_array().unwrap().len(), 1);
        // An answer may begin before the request has passed.
        let steps = [(false, first.as_str()), (true, REQUEST), (true, ""), (false, ": \n\n"), (false, "")];
        let sessions = pass(&self::store(), b"u", Form::Events, &steps);
        assert_eq!((sessions.len(), sessions[0]["events"].as_array().unwrap().len()), (1, 2), "{sessions:?}");
        assert!(sessions[0]["id"].as_str().unwrap().starts_with("c."), "{sessions:?}");
    }

    #[test]
    fn an_answer_to_no_call_tells_nothing() {
        for request in [r#"{"id":1,"method":"a","METHOD":"b"}"#, "[]", "{"] {
            let steps = [(true, request), (true, ""), (false, ANSWER), (false, "")];
            let sessions = pass(&store(), b"u", Form::Json, &steps);
            assert_eq!(sessions.len(), 1, "{request}");
            let events = sessions[0]["events"].as_array().unwrap();
            assert!(events.len() == 2 && events.iter().all(|event| event["a2a"].is_null()), "{events:?}");
        }
    }

    #[test]
    fn a_request_that_names_two_contexts_names_none() {
        let named = REQUEST.replace("{}", r#"{"contextId":"innocent","message":{"contextId":"real"}}"#);
        let steps = [(true, named.as_str()), (true, ""), (false, ANSWER), (false, "")];
        let sessions = pass(&store(), b"u", Form::Json, &steps);
        assert!(sessions[0]["id"].as_str().unwrap().starts_with("default."), "{sessions:?}");
    }

    #[test]
    fn an_error_beside_a_null_result_is_told() {
        let failed = r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":-32001,"message":"x"}}"#;
        let steps = [(true, REQUEST), (true, ""), (false, failed), (false, "")];
        let sessions = pass(&store(), b"u", Form::Json, &steps);
        assert_eq!(sessions[0]["events"][1]["a2a"]["error"]["code"], -32001, "{sessions:?}");
    }

    fn head(direction: Direction, path: &str) -> Arc<Head> {
        let (method, host, path) = ("POST".to_owned(), "a".to_owned(), path.to_owned());
        Arc::new(Head { direction, method, host, path, caller: Caller::default(), joined: None })
    }

    #[test]
    fn an_answer_that_races_the_end_of_its_request_finds_it() {
        for _ in 0..1000 {
            let (store, request) = (store(), head(Direction::Inbound, "/"));
            let place = Place::of_user(Some(sha256(b"u")));
            let token = sha256(b"token");
            let exchange = Arc::new(Exchange::new(store.clone(), Protocol::A2aRpc, place, Some(token)));
            let (asks, start) = (Arc::clone(&exchange), Arc::new(std::sync::Barrier::new(2)));
            let reader = AnswerReader::new(exchange.protocol, Form::Events);
            let mut answer = AnswerObserver::new(
                exchange,
                Form::Events,
                reader,
                event(Phase::Response, &request),
                instant(),
            );
            let (waits, call) = (Arc::clone(&start), asks.protocol.call_of_body("POST", REQUEST.into()));
            let asking = std::thread::spawn(move || {
                waits.wait();
                asks.asks(call, event(Phase::Request, &request));
            });
            let first = Bytes::from(format!("data: {ANSWER}\n\n"));
            start.wait();
            answer.data(&first);
            while !answer.settled {
                answer.data(&Bytes::from_static(b": \n"));
            }
            asking.join().unwrap();
            let list = store.list();
            assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
            assert!(list["sessions"][0]["id"].as_str().unwrap().starts_with("c."), "{list}");
            assert!(store.of_token(token).unwrap().id().starts_with("c."));
        }
    }

    /// Observer of the answer to a request of a user, which has passed.
    fn asked(store: &SessionStore, user: &[u8], token: &[u8], request: &Arc<Head>) -> AnswerObserver {
        let place = Place::of_user(Some(sha256(user)));
        let exchange = Exchange::new(store.clone(), Protocol::A2aRpc, place, Some(sha256(token)));
        let exchange = Arc::new(exchange);
        exchange.asks(
            exchange.protocol.call_of_body("POST", REQUEST.as_bytes().to_vec()),
            event(Phase::Request, request),
        );
        let reader = AnswerReader::new(exchange.protocol, Form::Json);
        AnswerObserver::new(exchange, Form::Json, reader, event(Phase::Response, request), instant())
    }

    #[test]
    fn an_answer_is_of_the_time_of_its_end_and_its_session_waits_for_it() {
        let (store, request) = (store(), head(Direction::Inbound, "/stream"));
        let mut answer = asked(&store, b"u", b"token", &request);
        let mut late = event(Phase::Request, &head(Direction::Inbound, "/late"));
        late.at = Timestamp::from_unix(1000);
        store.add(Place::of_user(Some(sha256(b"v"))).first(), late.clone());
        let owner = Place::of_user(Some(sha256(b"u"))).first().clone();
        assert!(store.get(&owner.id()).is_some(), "its exchange lives: {}", store.list());
        answer.end(true);
        let session = store.get(&owner.id()).unwrap();
        let [first, last] = [&session["events"][0], &session["events"][1]];
        assert!(last["at"] != first["at"] && last["durationMs"].is_number(), "{session}");
        drop(answer);
        late.at = Timestamp::from_unix(4_000_000_000);
        store.add(Place::of_user(Some(sha256(b"v"))).first(), late);
        assert!(store.get(&owner.id()).is_none(), "{}", store.list());
    }

    #[test]
    fn calls_with_one_token_stay_when_the_exchange_of_another_moves() {
        let store = store();
        let mut a = asked(&store, b"gateway", b"token-a", &head(Direction::Inbound, "/a"));
        let _b = asked(&store, b"gateway", b"token-b", &head(Direction::Inbound, "/b"));
        for (token, path) in [(b"token-a", "/tool-of-a"), (b"token-b", "/tool-of-b")] {
            let place = Place::of_token(sha256(token), &store);
            let mut request = head(Direction::Outbound, path);
            Arc::make_mut(&mut request).joined = Some(sha256(token));
            store.add(&place.now(&store), event(Phase::Request, &request));
        }
        a.data(&Bytes::from_static(ANSWER.as_bytes()));
        a.end(true);
        let named = Place::of_user(Some(sha256(b"gateway"))).first().with_context("c");
        let session = store.get(&named.id()).unwrap().to_string();
        assert!(session.contains("/tool-of-a") && !session.contains("/tool-of-b"), "{session}");
    }

    #[test]
    fn many_conversations_of_one_user_leave_the_sessions_of_others() {
        let (store, steps) = (store(), [(true, REQUEST), (true, ""), (false, ANSWER), (false, "")]);
        pass(&store, b"alice", Form::Json, &steps);
        let alice = store.list()["sessions"][0]["id"].as_str().unwrap().to_owned();
        for number in 0..11 {
            let answer = ANSWER.replace("\"c\"", &format!("\"new{number}\""));
            let steps = [(true, REQUEST), (true, ""), (false, answer.as_str()), (false, "")];
            pass(&store, b"mallory", Form::Json, &steps);
        }
        assert!(store.get(&alice).is_some(), "{}", store.list());
        assert_eq!(store.list()["sessions"].as_array().unwrap().len(), 10);
    }

    #[test]
    fn streams_of_one_user_leave_the_requests_of_others_readable() {
        let store = store();
        let full = Bytes::from(format!("data: {}\n\n", "x".repeat(60_000)));
        let mut streams = Vec::new();
        let start = || {
            let place = Place::of_user(Some(sha256(b"mallory")));
            let exchange = Arc::new(Exchange::new(store.clone(), Protocol::Mcp, place, None));
            let reader = AnswerReader::new(exchange.protocol, Form::Events);
            let request = head(Direction::Outbound, "/mcp");
            AnswerObserver::new(exchange, Form::Events, reader, event(Phase::Response, &request), instant())
        };
        for _ in 0..20 {
            let mut one = start();
            (0..72).for_each(|_| one.data(&full));
            streams.push(one);
        }
        // What is left is taken by lines that do not end.
        for size in [60_000, 1000, 40] {
            for _ in 0..300 {
                let mut one = start();
                one.data(&Bytes::from("d".repeat(size)));
                streams.push(one);
            }
        }
        let steps = [(true, REQUEST), (true, ""), (false, ANSWER), (false, "")];
        let sessions = pass(&store, b"alice", Form::Json, &steps);
        assert_eq!(sessions[0]["events"][0]["a2a"]["operation"], "SendMessage", "{sessions:?}");
    }
}

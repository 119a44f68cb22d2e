//! Session store: events by user and context. Its bounds hold whatever callers send; whoever has most makes room.

use super::buffer::{Pool, Pools};
use super::event::{Direction, Event, Head};
use super::text::bounded;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::time::Timestamp;
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that a subscriber may be behind before it loses some.
const BEHIND: usize = 64;
/// Most tokens remembered with their sessions.
const TOKENS: usize = 4096;

/// Seconds between two searches for idle sessions.
const LOOK: i64 = 5;

/// Memory bounds of the session store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most events of one session.
    pub(crate) events: usize,
    /// Most sessions.
    pub(crate) sessions: usize,
    /// Most bytes of all events together.
    pub(crate) bytes: usize,
    /// Seconds that a session without new events is kept, once no answer is awaited.
    pub(crate) idle: i64,
}

/// Key of a session: its user and context. The user is part of the key, so that nobody adds to the session of another
/// by naming its context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    user: Digest,
    context: Arc<str>,
}

/// Context of requests that name none.
static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| "default".into());
/// User of requests without one.
static NOBODY: LazyLock<Digest> = LazyLock::new(|| sha256(b""));

impl Owner {
    /// The session of `user`, given as a digest, for requests that name no context; those without a user share one.
    pub(crate) fn new(user: Option<Digest>) -> Self {
        Self { user: user.unwrap_or_else(|| *NOBODY), context: Arc::clone(&DEFAULT) }
    }

    /// The session of a context of the same user.
    pub(crate) fn with_context(&self, context: &str) -> Self {
        let context = if context.is_empty() { Arc::clone(&DEFAULT) } else { bounded(context).into() };
        Self { user: self.user, context }
    }

    /// True for the session of requests that name no context.
    pub(super) fn is_default(&self) -> bool {
        self.context == *DEFAULT
    }

    /// ID of the session in the API: context and a digest of the user, so that equal contexts of two users differ.
    pub(crate) fn id(&self) -> String {
        let user = self.user.to_string();
        format!("{}.{}", self.context, user.get(..8).unwrap_or_default())
    }
}

/// Where the events of a request are listed while it names no context.
#[derive(Clone, Debug)]
pub(super) struct Place {
    first: Owner,
    /// Token by which a call of the agent joined the session.
    joined: Option<Digest>,
}

impl Place {
    /// The session of `user`, given as a digest.
    pub(super) fn of_user(user: Option<Digest>) -> Self {
        Self { first: Owner::new(user), joined: None }
    }

    /// The session that a token opened at the gate, or that of nobody.
    pub(super) fn of_token(token: Digest, store: &SessionStore) -> Self {
        let first = store.of_token(token).unwrap_or_else(|| Owner::new(None));
        Self { first, joined: Some(token) }
    }

    /// The session when the request came.
    pub(super) const fn first(&self) -> &Owner {
        &self.first
    }

    /// The session now: the one without a context may have got one since.
    pub(super) fn now(&self, store: &SessionStore) -> Owner {
        let joined = self.joined.filter(|_| self.first.is_default());
        let owner = joined.and_then(|token| store.of_token(token));
        owner.filter(|owner| owner.user == self.first.user).unwrap_or_else(|| self.first.clone())
    }
}

/// Sessions of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SessionStore(Arc<StoreInner>);

struct StoreInner {
    sessions: Mutex<Sessions>,
    live: broadcast::Sender<(Arc<str>, Arc<Event>)>,
    by_token: Cache<Digest, Owner>,
    pools: Pools<(Digest, Direction)>,
    /// Held once more by each subscriber.
    subscribers: Arc<()>,
}

/// Receiver of events as they are stored, with the IDs of their sessions.
pub(crate) struct Subscription {
    events: broadcast::Receiver<(Arc<str>, Arc<Event>)>,
    _counted: Arc<()>,
}

impl Subscription {
    /// The next event. A subscriber that falls behind loses some; `None` once there is no store any more.
    pub(crate) async fn next(&mut self) -> Option<(Arc<str>, Arc<Event>)> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

struct Sessions {
    bounds: Bounds,
    by_owner: BTreeMap<Owner, Session>,
    bytes: usize,
    looked: Timestamp,
}

struct Session {
    id: Arc<str>,
    events: VecDeque<(usize, Arc<Event>)>,
    /// Bytes of its events.
    bytes: usize,
    updated: Timestamp,
    /// Held once more by each exchange whose answer is still to come.
    holds: Arc<()>,
}

/// Mark of an exchange on its session, which is not idle while one exists.
pub(super) struct Hold {
    _counted: Arc<()>,
}

impl Session {
    fn new(owner: &Owner) -> Self {
        let (id, updated) = (owner.id().into(), Timestamp::default());
        Self { id, events: VecDeque::new(), bytes: 0, updated, holds: Arc::default() }
    }

    fn hold(&self) -> Hold {
        Hold { _counted: Arc::clone(&self.holds) }
    }
}

impl SessionStore {
    /// Makes an empty store.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let (live, _) = broadcast::channel(BEHIND);
        let sessions = Sessions { bounds, by_owner: BTreeMap::new(), bytes: 0, looked: Timestamp::default() };
        Self(Arc::new(StoreInner {
            sessions: Mutex::new(sessions),
            live,
            by_token: Cache::new(TOKENS),
            pools: Pools::default(),
            subscribers: Arc::new(()),
        }))
    }

    /// Replaces the bounds, and drops what exceeds the new ones.
    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        self.with(|sessions| {
            sessions.bounds = bounds;
            sessions.shrink();
        });
    }

    /// Stores an event and sends it to subscribers.
    pub(crate) fn add(&self, owner: &Owner, event: Event) {
        drop(self.add_held(owner, event));
    }

    /// Stores an event of an exchange whose answer is still to come.
    pub(super) fn add_held(&self, owner: &Owner, event: Event) -> Hold {
        let event = Arc::new(event);
        let (id, hold) = self.with(|sessions| sessions.add(owner, Arc::clone(&event)));
        // The usual case is that nobody subscribes, and then nothing else is locked. Who subscribes now asked too late.
        if Arc::strong_count(&self.0.subscribers) > 1 {
            let _ = self.0.live.send((id, event));
        }
        hold
    }

    /// Moves the events of a request from one session of a user to another of the same user, with those of the calls that
    /// the agent made since with the token of the request: they were for it. The hold is on the session to which they
    /// moved; `None` if they did not.
    pub(super) fn move_exchange(
        &self,
        from: &Owner,
        to: &Owner,
        request: &Arc<Head>,
        token: Option<Digest>,
    ) -> Option<Hold> {
        if from == to || from.user != to.user {
            return None;
        }
        self.with(|sessions| sessions.move_exchange(from, to, request, token))
    }

    /// Remembers the session that a token opened, so that calls of the agent with the same token join it. A request that is
    /// no call only adds what was not known.
    pub(crate) fn remember(&self, token: Digest, owner: &Owner, is_call: bool) {
        if self.0.by_token.get(&token).is_none_or(|known| is_call && known != *owner) {
            self.0.by_token.insert(token, owner.clone());
        }
    }

    /// Memory for copies of bodies of this user in this direction while they are read.
    pub(super) fn pool(&self, owner: &Owner, direction: Direction) -> Pool {
        self.0.pools.of((owner.user, direction))
    }

    /// The session that a token opened.
    pub(crate) fn of_token(&self, token: Digest) -> Option<Owner> {
        self.0.by_token.get(&token)
    }

    /// Receiver of events from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let counted = Arc::clone(&self.0.subscribers);
        Subscription { events: self.0.live.subscribe(), _counted: counted }
    }

    /// All sessions, newest first, without their events.
    pub(crate) fn list(&self) -> Value {
        self.with(|sessions| {
            let mut all: Vec<_> = sessions.by_owner.values().collect();
            all.sort_by_key(|session| Reverse(session.updated));
            let shown = all.into_iter().map(|session| {
                json!({ "id": &*session.id, "updatedAt": session.updated.to_string(), "events": session.events.len() })
            });
            json!({ "sessions": shown.collect::<Vec<_>>() })
        })
    }

    /// One session with its events.
    pub(crate) fn get(&self, id: &str) -> Option<Value> {
        self.with(|sessions| {
            let session = sessions.by_owner.values().find(|session| *session.id == *id)?;
            let events: Vec<Value> = session.events.iter().map(|(_, event)| event.json(id)).collect();
            Some(json!({ "id": id, "updatedAt": session.updated.to_string(), "events": events }))
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Sessions) -> T) -> T {
        work(&mut self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sessions {
    fn add(&mut self, owner: &Owner, event: Arc<Event>) -> (Arc<str>, Hold) {
        let (weight, now) = (event.weight(), event.at);
        let stored = self.put(owner, [(weight, event)], now);
        self.bytes = self.bytes.saturating_add(weight);
        self.remove_idle(now);
        self.shrink();
        stored
    }

    /// Appends events to a session; what exceeds its bound is dropped, the oldest first.
    fn put(
        &mut self,
        owner: &Owner,
        events: impl IntoIterator<Item = (usize, Arc<Event>)>,
        now: Timestamp,
    ) -> (Arc<str>, Hold) {
        let session = match self.by_owner.get_mut(owner) {
            Some(session) => session,
            None => self.by_owner.entry(owner.clone()).or_insert_with(|| Session::new(owner)),
        };
        session.updated = session.updated.max(now);
        for (weight, event) in events {
            session.bytes = session.bytes.saturating_add(weight);
            session.events.push_back((weight, event));
        }
        let mut freed = 0_usize;
        while session.events.len() > self.bounds.events {
            freed = session.events.pop_front().map_or(0, |(weight, _)| weight).saturating_add(freed);
        }
        session.bytes = session.bytes.saturating_sub(freed);
        self.bytes = self.bytes.saturating_sub(freed);
        (Arc::clone(&session.id), session.hold())
    }

    fn move_exchange(
        &mut self,
        from: &Owner,
        to: &Owner,
        request: &Arc<Head>,
        token: Option<Digest>,
    ) -> Option<Hold> {
        let session = self.by_owner.get_mut(from)?;
        let began = session.events.iter().position(|(_, event)| Arc::ptr_eq(&event.request, request))?;
        let goes = |event: &Event| {
            let is_for_it = token.is_some() && event.request.joined == token;
            is_for_it || Arc::ptr_eq(&event.request, request)
        };
        let since = session.events.split_off(began);
        let (moved, kept): (VecDeque<_>, VecDeque<_>) = since.into_iter().partition(|(_, event)| goes(event));
        session.events.extend(kept);
        let gone = moved.iter().fold(0_usize, |sum, (weight, _)| sum.saturating_add(*weight));
        session.bytes = session.bytes.saturating_sub(gone);
        let (is_empty, updated) = (session.events.is_empty(), session.updated);
        if is_empty {
            self.by_owner.remove(from);
        }
        let (_, hold) = self.put(to, moved, updated);
        self.shrink();
        Some(hold)
    }

    /// Drops whole sessions until the bounds hold.
    fn shrink(&mut self) {
        loop {
            let exceeded: fn(&Session) -> usize = if self.by_owner.len() > self.bounds.sessions {
                |_| 1
            } else if self.bytes > self.bounds.bytes {
                |session| session.bytes
            } else {
                return;
            };
            let Some(owner) = self.most(exceeded) else { return };
            self.remove(&owner);
        }
    }

    /// The least recently used session of the user whose sessions have most together, so that nobody displaces those of
    /// others by opening many. Among equals it is the least recently used of all.
    fn most(&self, of: fn(&Session) -> usize) -> Option<Owner> {
        let mut users: BTreeMap<&Digest, (usize, Reverse<Timestamp>, &Owner)> = BTreeMap::new();
        for (owner, session) in &self.by_owner {
            let (sum, oldest, first) =
                users.entry(&owner.user).or_insert((0, Reverse(session.updated), owner));
            *sum = sum.saturating_add(of(session));
            if Reverse(session.updated) > *oldest {
                (*oldest, *first) = (Reverse(session.updated), owner);
            }
        }
        users.into_values().max_by_key(|(sum, oldest, _)| (*sum, *oldest)).map(|(.., owner)| owner.clone())
    }

    fn remove_idle(&mut self, now: Timestamp) {
        if now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let idle = self.bounds.idle;
        let is_idle =
            |session: &Session| now.since(session.updated) > idle && Arc::strong_count(&session.holds) == 1;
        let ended = self.by_owner.iter().filter(|(_, session)| is_idle(session));
        for owner in ended.map(|(owner, _)| owner.clone()).collect::<Vec<_>>() {
            self.remove(&owner);
        }
    }

    fn remove(&mut self, owner: &Owner) {
        let Some(session) = self.by_owner.remove(owner) else { return };
        self.bytes = self.bytes.saturating_sub(session.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::{Caller, Phase};

    fn event(at: i64, path: &str) -> Event {
        Event {
            at: Timestamp::from_unix(at),
            request: Arc::new(Head {
                direction: Direction::Inbound,
                method: "GET".to_owned(),
                host: "a".to_owned(),
                path: path.to_owned(),
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
        }
    }

    fn store(events: usize, sessions: usize, bytes: usize) -> SessionStore {
        SessionStore::new(Bounds { events, sessions, bytes, idle: 60 })
    }

    #[test]
    fn the_same_context_of_two_users_is_two_sessions() {
        let store = store(10, 10, 100_000);
        let alice = Owner::new(Some(sha256(b"alice"))).with_context("c");
        let bob = Owner::new(Some(sha256(b"bob"))).with_context("c");
        store.add(&alice, event(1, "/a"));
        store.add(&bob, event(1, "/b"));
        assert_ne!(alice.id(), bob.id());
        assert_eq!(store.get(&alice.id()).unwrap()["events"].as_array().unwrap().len(), 1);
        let token = sha256(b"token");
        store.remember(token, &alice, true);
        assert_eq!(store.of_token(token), Some(alice));
        assert_eq!(store.of_token(sha256(b"other")), None);
    }

    /// Paths of the events of a session.
    fn paths(store: &SessionStore, owner: &Owner) -> Vec<String> {
        let session = store.get(&owner.id()).unwrap_or_default();
        let events = session["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["path"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_exchange_moves_with_what_the_agent_did_with_its_token() {
        let (one, another) = (Some(sha256(b"token")), Some(sha256(b"another")));
        for (token, joined, expected) in [
            (one, one, ["/call", "/tool", "/tool2"].as_slice()),
            (one, another, &["/call"]),
            (one, None, &["/call"]),
            (None, one, &["/call"]),
            (None, None, &["/call"]),
        ] {
            let (store, of) = (store(10, 10, 100_000), Owner::new(Some(sha256(b"alice"))));
            let outbound = |path: &str| {
                let mut event = event(3, path);
                let head = Arc::make_mut(&mut event.request);
                (head.direction, head.joined) = (Direction::Outbound, joined);
                event
            };
            let call = event(2, "/call");
            let named = of.with_context("c");
            store.add(&of, outbound("/before"));
            store.add(&of, call.clone());
            store.add(&of, outbound("/tool"));
            store.add(&of, event(3, "/another-call"));
            store.add(&of, outbound("/tool2"));
            let bytes = store.with(|sessions| sessions.bytes);
            drop(store.move_exchange(
                &of,
                &Owner::new(Some(sha256(b"bob"))).with_context("c"),
                &call.request,
                token,
            ));
            assert_eq!(paths(&store, &of).len(), 5, "never to another user");
            drop(store.move_exchange(&of, &named, &call.request, token));
            assert_eq!(paths(&store, &named), expected);
            assert_eq!(paths(&store, &of).len(), 5 - expected.len());
            assert_eq!(store.with(|sessions| sessions.bytes), bytes);
            drop(store.move_exchange(&of, &named, &call.request, token));
            assert_eq!(paths(&store, &named), expected);
        }
        // The bounds hold after it too, and a session that is empty is none.
        let (store, of) = (store(2, 10, 100_000), Owner::new(Some(sha256(b"alice"))));
        let call = event(1, "/c");
        store.add(&of.with_context("c"), event(1, "/a"));
        store.add(&of.with_context("c"), event(1, "/b"));
        store.add(&of, call.clone());
        drop(store.move_exchange(&of, &of.with_context("c"), &call.request, one));
        assert_eq!(paths(&store, &of.with_context("c")), ["/b", "/c"]);
        assert_eq!(store.list()["sessions"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_call_of_the_agent_follows_the_session_that_its_token_opened() {
        let (store, token) = (store(10, 10, 100_000), sha256(b"token"));
        let (of, bob) = (Owner::new(Some(sha256(b"alice"))), Owner::new(Some(sha256(b"bob"))));
        store.remember(token, &of, false);
        let place = Place::of_token(token, &store);
        assert_eq!(place.now(&store), of);
        store.remember(token, &of.with_context("c"), true);
        assert_eq!(place.now(&store), of.with_context("c"));
        // What is no call does not take the session away from those that are.
        store.remember(token, &of, false);
        assert_eq!(Place::of_token(token, &store).now(&store), of.with_context("c"));
        store.remember(token, &bob, true);
        assert_eq!(place.now(&store), of, "never into another user's");
    }

    #[test]
    fn memory_is_bounded_by_events_sessions_and_bytes() {
        let many = store(3, 2, 1_000_000);
        for at in 0..10 {
            many.add(&Owner::new(None).with_context(&format!("c{}", at % 4)), event(at, "/"));
        }
        assert_eq!(many.list()["sessions"].as_array().unwrap().len(), 2);
        let one = Owner::new(None);
        for at in 0..10 {
            many.add(&one, event(20 + at, "/"));
        }
        assert_eq!(many.get(&one.id()).unwrap()["events"].as_array().unwrap().len(), 3);
        let heavy = store(1_000, 1_000, 10_000);
        for at in 0..100 {
            heavy.add(&Owner::new(None).with_context(&at.to_string()), event(at, &"x".repeat(1_000)));
        }
        assert!(heavy.list()["sessions"].as_array().unwrap().len() < 10);
    }

    #[test]
    fn whoever_has_most_makes_room() {
        let of = |user: &str, context: &str| Owner::new(Some(sha256(user.as_bytes()))).with_context(context);
        for (bounds, many) in [((100, 3, 1_000_000), "/"), ((100, 100, 10_000), &*"x".repeat(3_000))] {
            let store = store(bounds.0, bounds.1, bounds.2);
            store.add(&of("alice", "old"), event(1, "/"));
            for at in 0..10 {
                store.add(&of("mallory", &at.to_string()), event(10 + at, many));
            }
            assert_eq!(paths(&store, &of("alice", "old")), ["/"], "{}", store.list());
            assert_eq!(paths(&store, &of("mallory", "9")), [many], "{}", store.list());
            let counted = |sessions: &mut Sessions| {
                let all = sessions.by_owner.values();
                let events = all.clone().flat_map(|one| &one.events).map(|(weight, _)| weight).sum::<usize>();
                assert_eq!(
                    (all.map(|one| one.bytes).sum::<usize>(), events),
                    (sessions.bytes, sessions.bytes)
                );
            };
            store.with(counted);
        }
        // Among equals the one that rests longest goes.
        let store = store(100, 2, 1_000_000);
        for (at, user) in ["a", "b", "c"].into_iter().enumerate() {
            store.add(&of(user, "c"), event(i64::try_from(at).unwrap(), "/"));
        }
        assert!(store.get(&of("a", "c").id()).is_none() && store.get(&of("c", "c").id()).is_some());
    }

    #[test]
    fn a_session_that_rests_is_forgotten() {
        let store = store(10, 10, 100_000);
        store.add(&Owner::new(None).with_context("old"), event(100, "/"));
        store.add(&Owner::new(None).with_context("new"), event(161, "/"));
        assert_eq!(store.list()["sessions"].as_array().unwrap().len(), 1);
    }
}

//! Session store: events by user and context, oldest dropped first. Its bounds hold whatever callers send.

use super::event::Event;
use super::text::bounded;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::time::Timestamp;
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::broadcast;

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
    /// Seconds that a session without new events is kept.
    pub(crate) idle: i64,
}

/// Key of a session: its user and context. The user is part of the key, so that nobody adds to the session of another
/// by naming its context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    user: Digest,
    context: String,
}

impl Owner {
    /// The session `context` of `user`, given as a digest; requests without a user share one.
    pub(crate) fn new(user: Option<Digest>, context: Option<&str>) -> Self {
        static NOBODY: LazyLock<Digest> = LazyLock::new(|| sha256(b""));
        let user = user.unwrap_or_else(|| *NOBODY);
        let context = context.filter(|context| !context.is_empty()).unwrap_or("default");
        Self { user, context: bounded(context) }
    }

    /// The session of another context of the same user.
    pub(crate) fn with_context(&self, context: &str) -> Self {
        Self { user: self.user, context: bounded(context) }
    }

    /// ID of the session in the API: context and a digest of the user, so that equal contexts of two users differ.
    pub(crate) fn id(&self) -> String {
        let user = self.user.to_string();
        format!("{}.{}", self.context, user.get(..8).unwrap_or_default())
    }
}

/// Sessions of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SessionStore(Arc<StoreInner>);

struct StoreInner {
    sessions: Mutex<Sessions>,
    live: broadcast::Sender<(Arc<str>, Arc<Event>)>,
    by_token: Cache<Digest, Owner>,
}

struct Sessions {
    bounds: Bounds,
    by_owner: BTreeMap<Owner, Session>,
    bytes: usize,
    looked: Timestamp,
}

#[derive(Default)]
struct Session {
    id: Option<Arc<str>>,
    events: VecDeque<(usize, Arc<Event>)>,
    updated: Timestamp,
}

impl SessionStore {
    /// Makes an empty store.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let (live, _) = broadcast::channel(BEHIND);
        let sessions = Sessions { bounds, by_owner: BTreeMap::new(), bytes: 0, looked: Timestamp::default() };
        Self(Arc::new(StoreInner { sessions: Mutex::new(sessions), live, by_token: Cache::new(TOKENS) }))
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
        let event = Arc::new(event);
        let id = self.with(|sessions| sessions.add(owner, Arc::clone(&event)));
        // `send` fails only without a subscriber, which is the usual case.
        let _ = self.0.live.send((id, event));
    }

    /// Remembers the session that a token opened, so that calls of the agent with the same token join it.
    pub(crate) fn remember(&self, token: Digest, owner: &Owner) {
        if self.0.by_token.get(&token).is_none_or(|known| known != *owner) {
            self.0.by_token.insert(token, owner.clone());
        }
    }

    /// The session that a token opened.
    pub(crate) fn of_token(&self, token: Digest) -> Option<Owner> {
        self.0.by_token.get(&token)
    }

    /// Receiver of events from now on, with the IDs of their sessions.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<(Arc<str>, Arc<Event>)> {
        self.0.live.subscribe()
    }

    /// All sessions, newest first, without their events.
    pub(crate) fn list(&self) -> Value {
        self.with(|sessions| {
            let mut all: Vec<_> = sessions.by_owner.iter().collect();
            all.sort_by_key(|(_, session)| std::cmp::Reverse(session.updated));
            let shown = all.into_iter().map(|(owner, session)| {
                json!({ "id": owner.id(), "updatedAt": session.updated.to_string(), "events": session.events.len() })
            });
            json!({ "sessions": shown.collect::<Vec<_>>() })
        })
    }

    /// One session with its events.
    pub(crate) fn get(&self, id: &str) -> Option<Value> {
        self.with(|sessions| {
            let (_, session) = sessions.by_owner.iter().find(|(owner, _)| owner.id() == id)?;
            let events: Vec<Value> = session.events.iter().map(|(_, event)| event.json(id)).collect();
            Some(json!({ "id": id, "updatedAt": session.updated.to_string(), "events": events }))
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Sessions) -> T) -> T {
        work(&mut self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sessions {
    fn add(&mut self, owner: &Owner, event: Arc<Event>) -> Arc<str> {
        let weight = event.weight();
        let now = event.at;
        if !self.by_owner.contains_key(owner) {
            self.by_owner.insert(owner.clone(), Session::default());
        }
        let mut freed = 0;
        let mut id: Arc<str> = "".into();
        if let Some(session) = self.by_owner.get_mut(owner) {
            id = Arc::clone(session.id.get_or_insert_with(|| owner.id().into()));
            session.updated = now;
            session.events.push_back((weight, event));
            while session.events.len() > self.bounds.events {
                freed = session.events.pop_front().map_or(0, |(weight, _)| weight).saturating_add(freed);
            }
        }
        self.bytes = self.bytes.saturating_add(weight).saturating_sub(freed);
        self.remove_idle(now);
        self.shrink();
        id
    }

    /// Drops whole sessions, the least recently used first, until the bounds hold.
    fn shrink(&mut self) {
        while self.by_owner.len() > self.bounds.sessions || self.bytes > self.bounds.bytes {
            let oldest = self.by_owner.iter().min_by_key(|(_, session)| session.updated);
            let Some(owner) = oldest.map(|(owner, _)| owner.clone()) else { return };
            self.remove(&owner);
        }
    }

    fn remove_idle(&mut self, now: Timestamp) {
        if now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let idle = self.bounds.idle;
        let ended = self.by_owner.iter().filter(|(_, session)| now.since(session.updated) > idle);
        for owner in ended.map(|(owner, _)| owner.clone()).collect::<Vec<_>>() {
            self.remove(&owner);
        }
    }

    fn remove(&mut self, owner: &Owner) {
        let Some(session) = self.by_owner.remove(owner) else { return };
        let weight = session.events.iter().fold(0_usize, |sum, (weight, _)| sum.saturating_add(*weight));
        self.bytes = self.bytes.saturating_sub(weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::{Caller, Direction, Head, Phase};

    fn event(at: i64, path: &str) -> Event {
        Event {
            at: Timestamp::from_unix(at),
            request: Arc::new(Head {
                direction: Direction::Inbound,
                method: "GET".to_owned(),
                host: "a".to_owned(),
                path: path.to_owned(),
                caller: Caller::default(),
            }),
            phase: Phase::Request,
            call: None,
            invocations: Vec::new(),
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
        let alice = Owner::new(Some(sha256(b"alice")), Some("c"));
        let bob = Owner::new(Some(sha256(b"bob")), Some("c"));
        store.add(&alice, event(1, "/a"));
        store.add(&bob, event(1, "/b"));
        assert_ne!(alice.id(), bob.id());
        assert_eq!(store.get(&alice.id()).unwrap()["events"].as_array().unwrap().len(), 1);
        let token = sha256(b"token");
        store.remember(token, &alice);
        assert_eq!(store.of_token(token), Some(alice));
        assert_eq!(store.of_token(sha256(b"other")), None);
    }

    #[test]
    fn memory_is_bounded_by_events_sessions_and_bytes() {
        let many = store(3, 2, 1_000_000);
        for at in 0..10 {
            many.add(&Owner::new(None, Some(&format!("c{}", at % 4))), event(at, "/"));
        }
        assert_eq!(many.list()["sessions"].as_array().unwrap().len(), 2);
        let one = Owner::new(None, None);
        for at in 0..10 {
            many.add(&one, event(20 + at, "/"));
        }
        assert_eq!(many.get(&one.id()).unwrap()["events"].as_array().unwrap().len(), 3);
        let heavy = store(1_000, 1_000, 10_000);
        for at in 0..100 {
            heavy.add(&Owner::new(None, Some(&at.to_string())), event(at, &"x".repeat(1_000)));
        }
        assert!(heavy.list()["sessions"].as_array().unwrap().len() < 10);
    }

    #[test]
    fn a_session_that_rests_is_forgotten() {
        let store = store(10, 10, 100_000);
        store.add(&Owner::new(None, Some("old")), event(100, "/"));
        store.add(&Owner::new(None, Some("new")), event(161, "/"));
        assert_eq!(store.list()["sessions"].as_array().unwrap().len(), 1);
    }
}

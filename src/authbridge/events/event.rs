//! Event of the session API, in the JSON form of the existing AuthBridge.

use super::answer::Answer;
use super::call::Call;
use countersign_core::encoding::Digest;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use serde_json::{Map, Value, json};
use std::mem::size_of;
use std::sync::Arc;
use std::time::Instant;

/// Direction of a request, as seen from the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// To the agent.
    Inbound,
    /// From the agent.
    Outbound,
}

impl Direction {
    /// Text of the direction in events.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// State of a request at its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The request was passed on.
    Request,
    /// The response to the request began, or ended if its body is read.
    Response,
    /// The request was denied.
    Denied,
}

/// Action of one plugin on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// Name of the plugin.
    pub(crate) plugin: &'static str,
    /// `allow`, `deny`, `skip`, `modify` or `observe`.
    pub(crate) action: &'static str,
    /// Reason code.
    pub(crate) reason: &'static str,
    /// True if a denial had no effect.
    pub(crate) shadow: bool,
}

/// Caller of a request, as far as token and mTLS tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) subject: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) client: Option<String>,
    pub(crate) peer: Option<String>,
}

/// What all events of one request have in common.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) direction: Direction,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) caller: Caller,
    /// Token by which a call of the agent joined the session that the token opened. It is not told.
    pub(crate) joined: Option<Digest>,
}

/// Event of one request at one phase.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) request: Arc<Head>,
    pub(crate) phase: Phase,
    /// Shared by the events of request and answer, like `invocations`.
    pub(crate) call: Option<Arc<Call>>,
    /// Boxed, since most events have none.
    pub(crate) answer: Option<Box<Answer>>,
    pub(crate) invocations: Arc<[Invocation]>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<(&'static str, String)>,
    pub(crate) duration_ms: Option<f64>,
}

impl Event {
    /// Sets the time to now, and the duration to that since the request came.
    pub(super) fn ended(&mut self, began: Instant) {
        self.at = now();
        self.duration_ms = Some(began.elapsed().as_secs_f64() * 1000.0);
    }

    /// Approximate memory of the event, in bytes.
    pub(super) fn weight(&self) -> usize {
        let Head { method, host, path, caller, .. } = &*self.request;
        let (texts, scopes) = ([method, host, path], &caller.scopes);
        let caller = [&caller.subject, &caller.client, &caller.peer];
        let error = self.error.as_ref().map_or(0, |(_, message)| message.len());
        let call = self.call.as_ref().map_or(0, |call| call.weight());
        let answer = self.answer.as_ref().map_or(0, |answer| answer.weight());
        let invocations = self.invocations.len().saturating_mul(size_of::<Invocation>());
        texts
            .into_iter()
            .chain(caller.into_iter().flatten())
            .chain(scopes)
            .fold(size_of::<Self>().saturating_add(size_of::<Head>()), |sum, text| {
                sum.saturating_add(text.len())
            })
            .saturating_add(error)
            .saturating_add(call)
            .saturating_add(answer)
            .saturating_add(invocations)
    }

    /// The call with what its answer told, and the name of the member that holds both.
    fn call_json(&self) -> Option<(&'static str, Value)> {
        let (call, answer) = (self.call.as_ref(), self.answer.as_ref());
        let kind = call.map(|call| call.kind()).or_else(|| answer.map(|answer| answer.kind()))?;
        let mut members = call.map_or_else(Map::new, |call| call.json());
        if let Some(answer) = answer {
            answer.write(&mut members);
        }
        Some((kind, Value::Object(members)))
    }

    /// JSON of the event in the session with this ID.
    pub(crate) fn json(&self, session: &str) -> Value {
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
        set("sessionId", session.into());
        set("at", self.at.to_string().into());
        let Head { direction, method, host, path, caller, joined: _ } = &*self.request;
        set("direction", direction.text().into());
        let phase = match self.phase {
            Phase::Request => "request",
            Phase::Response => "response",
            Phase::Denied => "denied",
        };
        set("phase", phase.into());
        set("method", method.as_str().into());
        set("host", host.as_str().into());
        set("path", path.as_str().into());
        if let Some((kind, call)) = self.call_json() {
            set(kind, call);
        }
        let invocations = self.invocations.iter().map(|one| {
            json!({ "plugin": one.plugin, "phase": phase, "action": one.action, "reason": one.reason, "shadow": one.shadow })
        });
        set("invocations", invocations.collect());
        let Caller { subject, scopes, client, peer } = caller;
        set("identity", json!({ "subject": subject, "scopes": scopes, "clientId": client, "agentId": peer }));
        if let Some(status) = self.status {
            set("statusCode", status.into());
        }
        if let Some((code, message)) = &self.error {
            set("error", json!({ "kind": "denied", "code": code, "message": message }));
        }
        if let Some(duration) = self.duration_ms {
            set("durationMs", json!(duration));
        }
        if let Some(peer) = peer {
            set("tls", json!({ "version": "TLS 1.3", "peerSpiffeId": peer }));
        }
        Value::Object(event)
    }
}

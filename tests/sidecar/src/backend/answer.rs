//! What a server answers: a status, headers, and a body in steps that may wait.
//! Events, gRPC and upgrades are such answers too.

use serde_json::Value;
use std::time::Duration;

/// One step of a body.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes.
    Data(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Ends with these trailers, which HTTP/1.1 sends only if the header `Trailer` names them and the client
    /// said `TE: trailers`.
    Trailers(Vec<(String, String)>),
    /// Breaks the connection, or resets the stream, in the middle.
    Break,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) delay: Duration,
    pub(super) steps: Vec<Step>,
    pub(super) echo: bool,
}

impl Answer {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), delay: Duration::ZERO, steps: Vec::new(), echo: false }
    }

    /// 200 with a text.
    pub fn text(text: &str) -> Self {
        Self::status(200).header("content-type", "text/plain").body(text)
    }

    /// 200 with a JSON document.
    pub fn json(document: &Value) -> Self {
        Self::status(200).header("content-type", "application/json").body(document.to_string())
    }

    /// 200 with a stream of server-sent events, each after a pause.
    pub fn events(events: &[&str], pause: Duration) -> Self {
        let event = |event: &&str| [Step::Wait(pause), Step::Data(format!("data: {event}\n\n").into())];
        let answer = Self::status(200).header("content-type", "text/event-stream");
        answer.header("cache-control", "no-cache").steps(events.iter().flat_map(event).collect())
    }

    /// 200 with messages as gRPC frames them, and trailers with a gRPC status.
    pub fn grpc(messages: &[&[u8]], status: u32) -> Self {
        let frame = |message: &&[u8]| {
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
            Step::Data([&[0], length.as_slice(), message].concat())
        };
        let mut steps: Vec<Step> = messages.iter().map(frame).collect();
        steps.push(Step::Trailers(vec![("grpc-status".to_owned(), status.to_string())]));
        Self::status(200).header("content-type", "application/grpc").steps(steps)
    }

    /// 101 to this protocol (such as `websocket`); from then on every byte comes back.
    pub fn upgrade_and_echo(protocol: &str) -> Self {
        let answer = Self::status(101).header("connection", "upgrade").header("upgrade", protocol);
        Self { echo: true, ..answer }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Gives it a body that is sent at once, with `Content-Length`.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.steps(vec![Step::Data(body.into())])
    }

    /// Gives it a body in steps.
    #[must_use]
    pub fn steps(mut self, steps: Vec<Step>) -> Self {
        self.steps = steps;
        self
    }

    /// Waits for so long before its head.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

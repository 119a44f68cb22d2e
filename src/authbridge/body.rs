//! Bodies of requests and responses: streamed frame by frame, counted while they live, and copied for an observer.
//! A body is never collected before it is passed on, so its size costs no memory here.

use crate::calls::Call;
use crate::pending::{Ticket, millis};
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// Reader of a copy of a body; it can neither change nor delay what passes.
pub(super) trait Observe: Send + Sync {
    /// Receives the next bytes of the body, in order.
    fn data(&mut self, bytes: &Bytes);
    /// Receives the trailers, if there are any.
    fn trailers(&mut self, trailers: &HeaderMap);
    /// Receives the end, once: `whole` is false if the body broke off.
    fn end(&mut self, whole: bool);
}

/// Body that the proxy forwards, or an answer of its own.
#[derive(Default)]
pub(super) struct ProxyBody {
    // Dropped in this order: hyper learns that a body is not wanted before the ticket is given back.
    source: BodySource,
    observer: Option<Box<dyn Observe>>,
    ticket: Option<Ticket>,
    call: Option<Arc<Call>>,
    /// When its last part passed, in milliseconds of [`millis`]; `None` if nobody asks.
    flow: Option<Arc<AtomicU64>>,
    /// True for an answer: whoever does not take its next part holds up the connection of the ticket.
    is_answer: bool,
}

#[derive(Default)]
enum BodySource {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(Incoming),
}

impl ProxyBody {
    const fn of(source: BodySource) -> Self {
        Self { source, observer: None, ticket: None, call: None, flow: None, is_answer: false }
    }

    /// A body that is complete in memory.
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::of(BodySource::Full(bytes.into()))
    }

    /// A body that is still being received.
    pub(super) fn incoming(body: Incoming) -> Self {
        Self::of(BodySource::Incoming(body))
    }

    /// Holds `ticket` until the body is dropped, so that its connection is not counted as idle before.
    #[must_use]
    pub(super) fn with_ticket(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
    }

    /// Holds `ticket` of the connection on which this is the answer.
    #[must_use]
    pub(super) fn answers(mut self, ticket: Ticket) -> Self {
        self.is_answer = true;
        self.with_ticket(ticket)
    }

    /// Holds `call`, to which this is the answer, until the body is dropped.
    #[must_use]
    pub(super) fn of_call(mut self, call: Option<Arc<Call>>) -> Self {
        self.call = call;
        self
    }

    /// Notes from now on when a part passes, in milliseconds of [`millis`]; `None` for a body that has no part.
    pub(super) fn flow(&mut self) -> Option<Arc<AtomicU64>> {
        if !self.source.is_end() {
            self.flow = Some(Arc::new(AtomicU64::new(millis())));
        }
        self.flow.clone()
    }

    fn stalls(&self, since: u64) {
        if let Some(ticket) = self.ticket.as_ref().filter(|_| self.is_answer) {
            ticket.stalls(since);
        }
    }

    /// Copies what passes to `observer`.
    #[must_use]
    pub(super) fn observed_by(mut self, observer: Box<dyn Observe>) -> Self {
        self.observer = Some(observer);
        self
    }

    fn finish(&mut self, whole: bool) {
        if let Some(mut observer) = self.observer.take() {
            observer.end(whole);
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        let whole = self.source.is_end();
        self.finish(whole);
        self.stalls(0);
    }
}

impl BodySource {
    fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Incoming(body) => body.is_end_stream(),
        }
    }
}

impl HttpBody for ProxyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // Asked for more, so everything before was taken.
        self.stalls(0);
        let frame = match &mut self.source {
            BodySource::Empty => None,
            BodySource::Full(_) => match std::mem::take(&mut self.source) {
                BodySource::Full(bytes) => Some(Ok(Frame::data(bytes))),
                _ => None,
            },
            BodySource::Incoming(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        if let Some(flow) = &self.flow {
            flow.store(millis(), Ordering::Relaxed);
        }
        match &frame {
            Some(Ok(frame)) => {
                if let Some(observer) = &mut self.observer {
                    if let Some(bytes) = frame.data_ref() {
                        observer.data(bytes);
                    } else if let Some(trailers) = frame.trailers_ref() {
                        observer.trailers(trailers);
                    }
                }
            }
            Some(Err(_)) => self.finish(false),
            None => self.finish(true),
        }
        if frame.is_some() {
            self.stalls(millis());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodySource::Empty => SizeHint::with_exact(0),
            BodySource::Full(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            BodySource::Incoming(body) => body.size_hint(),
        }
    }
}

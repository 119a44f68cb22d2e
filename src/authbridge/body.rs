//! Bodies of requests and responses: streamed frame by frame, counted while they live, and copied for an observer.
//! A body is never collected before it is passed on, so its size costs no memory here.

use countersign_io::clock::instant;
use futures::task::AtomicWaker;
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Number of requests and bodies that a connection still has to finish, and for how long it has had none.
#[derive(Debug)]
pub(super) struct Pending {
    tickets: AtomicUsize,
    /// When the last ticket was given back, in milliseconds of [`millis`].
    idle_since: AtomicU64,
    /// Since when the other end has not taken the rest of an answer, in milliseconds of [`millis`]; 0 if it has.
    stalled_since: AtomicU64,
    /// Woken when the last ticket is given back.
    idle: AtomicWaker,
}

impl Default for Pending {
    fn default() -> Self {
        let (tickets, stalled_since) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { tickets, idle_since: AtomicU64::new(millis()), stalled_since, idle: AtomicWaker::new() }
    }
}

/// Milliseconds since some moment of this process, and never 0.
pub(super) fn millis() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let elapsed = BEGAN.get_or_init(instant).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
}

/// One unit of [`Pending`] work; finished when dropped.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Pending>);

impl Pending {
    /// Counts one more unit of work until the ticket is dropped.
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        self.tickets.fetch_add(1, Ordering::Relaxed);
        Ticket(Arc::clone(self))
    }

    /// When the last ticket was given back, or the connection began, in milliseconds of [`millis`].
    pub(super) fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }

    /// True if nothing has been under way for `time`, or the other end has taken nothing of an answer for so long.
    pub(super) fn is_unused_for(&self, time: Duration) -> bool {
        let since = match self.stalled_since.load(Ordering::Relaxed) {
            0 if self.is_idle() => self.idle_since(),
            0 => return false,
            since => since,
        };
        Duration::from_millis(millis().saturating_sub(since)) >= time
    }

    #[cfg(test)]
    pub(super) fn idle_for_tests(&self, since: u64) {
        self.idle_since.store(since, Ordering::Relaxed);
    }

    /// Wakes the task of `cx` when the last ticket is given back, instead of whoever waited for that before.
    pub(super) fn wake_when_idle(&self, cx: &Context<'_>) {
        self.idle.register(cx.waker());
        // It may have been given back before.
        if self.is_idle() {
            self.idle.wake();
        }
    }

    /// Wakes nobody any more: who looks now needs not be told.
    pub(super) fn wake_nobody(&self) {
        drop(self.idle.take());
    }

    /// True when no ticket is held, so that the connection may be taken away from hyper.
    pub(super) fn is_idle(&self) -> bool {
        self.tickets.load(Ordering::Acquire) == 0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.tickets.fetch_sub(1, Ordering::Release) == 1 {
            self.0.idle_since.store(millis(), Ordering::Relaxed);
            self.0.idle.wake();
        }
    }
}

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
        Self { source, observer: None, ticket: None, flow: None, is_answer: false }
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

    /// Notes from now on when a part passes, in milliseconds of [`millis`]; `None` for a body that has no part.
    pub(super) fn flow(&mut self) -> Option<Arc<AtomicU64>> {
        if !self.source.is_end() {
            self.flow = Some(Arc::new(AtomicU64::new(millis())));
        }
        self.flow.clone()
    }

    fn stalls(&self, since: u64) {
        if let Some(ticket) = self.ticket.as_ref().filter(|_| self.is_answer) {
            ticket.0.stalled_since.store(since, Ordering::Relaxed);
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

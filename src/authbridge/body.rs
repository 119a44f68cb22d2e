//! Bodies of requests and responses: streamed frame by frame, counted while they live, and copied for an observer.
//! A body is never collected before it is passed on, so its size costs no memory here.

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// Number of requests and bodies that a connection still has to finish.
#[derive(Debug, Default)]
pub(super) struct Pending(AtomicUsize);

/// One unit of [`Pending`] work; finished when dropped.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Pending>);

impl Pending {
    /// Counts one more unit of work until the ticket is dropped.
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ticket(Arc::clone(self))
    }

    /// True when no ticket is held, so that the connection may be taken away from hyper.
    pub(super) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}

/// Reader of a copy of a body; it can neither change nor delay what passes.
pub(super) trait Observe: Send + Sync {
    /// Receives the next bytes of the body, in order.
    fn data(&mut self, bytes: &Bytes);
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
}

#[derive(Default)]
enum BodySource {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(Incoming),
}

impl ProxyBody {
    /// A body that is complete in memory.
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self { source: BodySource::Full(bytes.into()), observer: None, ticket: None }
    }

    /// A body that is still being received.
    pub(super) fn incoming(body: Incoming) -> Self {
        Self { source: BodySource::Incoming(body), observer: None, ticket: None }
    }

    /// Holds `ticket` until the body is dropped, so that its connection is not counted as idle before.
    #[must_use]
    pub(super) fn with_ticket(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
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
        let frame = match &mut self.source {
            BodySource::Empty => None,
            BodySource::Full(_) => match std::mem::take(&mut self.source) {
                BodySource::Full(bytes) => Some(Ok(Frame::data(bytes))),
                _ => None,
            },
            BodySource::Incoming(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(bytes), Some(observer)) = (frame.data_ref(), &mut self.observer) {
                    observer.data(bytes);
                }
            }
            Some(Err(_)) => self.finish(false),
            None => self.finish(true),
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

//! Bodies on their way: streamed frame by frame, counted while they live, and copied for whoever asked to read them.

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// Counts what a connection still has to do.
#[derive(Debug, Default)]
pub(super) struct Pending(AtomicUsize);

/// One thing to do; done when dropped.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Pending>);

impl Pending {
    /// Takes a ticket.
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ticket(Arc::clone(self))
    }

    /// True when nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}

/// Told of what passes by.
pub(super) trait Observe: Send + Sync {
    /// Some bytes of the body.
    fn data(&mut self, bytes: &Bytes);
    /// The end: true if all of the body passed, false if it broke off.
    fn end(&mut self, whole: bool);
}

/// A body on its way.
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
    /// A body that is here.
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self { source: BodySource::Full(bytes.into()), observer: None, ticket: None }
    }

    /// A body that comes from the other side.
    pub(super) fn incoming(body: Incoming) -> Self {
        Self { source: BodySource::Incoming(body), observer: None, ticket: None }
    }

    /// The same, with a ticket for as long as it lives.
    #[must_use]
    pub(super) fn with_ticket(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
    }

    /// The same, observed.
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

//! Rest of an HTTP/2 connection between requests. It stays with hyper, which holds little for it then; so it gives back most of
//! the memory that it is read with, and takes it again before anything more is read.

use super::prefix::Prefixed;
use super::stream::Stream;
use crate::pending::{Pending, millis};
use futures::task::AtomicWaker;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// Length of the connection preface (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Length of the head of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Position in the frames of a connection.
#[derive(Debug)]
struct Frames {
    /// Bytes that are passed over: of the preface at first, and then of what a frame carries.
    left: usize,
    head: [u8; HEAD],
    /// Bytes of the head that are there.
    filled: usize,
    /// True until the end of a header block.
    in_headers: bool,
}

impl Frames {
    const fn new() -> Self {
        Self { left: PREFACE, head: [0; HEAD], filled: 0, in_headers: false }
    }

    /// Reads on.
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.left.min(bytes.len());
            self.left = self.left.saturating_sub(passed);
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return };
            if let Some(byte) = self.head.get_mut(self.filled) {
                *byte = *first;
            }
            bytes = rest;
            self.filled = self.filled.saturating_add(1);
            if self.filled == HEAD {
                self.filled = 0;
                let [one, two, three, kind, flags, ..] = self.head;
                self.left = usize::try_from(u32::from_be_bytes([0, one, two, three])).unwrap_or(usize::MAX);
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.in_headers = flags & END_HEADERS == 0;
                }
            }
        }
    }

    /// True if nothing is half read.
    const fn is_between(&self) -> bool {
        self.left == 0 && self.filled == 0 && !self.in_headers
    }
}

/// Gate at which a connection waits while it rests.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_closed: AtomicBool,
    is_between: AtomicBool,
    has_come: AtomicBool,
    /// When bytes were last read, in milliseconds of [`millis`].
    read_at: AtomicU64,
    /// Woken when the gate opens: whoever reads.
    reader: AtomicWaker,
    /// Woken when what was read or has come changes: whoever opens and closes the gate.
    keeper: AtomicWaker,
}

impl Gate {
    /// Waits until the connection has had no request for `time` and nothing of it was read meanwhile, which may be the
    /// beginning of one; closes the gate then, unless something is half read.
    pub(super) async fn rests(&self, pending: &Pending, time: Duration) {
        loop {
            poll_fn(|cx| self.poll_rest(pending, cx)).await;
            let since = pending.idle_since().max(self.read_at.load(Ordering::Relaxed));
            let quiet = Duration::from_millis(millis().saturating_sub(since));
            if quiet >= time && self.may_rest(pending) {
                break;
            }
            sleep(time.saturating_sub(quiet).max(SHORTEST)).await;
        }
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn may_rest(&self, pending: &Pending) -> bool {
        self.is_between.load(Ordering::Relaxed) && pending.is_idle()
    }

    fn poll_rest(&self, pending: &Pending, cx: &Context<'_>) -> Poll<()> {
        self.keeper.register(cx.waker());
        if self.may_rest(pending) {
            return Poll::Ready(());
        }
        if !pending.is_idle() {
            pending.wake_when_idle(cx);
        }
        Poll::Pending
    }

    /// Waits until bytes come at the closed gate.
    pub(super) async fn comes(&self) {
        poll_fn(|cx| {
            self.keeper.register(cx.waker());
            if self.has_come.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Lets what has come be read.
    pub(super) fn open(&self) {
        self.has_come.store(false, Ordering::Relaxed);
        // Nobody knows before it is read: the gate must not close in front of it again.
        self.is_between.store(false, Ordering::Relaxed);
        self.is_closed.store(false, Ordering::Relaxed);
        self.reader.wake();
    }
}

/// Shortest time between two looks, where a clock of milliseconds and a timer differ.
const SHORTEST: Duration = Duration::from_millis(1);

/// Stream that is read only while its [`Gate`] is open.
pub(super) struct Gated<T> {
    stream: Prefixed<T>,
    frames: Frames,
    gate: Arc<Gate>,
}

impl<T> Gated<T> {
    /// A stream that begins with the connection preface.
    pub(super) const fn new(stream: Prefixed<T>, gate: Arc<Gate>) -> Self {
        Self { stream, frames: Frames::new(), gate }
    }
}

impl<T: Stream> AsyncRead for Gated<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.gate.is_closed.load(Ordering::Relaxed) {
            this.gate.reader.register(cx.waker());
            if this.stream.poll_begins(cx).is_ready() {
                this.gate.has_come.store(true, Ordering::Relaxed);
                this.gate.keeper.wake();
            }
            return Poll::Pending;
        }
        let before = to.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, to);
        if read.is_ready() {
            this.gate.read_at.store(millis(), Ordering::Relaxed);
            this.frames.read(to.filled().get(before..).unwrap_or_default());
            this.gate.is_between.store(this.frames.is_between(), Ordering::Relaxed);
            this.gate.keeper.wake();
        }
        read
    }
}

impl<T: Stream> AsyncWrite for Gated<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pending::HalfRead;
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const FRAMES: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], payload].concat()
    }

    #[test]
    fn nothing_is_half_read_only_between_frames_and_after_a_whole_header_block() {
        let blocks = [
            (FRAMES.to_vec(), true),
            (frame(4, 0, b""), true),
            (frame(HEADERS, 5, b"whole"), true),
            (frame(HEADERS, 1, b"a"), false),
            (frame(CONTINUATION, 0, b"b"), false),
            (frame(CONTINUATION, END_HEADERS, b"c"), true),
            (frame(0, 1, b"data"), true),
        ];
        for step in [1, 2, 7, 1000] {
            let mut frames = Frames::new();
            assert!(!frames.is_between());
            for (bytes, is_between) in &blocks {
                let (last, before) = bytes.split_last().unwrap();
                for bytes in before.chunks(step) {
                    frames.read(bytes);
                    assert!(!frames.is_between(), "{bytes:?}");
                }
                frames.read(&[*last]);
                assert_eq!(frames.is_between(), *is_between, "{bytes:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_gate_closes_when_all_is_read_and_nothing_passes_until_it_opens() {
        let (mut client, server) = duplex(1024);
        let gate = Arc::new(Gate::default());
        let mut stream = Gated::new(Prefixed::new(server), Arc::clone(&gate));
        let pending = Arc::new(Pending::new(&Arc::new(HalfRead::default())));
        let (time, mut read) = (Duration::from_millis(20), [0; 1024]);
        client.write_all(FRAMES).await.unwrap();
        client.write_all(&frame(HEADERS, 5, b"a")[..4]).await.unwrap();
        let _ = stream.read(&mut read).await.unwrap();
        let early = tokio::time::timeout(time * 3, gate.rests(&pending, time)).await;
        assert!(early.is_err(), "a frame is half read");
        client.write_all(&frame(HEADERS, 5, b"a")[4..]).await.unwrap();
        let _ = stream.read(&mut read).await.unwrap();
        let ticket = pending.ticket();
        let early = tokio::time::timeout(time * 3, gate.rests(&pending, time)).await;
        assert!(early.is_err(), "a request is under way");
        let ends = async {
            sleep(time).await;
            drop(ticket);
        };
        tokio::time::timeout(time * 50, async { tokio::join!(gate.rests(&pending, time), ends) })
            .await
            .expect("it does not rest");
        assert!(stream.read(&mut read).now_or_never().is_none());
        assert!(gate.comes().now_or_never().is_none());
        client.write_all(&frame(HEADERS, 5, b"a")).await.unwrap();
        assert!(stream.read(&mut read).now_or_never().is_none(), "the gate is closed");
        gate.comes().await;
        gate.open();
        assert!(gate.rests(&pending, Duration::ZERO).now_or_never().is_none(), "it is to be read first");
        assert_eq!(stream.read(&mut read).await.unwrap(), frame(HEADERS, 5, b"a").len());
        assert!(gate.comes().now_or_never().is_none());
    }
}

//! Rest of an HTTP/2 connection between requests. It stays with hyper, which holds little for it then; so it gives back most of
//! the memory that it is read with, and takes it again before anything more is read.

use super::prefix::Prefixed;
use super::stream::Stream;
use crate::pending::{Pending, millis};
use futures::task::AtomicWaker;
use std::collections::BTreeSet;
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
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Bits of a stream's number; the one before is reserved.
const STREAM: u32 = u32::MAX >> 1;

/// Head of a frame.
#[derive(Clone, Copy, Debug)]
struct FrameHead {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    /// True for the last frame of one side on its stream.
    const fn ends_stream(self) -> bool {
        match self.kind {
            DATA | HEADERS => self.flags & END_STREAM != 0,
            kind => kind == RST_STREAM,
        }
    }
}

/// Position in the frames of one direction.
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
    /// Those that begin after so many other bytes.
    const fn after(left: usize) -> Self {
        Self { left, head: [0; HEAD], filled: 0, in_headers: false }
    }

    /// Passes on, and tells the head of each frame.
    fn pass(&mut self, mut bytes: &[u8], mut tell: impl FnMut(FrameHead)) {
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
                let [one, two, three, kind, flags, stream @ ..] = self.head;
                self.left = usize::try_from(u32::from_be_bytes([0, one, two, three])).unwrap_or(usize::MAX);
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.in_headers = flags & END_HEADERS == 0;
                }
                tell(FrameHead { kind, flags, stream: u32::from_be_bytes(stream) & STREAM });
            }
        }
    }

    /// True if no frame and no header block is half passed.
    const fn is_between(&self) -> bool {
        self.left == 0 && self.filled == 0 && !self.in_headers
    }
}

/// Both directions of a connection. A stream is finished once its answer has been written, which may be long after hyper
/// took the answer: until then it holds what the other end does not take.
#[derive(Debug)]
struct Traffic {
    read: Frames,
    written: Frames,
    /// Streams that are not finished. hyper refuses those beyond the most that it allows.
    unfinished: BTreeSet<u32>,
    /// Highest number of a stream that was read.
    last: u32,
}

impl Traffic {
    const fn new() -> Self {
        let (read, written) = (Frames::after(PREFACE), Frames::after(0));
        Self { read, written, unfinished: BTreeSet::new(), last: 0 }
    }

    fn reads(&mut self, bytes: &[u8]) {
        let Self { read, unfinished, last, .. } = self;
        read.pass(bytes, |head| match head.kind {
            // One with a lower number is of trailers.
            HEADERS if head.stream > *last => {
                *last = head.stream;
                unfinished.insert(head.stream);
            }
            RST_STREAM => drop(unfinished.remove(&head.stream)),
            _ => {}
        });
    }

    fn writes(&mut self, bytes: &[u8]) {
        let Self { written, unfinished, .. } = self;
        written.pass(bytes, |head| {
            if head.ends_stream() {
                unfinished.remove(&head.stream);
            }
        });
    }

    /// True if nothing is half read or half written.
    fn is_between(&self) -> bool {
        self.read.is_between() && self.written.is_between() && self.unfinished.is_empty()
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
    /// Woken when what was read, was written or has come changes: whoever opens and closes the gate.
    keeper: AtomicWaker,
}

impl Gate {
    /// Waits until the connection has had no request for `time` and nothing of it was read meanwhile, which may be the
    /// beginning of one; closes the gate then, unless something is half read or not written.
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
    traffic: Traffic,
    gate: Arc<Gate>,
}

impl<T> Gated<T> {
    /// A stream that begins with the connection preface.
    pub(super) const fn new(stream: Prefixed<T>, gate: Arc<Gate>) -> Self {
        Self { stream, traffic: Traffic::new(), gate }
    }

    fn tell(&self) {
        self.gate.is_between.store(self.traffic.is_between(), Ordering::Relaxed);
        self.gate.keeper.wake();
    }

    /// Notes what was written of these.
    fn wrote(&mut self, slices: &[IoSlice<'_>], written: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(written)) = written else { return };
        let mut left = *written;
        for slice in slices {
            let passed = left.min(slice.len());
            self.traffic.writes(slice.get(..passed).unwrap_or_default());
            left = left.saturating_sub(passed);
        }
        self.tell();
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
            this.traffic.reads(to.filled().get(before..).unwrap_or_default());
            this.tell();
        }
        read
    }
}

impl<T: Stream> AsyncWrite for Gated<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&[IoSlice::new(bytes)], &written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(slices, &written);
        written
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
            let mut frames = Frames::after(PREFACE);
            assert!(!frames.is_between());
            for (bytes, is_between) in &blocks {
                let (last, before) = bytes.split_last().unwrap();
                for bytes in before.chunks(step) {
                    frames.pass(bytes, |_| {});
                    assert!(!frames.is_between(), "{bytes:?}");
                }
                frames.pass(&[*last], |_| {});
                assert_eq!(frames.is_between(), *is_between, "{bytes:?}");
            }
        }
    }

    fn on(stream: u8, kind: u8, flags: u8) -> Vec<u8> {
        let mut frame = frame(kind, flags, b"abcd");
        frame[8] = stream;
        frame
    }

    #[test]
    fn a_stream_is_finished_once_its_end_was_written_or_either_side_reset_it() {
        let (read, written) = (true, false);
        let mut traffic = Traffic::new();
        traffic.reads(FRAMES);
        for (number, (is_read, stream, kind, flags, is_between)) in [
            (read, 0, 4, 0, true),
            (read, 1, HEADERS, END_HEADERS | END_STREAM, false),
            (written, 1, HEADERS, END_HEADERS, false),
            (written, 1, DATA, 0, false),
            (written, 1, DATA, END_STREAM, true),
            // An upload with trailers; the answer is one head.
            (read, 3, HEADERS, END_HEADERS, false),
            (read, 3, DATA, 0, false),
            (read, 3, HEADERS, END_HEADERS | END_STREAM, false),
            (written, 3, HEADERS, END_STREAM, false),
            (written, 3, CONTINUATION, END_HEADERS, true),
            // Trailers after the answer.
            (read, 3, HEADERS, END_HEADERS | END_STREAM, true),
            // Resets by one side and by the other.
            (read, 5, HEADERS, END_HEADERS, false),
            (read, 7, HEADERS, END_HEADERS, false),
            (read, 5, RST_STREAM, 0, false),
            (written, 7, RST_STREAM, 0, true),
            // An acknowledgement has the same bit as an end.
            (read, 9, HEADERS, END_HEADERS, false),
            (written, 0, 4, END_STREAM, false),
            (written, 9, DATA, END_STREAM, true),
        ]
        .into_iter()
        .enumerate()
        {
            let (last, before) = (on(stream, kind, flags).pop().unwrap(), on(stream, kind, flags));
            let before = &before[..before.len() - 1];
            for bytes in [before, &[last]] {
                if is_read {
                    traffic.reads(bytes);
                } else {
                    traffic.writes(bytes);
                }
                assert!(bytes.len() == 1 || !traffic.is_between(), "{number} is half there");
            }
            assert_eq!(traffic.is_between(), is_between, "{number}");
        }
    }

    #[tokio::test]
    async fn a_gate_stays_open_until_what_the_other_end_did_not_take_is_written() {
        let (mut client, server) = duplex(64);
        let gate = Arc::new(Gate::default());
        let mut stream = Gated::new(Prefixed::new(server), Arc::clone(&gate));
        let pending = Arc::new(Pending::new(&Arc::new(HalfRead::default())));
        client.write_all(FRAMES).await.unwrap();
        client.write_all(&frame(HEADERS, 5, b"a")).await.unwrap();
        let _ = stream.read(&mut [0; 64]).await.unwrap();
        stream.write_all(&frame(HEADERS, END_HEADERS, b"a")).await.unwrap();
        let time = Duration::from_millis(5);
        let early = tokio::time::timeout(time * 4, gate.rests(&pending, time)).await;
        assert!(early.is_err(), "the answer was not written");
        let (mut read, answer) = ([0; 64], frame(DATA, END_STREAM, &[b'x'; 100]));
        let _ = client.read(&mut read).await.unwrap();
        assert!(stream.write_all(&answer).now_or_never().is_none());
        let early = tokio::time::timeout(time * 4, gate.rests(&pending, time)).await;
        assert!(early.is_err(), "it was half written");
        let _ = client.read(&mut read).await.unwrap();
        stream.write_all(&answer[64..]).await.unwrap();
        let rests = tokio::time::timeout(time * 200, gate.rests(&pending, time)).await;
        assert!(rests.is_ok(), "all is written");
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
        stream.write_all(&frame(HEADERS, 5, b"a")).await.unwrap();
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

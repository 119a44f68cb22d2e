//! Stream whose first bytes were peeked to tell protocols apart; its next reader gets them again.

use crate::pending::millis;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes peeked: the length of the HTTP/2 connection preface (RFC 9113 §3.4).
const LOOKED_AT: usize = 24;
/// HTTP/2 connection preface (RFC 9113 §3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Content type of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Stream with bytes in front of it that were read already.
#[derive(Debug)]
pub(crate) struct Prefixed<T> {
    stream: T,
    bytes: [u8; LOOKED_AT],
    start: usize,
    end: usize,
    more: Vec<u8>,
    writing: Arc<AtomicU64>,
}

/// Protocol that the first bytes of a stream belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// A TLS handshake.
    Tls,
    /// HTTP/2, by its preface.
    Http2,
    /// Anything else; hyper refuses what is not HTTP/1.
    Http1,
    /// The stream was closed before its first byte.
    Closed,
}

impl<T> Prefixed<T> {
    /// Wraps a stream of which nothing was read.
    pub(crate) fn new(stream: T) -> Self {
        Self { stream, bytes: [0; LOOKED_AT], start: 0, end: 0, more: Vec::new(), writing: Arc::default() }
    }

    /// Puts back bytes that were read of the stream; they are read again first.
    pub(crate) fn push_back(mut self, bytes: &[u8]) -> Self {
        self.more = [bytes, self.rest(), &self.more].concat();
        (self.start, self.end) = (0, 0);
        self
    }

    /// Since when a write waits for the other end, so that hyper may still hold bytes to write, in milliseconds of
    /// [`millis`]; 0 if none does.
    pub(crate) fn writing(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.writing)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn note(&self, waiting: bool) {
        if !waiting {
            self.writing.store(0, Ordering::Relaxed);
        } else if self.writing.load(Ordering::Relaxed) == 0 {
            self.writing.store(millis(), Ordering::Relaxed);
        }
    }
}

impl<T: AsyncRead + Unpin> Prefixed<T> {
    /// Waits until the first bytes decide the protocol. Cancel-safe: bytes read so far are kept.
    pub(crate) async fn begins(&mut self) -> io::Result<Begins> {
        loop {
            if !self.more.is_empty() {
                return Ok(Begins::Http1);
            }
            match self.rest() {
                [TLS_HANDSHAKE, ..] => return Ok(Begins::Tls),
                HTTP2 => return Ok(Begins::Http2),
                [] => {}
                begin if !HTTP2.starts_with(begin) => return Ok(Begins::Http1),
                _ => {}
            }
            let free = self.bytes.get_mut(self.end..).unwrap_or_default();
            let read = self.stream.read(free).await?;
            if read == 0 {
                return Ok(if self.end == 0 { Begins::Closed } else { Begins::Http1 });
            }
            self.end = self.end.saturating_add(read);
        }
    }

    /// Ready once there is something to read, or the end, or an error, each of which the next reader gets.
    pub(crate) fn poll_begins(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.rest().is_empty() || !self.more.is_empty() {
            return Poll::Ready(());
        }
        let mut first = ReadBuf::new(&mut self.bytes);
        match Pin::new(&mut self.stream).poll_read(cx, &mut first) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                (self.start, self.end) = (0, first.filled().len());
                Poll::Ready(())
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.bytes.get(this.start..this.end).unwrap_or_default();
        if !rest.is_empty() {
            let now = rest.get(..rest.len().min(to.remaining())).unwrap_or_default();
            to.put_slice(now);
            this.start = this.start.saturating_add(now.len());
            if this.start == this.end {
                (this.start, this.end) = (0, 0);
            }
            return Poll::Ready(Ok(()));
        }
        if !this.more.is_empty() {
            let length = this.more.len().min(to.remaining());
            to.put_slice(this.more.get(..length).unwrap_or_default());
            this.more.drain(..length);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, to)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_decide_and_are_read_again() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Begins::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Begins::Http2),
            (b"PRIVATE / HTTP/1.1\r\n\r\n", Begins::Http1),
            (b"P", Begins::Http1),
            (&[0x16, 3, 1, 2, 0], Begins::Tls),
            (b"", Begins::Closed),
        ] {
            let mut stream = Prefixed::new(bytes);
            assert_eq!(stream.begins().await.unwrap(), expected, "{bytes:?}");
            let mut again = Vec::new();
            stream.read_to_end(&mut again).await.unwrap();
            assert_eq!(again, bytes);
        }
    }

    #[tokio::test]
    async fn bytes_that_were_read_too_far_come_first() {
        let mut stream = Prefixed::new(&b"c"[..]).push_back(b"ab");
        assert_eq!(stream.begins().await.unwrap(), Begins::Http1);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "abc");
    }
}

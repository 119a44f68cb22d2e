//! Tunnels: two streams joined byte by byte, until both have ended, nothing has passed for too long, or the token that
//! opened the tunnel has expired.

use super::stream::Stream;
use crate::calls::Call;
use crate::config::Limits;
use crate::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_PROBES};
use crate::pending::millis;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

/// Shortest time between two looks at a tunnel.
const SHORTEST: Duration = Duration::from_millis(10);
/// Longest time between two looks at the wall clock, which may be set while a tunnel is open.
const CLOCK: Duration = Duration::from_mins(1);

/// Question whether a tunnel may stay open under what is in force now.
pub(crate) type Standing = Box<dyn Fn() -> bool + Send + Sync>;

/// The other connection of a tunnel.
pub(crate) struct Joined {
    /// Its bytes.
    pub(crate) stream: Box<dyn Stream>,
    /// Asked in each epoch; `None` if the tunnel depends on nothing at the other end.
    pub(crate) stands: Option<Standing>,
    /// Request that opened it, which lasts as long; `None` if nobody counts them.
    #[expect(dead_code, reason = "it counts until it is dropped")]
    pub(crate) call: Option<Arc<Call>>,
}

/// Future of the other connection of a tunnel; it is joined after the answer was written.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Option<Joined>> + Send>>;

/// Tunnel that an answer opens.
pub(crate) struct Tunnel {
    /// The other connection.
    pub(crate) other: Opening,
    /// First second in which the tunnel may no longer be open; `None` if it depends on no token.
    pub(crate) until: Option<Timestamp>,
}

/// Times of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TunnelTimes {
    /// Longest time in which no byte passes.
    pub(crate) idle: Duration,
    /// The same once one side has ended.
    pub(crate) half_closed: Duration,
    /// Idle time of a TCP connection after which its other end is probed.
    pub(crate) keepalive: Duration,
}

impl TunnelTimes {
    /// The configured times.
    pub(crate) const fn new(limits: &Limits) -> Self {
        let (idle, half_closed) = (limits.tunnel_idle_timeout.0, limits.half_close_timeout.0);
        Self { idle, half_closed, keepalive: limits.keepalive.0 }
    }

    /// Has the kernel probe the other end of `stream` while nothing passes, so that one that vanished is noticed.
    pub(crate) fn probe(&self, stream: &TcpStream) {
        let keepalive = TcpKeepalive::new().with_time(self.keepalive).with_interval(KEEPALIVE_INTERVAL);
        // A connection without probes still has its idle limit.
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES));
    }
}

/// Joins two streams. An end of one direction is passed on, and the other direction goes on (half-close, RFC 9293 §3.6).
pub(crate) async fn join<A, B>(one: &mut A, other: &mut B, until: Option<Timestamp>, times: TunnelTimes)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::default();
    activity.passes();
    let (mut one, mut other) =
        (Noted { stream: one, activity: &activity }, Noted { stream: other, activity: &activity });
    tokio::select! {
        // Either end may close at any time; that is how a tunnel ends, and no error.
        _ = copy_bidirectional(&mut one, &mut other) => {}
        () = activity.silence(times) => {}
        () = expiry(until) => {}
    }
}

/// Waits until a tunnel may no longer stay open, which is asked at once and in each of the `epochs`.
pub(crate) async fn falls(
    stands: Option<&(dyn Fn() -> bool + Send + Sync)>,
    mut epochs: watch::Receiver<u64>,
) {
    let Some(stands) = stands else { return std::future::pending().await };
    while stands() && epochs.changed().await.is_ok() {}
}

/// Waits until the clock reaches `until`; for ever if there is none.
async fn expiry(until: Option<Timestamp>) {
    let Some(until) = until else { return std::future::pending().await };
    loop {
        let left = Duration::from_secs(u64::try_from(until.since(now())).unwrap_or(0));
        if left.is_zero() {
            return;
        }
        sleep(left.min(CLOCK)).await;
    }
}

/// When bytes last passed in either direction, and whether one has ended.
#[derive(Debug, Default)]
struct Activity {
    last: AtomicU64,
    half_closed: AtomicBool,
}

impl Activity {
    fn passes(&self) {
        self.last.store(millis(), Ordering::Relaxed);
    }

    async fn silence(&self, times: TunnelTimes) {
        loop {
            let half_closed = self.half_closed.load(Ordering::Relaxed);
            let limit = if half_closed { times.half_closed } else { times.idle };
            let quiet = Duration::from_millis(millis().saturating_sub(self.last.load(Ordering::Relaxed)));
            let left = limit.saturating_sub(quiet);
            if left.is_zero() {
                return;
            }
            // One side may end meanwhile, and then the other limit counts.
            sleep(left.min(times.half_closed).max(SHORTEST)).await;
        }
    }
}

/// Stream whose progress is noted.
struct Noted<'a, T> {
    stream: &'a mut T,
    activity: &'a Activity,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut *self.stream).poll_read(cx, to);
        if let Poll::Ready(Ok(())) = read {
            self.activity.passes();
            if to.filled().len() == before {
                self.activity.half_closed.store(true, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.activity.passes();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn a_tunnel_ends_after_the_silence_that_its_state_allows() {
        for (half_close, idle, half_closed) in [(false, SHORT, LONG), (true, LONG, SHORT)] {
            let ((mut client, mut near), (mut far, mut server)) = (duplex(64), duplex(64));
            let times = TunnelTimes { idle, half_closed, keepalive: LONG };
            let tunnel = tokio::spawn(async move { join(&mut near, &mut far, None, times).await });
            for _ in 0..4 {
                // Longer than the limit altogether, and never silent for so long.
                client.write_all(b"a").await.unwrap();
                assert_eq!(server.read_u8().await.unwrap(), b'a');
                sleep(SHORT / 2).await;
            }
            if half_close {
                client.shutdown().await.unwrap();
                assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the end is passed on");
                server.write_all(b"b").await.unwrap();
                assert_eq!(client.read_u8().await.unwrap(), b'b', "and the other direction goes on");
            }
            tokio::time::timeout(SHORT * 4, tunnel).await.expect("it stays open").unwrap();
        }
    }

    #[tokio::test]
    async fn a_tunnel_ends_with_its_token() {
        let times = TunnelTimes { idle: LONG, half_closed: LONG, keepalive: LONG };
        let ((_client, mut near), (mut far, _server)) = (duplex(64), duplex(64));
        let past = Some(Timestamp::from_unix(now().as_unix()));
        tokio::time::timeout(SHORT, join(&mut near, &mut far, past, times)).await.expect("it stays open");
        let later = Some(Timestamp::from_unix(now().as_unix() + 100));
        assert!(tokio::time::timeout(SHORT, join(&mut near, &mut far, later, times)).await.is_err());
    }
}

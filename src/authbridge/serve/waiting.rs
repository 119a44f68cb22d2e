//! Arrivals for which another connection of the same peer must end: it has as many as one may have, or the most while all are in
//! use. That costs more than the connection does; so one that has said something goes first, a silent one waits for a while, and there
//! are only so many of them a second. Whoever opens ever new connections then waits for its own.

use super::pace::Pace;
use crate::limits::{SILENT_ARRIVAL, SILENT_GAP, WAITING_ARRIVALS};
use crate::pending::millis;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// One arrival: accepted by the kernel, and nothing was made for it yet.
struct Waiter {
    stream: TcpStream,
    address: SocketAddr,
    peer: IpAddr,
    /// Since when it waits, in milliseconds of [`millis`].
    since: u64,
}

impl Waiter {
    /// What it has said; `Ready(false)` if it has hung up.
    fn poll_said(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut byte = [0];
        self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)).map(|said| said.is_ok_and(|bytes| bytes > 0))
    }
}

/// Queue of such arrivals at one listener.
#[derive(Default)]
pub(super) struct Waiting {
    waiters: VecDeque<Waiter>,
    pace: Pace,
    /// When a silent one last replaced another, in milliseconds of [`millis`].
    last_silent: u64,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.waiters.len()
    }

    /// Adds an arrival. If too many wait, the one that has waited longest is closed, of the peer with the most of them.
    pub(super) fn push(&mut self, stream: TcpStream, address: SocketAddr, peer: IpAddr) {
        if self.waiters.len() >= WAITING_ARRIVALS
            && let Some(largest) = self.largest()
            && let Some(oldest) = self.waiters.iter().position(|waiter| waiter.peer == largest)
        {
            self.waiters.remove(oldest);
        }
        self.waiters.push_back(Waiter { stream, address, peer, since: millis() });
    }

    fn largest(&self) -> Option<IpAddr> {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for waiter in &self.waiters {
            let count = counts.entry(waiter.peer).or_default();
            *count = count.saturating_add(1);
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer)
    }

    /// The next arrival that replaces another connection of its peer.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(TcpStream, SocketAddr)> {
        loop {
            let now = millis();
            let said = self.first_that_said(cx);
            let Some(front) = self.waiters.front() else { return Poll::Pending };
            let waited = Duration::from_millis(now.saturating_sub(front.since));
            let left = if said.is_some() {
                Duration::ZERO
            } else {
                // Those that came at once would otherwise replace others at once, and hold up whoever is ready then.
                let since = Duration::from_millis(now.saturating_sub(self.last_silent));
                SILENT_ARRIVAL.saturating_sub(waited).max(SILENT_GAP.saturating_sub(since))
            };
            let left = if left.is_zero() { self.pace.wait(now) } else { left };
            if left.is_zero() {
                self.pace.take(now);
                if said.is_none() {
                    self.last_silent = now;
                }
                if let Some(next) = self.waiters.remove(said.unwrap_or(0)) {
                    return Poll::Ready((next.stream, next.address));
                }
            }
            let alarm = self.alarm.insert(Box::pin(sleep(left)));
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The first one that has said something; those that have hung up before it are forgotten.
    fn first_that_said(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        let mut at = 0;
        while let Some(waiter) = self.waiters.get(at) {
            match waiter.poll_said(cx) {
                Poll::Ready(true) => return Some(at),
                Poll::Ready(false) => drop(self.waiters.remove(at)),
                Poll::Pending => at = at.saturating_add(1),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_io::clock::instant;
    use futures::FutureExt;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    struct Scene {
        listener: TcpListener,
        waiting: Waiting,
    }

    impl Scene {
        async fn new() -> Self {
            Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), waiting: Waiting::default() }
        }

        /// An arrival that counts as one of this peer, with the other end.
        async fn arrives(&mut self, peer: u8) -> TcpStream {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let (stream, address) = self.listener.accept().await.unwrap();
            self.waiting.push(stream, address, IpAddr::from([10, 0, 0, peer]));
            client
        }

        async fn next(&mut self) -> SocketAddr {
            poll_fn(|cx| self.waiting.poll_next(cx)).await.1
        }
    }

    #[tokio::test]
    async fn who_has_said_something_goes_first_and_a_silent_one_after_a_while() {
        let mut scene = Scene::new().await;
        let [silent, gone, mut late] =
            [scene.arrives(1).await, scene.arrives(1).await, scene.arrives(1).await];
        assert!(scene.next().now_or_never().is_none());
        drop(gone);
        late.write_all(b"a").await.unwrap();
        let began = instant();
        assert_eq!(scene.next().await, late.local_addr().unwrap());
        assert!(began.elapsed() < SILENT_ARRIVAL / 2);
        assert_eq!(scene.next().await, silent.local_addr().unwrap());
        assert!(began.elapsed() > SILENT_ARRIVAL / 2);
        assert_eq!(scene.waiting.count(), 0, "who has hung up is forgotten");
    }

    #[tokio::test]
    async fn silent_ones_that_came_at_once_are_served_one_after_the_other() {
        let mut scene = Scene::new().await;
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(scene.arrives(1).await);
        }
        scene.next().await;
        let began = instant();
        for _ in 0..10 {
            scene.next().await;
        }
        assert!(began.elapsed() >= SILENT_GAP * 9, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn too_many_are_closed_of_the_peer_with_the_most() {
        let mut scene = Scene::new().await;
        let mut clients = vec![scene.arrives(2).await];
        for _ in 0..WAITING_ARRIVALS + 3 {
            clients.push(scene.arrives(1).await);
        }
        assert_eq!(scene.waiting.count(), WAITING_ARRIVALS);
        assert_eq!(scene.next().await, clients[0].local_addr().unwrap());
        assert_eq!(scene.next().await, clients[5].local_addr().unwrap());
    }
}

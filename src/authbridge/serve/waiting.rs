//! Arrivals for which another connection of the same peer must end: it has as many as one may have, or the most while all are in
//! use. That costs more than the connection does; so one that has said something goes first, a silent one waits for a while, and
//! there are only so many of them a second. Whoever opens ever new connections then waits for its own.

use super::pace::Pace;
use crate::limits::{SILENT_ARRIVAL, SILENT_GAP};
use crate::pending::millis;
use std::cmp::Reverse;
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
    has_spoken: bool,
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
    /// How many there are of each peer.
    counts: BTreeMap<IpAddr, usize>,
    pace: Pace,
    /// When the one that had waited longest last replaced another, in milliseconds of [`millis`].
    last_oldest: u64,
    /// Made once, with the time at which it rings.
    alarm: Option<(u64, Pin<Box<Sleep>>)>,
}

/// Which arrival is next, by its place in the queue, if that is known, and how long it has to wait at least. The oldest has
/// `waited` so long, and for so long there was `no_oldest`; `spoke` is the one that would go first otherwise.
fn choose(waited: Duration, no_oldest: Duration, spoke: Option<usize>) -> (Option<usize>, Duration) {
    // Those that came at once would otherwise replace others at once, and hold up whoever is ready then.
    let left = SILENT_ARRIVAL.saturating_sub(waited).max(SILENT_GAP.saturating_sub(no_oldest));
    match spoke {
        _ if left.is_zero() => (Some(0), left),
        Some(spoke) => (Some(spoke), Duration::ZERO),
        None => (None, left),
    }
}

impl Waiting {
    /// Adds an arrival. If `most` wait already, the one of the peer with the most that has waited longest is returned instead.
    #[must_use]
    pub(super) fn push(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        peer: IpAddr,
        most: usize,
    ) -> Option<TcpStream> {
        let is_full = self.waiters.len() >= most;
        let largest = self.counts.iter().max_by_key(|(_, count)| **count).map(|(peer, _)| *peer);
        let oldest = self.waiters.iter().position(|waiter| is_full && Some(waiter.peer) == largest);
        let refused = oldest.and_then(|oldest| self.remove(oldest));
        let count = self.counts.entry(peer).or_default();
        *count = count.saturating_add(1);
        self.waiters.push_back(Waiter { stream, address, peer, since: millis(), has_spoken: false });
        refused.map(|waiter| waiter.stream)
    }

    /// Those that wait at the end.
    pub(super) fn into_streams(self) -> impl Iterator<Item = TcpStream> {
        self.waiters.into_iter().map(|waiter| waiter.stream)
    }

    fn remove(&mut self, at: usize) -> Option<Waiter> {
        let waiter = self.waiters.remove(at)?;
        if let Some(count) = self.counts.get_mut(&waiter.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&waiter.peer);
            }
        }
        Some(waiter)
    }

    /// The next arrival that replaces another connection of its peer.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(TcpStream, SocketAddr)> {
        loop {
            let now = millis();
            self.listen(cx);
            let Some(front) = self.waiters.front() else { return Poll::Pending };
            let since = |then| Duration::from_millis(now.saturating_sub(then));
            let (next, left) = choose(since(front.since), since(self.last_oldest), self.first_that_spoke());
            let left = if next.is_some() { self.pace.wait(now) } else { left };
            if left.is_zero()
                && let Some(at) = next
                && let Some(next) = self.remove(at)
            {
                if !matches!(next.stream.take_error(), Ok(None)) {
                    // Nobody's connection ends for one that was reset after it spoke: what it said can still be read.
                    continue;
                }
                self.pace.take(now);
                if at == 0 {
                    self.last_oldest = now;
                }
                return Poll::Ready((next.stream, next.address));
            }
            let due = now.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            let (armed, alarm) = self.alarm.get_or_insert_with(|| (due, Box::pin(sleep(left))));
            if *armed != due {
                *armed = due;
                alarm.set(sleep(left));
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It is set again, whatever comes next.
            *armed = 0;
        }
    }

    /// Notes who has said something, and forgets who has hung up without a word.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while let Some(waiter) = self.waiters.get_mut(at) {
            match if waiter.has_spoken { Poll::Pending } else { waiter.poll_said(cx) } {
                Poll::Ready(false) => {
                    drop(self.remove(at));
                    continue;
                }
                Poll::Ready(true) => waiter.has_spoken = true,
                Poll::Pending => {}
            }
            at = at.saturating_add(1);
        }
    }

    /// The one that goes first of those that have said something: of the peer with the fewest arrivals, the newest. Under a
    /// flood, who came long ago is not honest or gone.
    fn first_that_spoke(&self) -> Option<usize> {
        let spoke = self.waiters.iter().enumerate().filter(|(_, waiter)| waiter.has_spoken);
        let of = |peer| self.counts.get(&peer).copied().unwrap_or(0);
        spoke.max_by_key(|(at, waiter)| (Reverse(of(waiter.peer)), *at)).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WAITING_ARRIVALS;
    use countersign_io::clock::instant;
    use futures::FutureExt;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    struct Scene {
        listener: TcpListener,
        waiting: Waiting,
        refused: Vec<TcpStream>,
    }

    impl Scene {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self { listener, waiting: Waiting::default(), refused: Vec::new() }
        }

        /// An arrival that counts as one of this peer, with the other end.
        async fn arrives(&mut self, peer: u8) -> TcpStream {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let (stream, address) = self.listener.accept().await.unwrap();
            let peer = IpAddr::from([10, 0, 0, peer]);
            self.refused.extend(self.waiting.push(stream, address, peer, WAITING_ARRIVALS));
            client
        }

        async fn speaks(&mut self, peer: u8) -> TcpStream {
            let mut client = self.arrives(peer).await;
            client.write_all(b"a").await.unwrap();
            client
        }

        async fn next(&mut self) -> SocketAddr {
            poll_fn(|cx| self.waiting.poll_next(cx)).await.1
        }
    }

    #[test]
    fn the_oldest_goes_first_once_it_has_waited_and_else_who_spoke() {
        let (soon, gap) = (SILENT_ARRIVAL / 2, SILENT_GAP / 2);
        for (waited, no_oldest, spoke, next, left) in [
            (Duration::ZERO, SILENT_GAP, None, None, SILENT_ARRIVAL),
            (soon, Duration::ZERO, None, None, soon),
            (SILENT_ARRIVAL, gap, None, None, gap),
            (SILENT_ARRIVAL, SILENT_GAP, None, Some(0), Duration::ZERO),
            (soon, SILENT_GAP, Some(3), Some(3), Duration::ZERO),
            (SILENT_ARRIVAL, gap, Some(3), Some(3), Duration::ZERO),
            (SILENT_ARRIVAL, SILENT_GAP, Some(3), Some(0), Duration::ZERO),
        ] {
            assert_eq!(choose(waited, no_oldest, spoke), (next, left), "{waited:?} {no_oldest:?} {spoke:?}");
        }
    }

    #[tokio::test]
    async fn a_silent_one_that_waited_is_not_passed_by_for_ever() {
        let mut scene = Scene::new().await;
        let silent = scene.arrives(1).await;
        let (began, mut clients) = (instant(), Vec::new());
        while began.elapsed() < SILENT_ARRIVAL * 8 {
            // There is always one more that talks.
            clients.push(scene.speaks(1).await);
            if scene.next().await == silent.local_addr().unwrap() {
                return assert!(began.elapsed() >= SILENT_ARRIVAL / 2);
            }
            sleep(Duration::from_millis(2)).await;
            clients.push(scene.speaks(1).await);
        }
        panic!("it waits still");
    }

    #[tokio::test]
    async fn of_those_that_spoke_the_newest_of_the_peer_with_the_fewest_goes_first() {
        let mut scene = Scene::new().await;
        let mut clients = Vec::new();
        for peer in [1, 2, 1, 1, 2] {
            clients.push(scene.speaks(peer).await);
        }
        for expected in [4, 1, 3, 2, 0] {
            assert_eq!(scene.next().await, clients[expected].local_addr().unwrap(), "{expected}");
        }
        assert!(scene.waiting.counts.is_empty());
    }

    #[tokio::test]
    async fn one_alarm_is_set_again_and_again() {
        let mut scene = Scene::new().await;
        let mut alarms = Vec::new();
        for _ in 0..3 {
            let _silent = scene.arrives(1).await;
            assert!(scene.next().now_or_never().is_none());
            alarms.push(scene.waiting.alarm.as_ref().map(|(_, alarm)| std::ptr::from_ref(&**alarm)));
            sleep(Duration::from_millis(2)).await;
        }
        assert!(alarms.iter().all(|alarm| alarm.is_some() && *alarm == alarms[0]), "{alarms:?}");
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
        assert!(scene.waiting.waiters.is_empty(), "who has hung up is forgotten");
    }

    #[tokio::test]
    async fn one_that_was_reset_after_it_spoke_replaces_nobody() {
        let mut scene = Scene::new().await;
        let [first, reset] = [scene.speaks(1).await, scene.speaks(1).await];
        assert!(scene.waiting.waiters.iter().all(|waiter| !waiter.has_spoken));
        poll_fn(|cx| {
            scene.waiting.listen(cx);
            Poll::Ready(())
        })
        .await;
        reset.set_zero_linger().unwrap();
        drop(reset);
        assert_eq!(scene.next().await, first.local_addr().unwrap());
        assert!(scene.waiting.waiters.is_empty());
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
    async fn too_many_are_refused_of_the_peer_with_the_most() {
        let mut scene = Scene::new().await;
        let mut clients = vec![scene.arrives(2).await];
        for _ in 0..WAITING_ARRIVALS + 3 {
            clients.push(scene.arrives(1).await);
        }
        assert_eq!((scene.waiting.waiters.len(), scene.refused.len()), (WAITING_ARRIVALS, 4));
        let refused: Vec<_> = scene.refused.iter().map(|stream| stream.peer_addr().unwrap()).collect();
        let oldest: Vec<_> = clients[1..5].iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(refused, oldest);
        assert_eq!(scene.next().await, clients[0].local_addr().unwrap());
        assert_eq!(scene.next().await, clients[5].local_addr().unwrap());
    }
}

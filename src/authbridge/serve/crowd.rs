//! Connections of one listener, counted by peer: which one ends so that another finds room. No peer takes the places of all,
//! and no connection with a request under way is ended for another.

use super::members::{Kind, Members};
use super::paced::Paced;
use super::turns::Turns;
use crate::calls::{Call, Calls};
use crate::denial::Code;
use crate::limits::{FEWEST_HEADS, HEAD_BYTES, IPV6_PREFIX};
use crate::pending::Pending;
use crate::stats::Stats;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::timeout;

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most connections.
    pub(crate) connections: usize,
    /// Most connections of one peer.
    pub(crate) per_peer: usize,
    /// Most connections that are being read without a request under way, in units of [`HEAD_BYTES`].
    pub(crate) heads: u64,
    /// Most arrivals that wait for another connection of their peer to end.
    pub(crate) waiting: usize,
    /// Most requests that are passed on at once.
    pub(crate) calls: usize,
}

impl Bounds {
    /// Bounds of a listener whose `memory` is in bytes; there is always enough for a few connections to be read.
    pub(crate) fn new((connections, per_peer): (usize, usize), memory: usize, waiting: usize) -> Self {
        let heads = memory.checked_div(HEAD_BYTES).unwrap_or(0).max(FEWEST_HEADS);
        let heads = u64::try_from(heads).unwrap_or(u64::MAX);
        Self { connections, per_peer, heads, waiting, calls: usize::MAX }
    }

    /// The same with at most so many requests that are passed on at once.
    #[must_use]
    pub(crate) const fn with_calls(self, calls: usize) -> Self {
        Self { calls, ..self }
    }

    /// Most requests that are passed on at once, and the most of one peer: half, or one for each of its connections.
    fn calls(&self) -> (usize, usize) {
        (self.calls, self.calls.div_euclid(2).max(self.per_peer))
    }
}

/// Memory of a connection that is being read, in units of [`HEAD_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadCost {
    /// A header block of HTTP/1.1, or a TLS handshake.
    One,
    /// HTTP/2: the window of the connection beside a header block.
    Http2,
    /// What one of HTTP/2 gives back between requests: all but what hyper holds then.
    Http2Request,
}

impl HeadCost {
    const fn units(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Http2 => 8,
            Self::Http2Request => 7,
        }
    }
}

/// All connections of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Crowd(Arc<Inner>);

/// What the places of a crowd share: each of them holds one pointer.
struct Inner {
    bounds: Box<dyn Fn() -> Bounds + Send + Sync>,
    members: Mutex<Members>,
    calls: Calls,
    /// Turns at reading while memory is full.
    turns: Turns,
    /// Rate at which a peer ends its own for memory.
    paced: Paced,
    stats: Stats,
}

/// Place of one connection in its [`Crowd`], given back when it is dropped.
pub(crate) struct Place {
    crowd: Crowd,
    peer: IpAddr,
    number: u64,
    /// Requests under way.
    pub(crate) pending: Arc<Pending>,
}

/// Memory of a connection that is being read, given back when it is dropped.
pub(crate) struct Head<'a> {
    place: &'a Place,
    units: u64,
}

/// Peer as which an address is counted: a host has a whole IPv6 prefix to itself.
fn peer_of(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & IPV6_PREFIX)),
        ip @ IpAddr::V4(_) => ip,
    }
}

impl Crowd {
    /// No connections yet; `bounds` says what is in force.
    pub(crate) fn new(bounds: impl Fn() -> Bounds + Send + Sync + 'static, stats: Stats) -> Self {
        let (members, calls) = (Mutex::default(), Calls::default());
        let (turns, paced) = (Turns::default(), Paced::default());
        Self(Arc::new(Inner { bounds: Box::new(bounds), members, calls, turns, paced, stats }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Members) -> T) -> T {
        work(&mut self.0.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Peer of an arrival from `address`, if another connection of the same peer must end for it, and how many may wait for
    /// that: it has as many as one may have, or the most while all are in use. `None` if there is room, or another peer makes
    /// it.
    pub(crate) fn must_replace(&self, address: SocketAddr) -> Option<(IpAddr, usize)> {
        let (peer, bounds) = (peer_of(address), (self.0.bounds)());
        let replaces = self.with(|members| {
            members.of(peer) >= bounds.per_peer
                || (members.count() >= bounds.connections && members.idles_most(peer))
        });
        replaces.then_some((peer, bounds.waiting))
    }

    /// A place for a connection from `address`. If there is none left, the idlest connection of the peer with the most of
    /// them ends, and at its own bound the idlest of this peer; `None` if requests are under way on all of them.
    pub(crate) fn enter(&self, address: SocketAddr) -> Option<Place> {
        let (peer, bounds) = (peer_of(address), (self.0.bounds)());
        let place = self.with(|members| {
            // More than one only after the bound was lowered.
            while members.of(peer) >= bounds.per_peer {
                if !members.end_idlest_of(peer) {
                    return None;
                }
            }
            while members.count() >= bounds.connections {
                if !members.end_idlest(Kind::Idle) {
                    return None;
                }
            }
            let (number, pending) = members.join(peer);
            Some(Place { crowd: self.clone(), peer, number, pending })
        });
        self.counted(place)
    }

    fn counted<T>(&self, room: Option<T>) -> Option<T> {
        if room.is_none() {
            self.refused();
        }
        room
    }

    /// Counts a connection that is refused for want of room.
    pub(crate) fn refused(&self) {
        self.0.stats.denied(Code::Overloaded);
    }

    /// Tells the task of a connection, which ends if its place is needed.
    pub(crate) fn runs(&self, key: (IpAddr, u64), task: AbortHandle) {
        self.with(|members| members.runs(key, task));
    }
}

impl Place {
    /// Peer as which the connection is counted.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Peer and number, by which [`Crowd::runs`] knows the connection.
    pub(crate) const fn key(&self) -> (IpAddr, u64) {
        (self.peer, self.number)
    }

    /// A request of this connection that is passed on; `None` if too many of its peer or of all are.
    pub(crate) fn call(&self) -> Option<Call> {
        self.crowd.0.calls.begin(self.peer, (self.crowd.0.bounds)().calls())
    }

    /// Memory to read this connection with. If there is none left, the idlest other one that is half read ends; `None` if
    /// there is no such one, or it takes longer than `patience`, and the connection is to be refused then.
    pub(crate) async fn read(&self, cost: HeadCost, patience: Duration) -> Option<Head<'_>> {
        let head = timeout(patience, self.set_aside(cost)).await;
        self.crowd.counted(head.ok().flatten())
    }

    /// Peers have turns at that, so that what many connections of one have sent is not read at once; the one whose own would
    /// end for it passes at a limited rate.
    async fn set_aside(&self, cost: HeadCost) -> Option<Head<'_>> {
        let (units, most) = (cost.units(), (self.crowd.0.bounds)().heads);
        self.pending.comes();
        // With a request under way it is not half read, and takes nothing of this memory.
        let is_full = |members: &Members| {
            self.pending.is_idle() && members.half_read_units().saturating_add(units) > most
        };
        let mut must_wait = self.crowd.with(|members| is_full(members));
        if must_wait && self.crowd.with(|members| members.half_reads_most(self.peer)) {
            self.crowd.0.paced.pass(self.peer).await;
            must_wait = self.crowd.with(|members| is_full(members));
        }
        let turn = if must_wait { Some(self.crowd.0.turns.turn(self.peer).await) } else { None };
        let head = self.crowd.with(|members| {
            // Bytes of this one have come, and what it holds already is not taken from it for them.
            members.stays(self.key());
            let mut has_room = true;
            while has_room && is_full(members) {
                has_room = members.end_idlest(Kind::HalfRead);
            }
            if has_room {
                self.pending.take(units);
            }
            members.reads(self.key());
            has_room.then(|| Head { place: self, units })
        });
        if turn.is_some() {
            // The task that was ended gives its memory back when it has its turn.
            yield_now().await;
        }
        head
    }
}

impl Head<'_> {
    /// Splits off so much, which may then be given back by itself.
    pub(crate) fn split_off(&mut self, cost: HeadCost) -> Self {
        let units = cost.units().min(self.units);
        self.units = self.units.saturating_sub(units);
        Self { place: self.place, units }
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        self.place.pending.give_back(self.units);
        self.place.crowd.with(|members| members.gave_back(self.place.key()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.with(|members| drop(members.remove(self.key())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REPLACED_AT_ONCE;
    use crate::pending::millis;
    use std::sync::atomic::{AtomicU64, Ordering};

    mod uploads;

    const LONG: Duration = Duration::from_mins(1);

    fn crowd(connections: usize, per_peer: usize, heads: u64) -> Crowd {
        Crowd::new(move || Bounds { connections, per_peer, heads, waiting: 16, calls: 9 }, Stats::new())
    }

    fn from(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    fn is_in(place: &Place) -> bool {
        place.crowd.with(|members| members.has(place.key()))
    }

    fn present(places: &[&Place]) -> Vec<bool> {
        places.iter().map(|place| is_in(place)).collect()
    }

    #[test]
    fn a_peer_at_its_bound_loses_its_own_idlest_connection() {
        let crowd = crowd(100, 2, 100);
        let other = crowd.enter(from("10.0.0.2")).unwrap();
        let [first, second] = [(); 2].map(|()| crowd.enter(from("10.0.0.1")).unwrap());
        drop(first.pending.ticket());
        let joined = second.pending.idle_since();
        first.pending.idle_since_for_tests(joined + 9);
        second.pending.idle_since_for_tests(joined + 5);
        let third = crowd.enter(from("10.0.0.1")).unwrap();
        assert_eq!(present(&[&other, &first, &second, &third]), [true, true, false, true]);
        let _busy = (first.pending.ticket(), third.pending.ticket());
        assert!(crowd.enter(from("10.0.0.1")).is_none(), "requests are under way on all");
        assert!(crowd.enter(from("10.0.0.2")).is_some());
    }

    #[test]
    fn an_arrival_waits_while_one_of_its_own_peer_must_end_for_it() {
        let [one, other, third] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(from);
        for (connections, per_peer, ones, others, waits) in [
            (4, 2, 1, 0, [false, false, false]),
            (4, 2, 2, 0, [true, false, false]),
            (4, 2, 2, 2, [true, true, false]),
            (4, 3, 3, 1, [true, false, false]),
            (4, 4, 3, 0, [false, false, false]),
            (4, 4, 3, 1, [true, false, false]),
            (4, 4, 1, 3, [false, true, false]),
            (4, 4, 4, 0, [true, false, false]),
        ] {
            let crowd = crowd(connections, per_peer, 100);
            let places: Vec<_> = [vec![one; ones], vec![other; others]].concat();
            let places: Vec<_> = places.into_iter().map(|peer| crowd.enter(peer).unwrap()).collect();
            let found = [one, other, third].map(|peer| crowd.must_replace(peer).map(|(peer, _)| peer));
            let expected = [one, other, third].map(|peer| peer.ip());
            for ((found, peer), waits) in found.into_iter().zip(expected).zip(waits) {
                assert_eq!(found, waits.then_some(peer), "{connections} {per_peer} {ones} {others}");
            }
            drop(places);
            assert_eq!(crowd.must_replace(one), None);
        }
    }

    #[test]
    fn the_peer_with_the_most_connections_makes_room_for_others() {
        let crowd = crowd(4, 4, 100);
        let many = [(); 3].map(|()| crowd.enter(from("10.0.0.1")).unwrap());
        let one = crowd.enter(from("10.0.0.2")).unwrap();
        let _busy = many[0].pending.ticket();
        let late = crowd.enter(from("10.0.0.3")).unwrap();
        assert_eq!(many.iter().filter(|place| is_in(place)).count(), 2);
        assert_eq!(present(&[&many[0], &one, &late]), [true; 3]);
        let _rest: Vec<_> = many.iter().chain([&one, &late]).map(|place| place.pending.ticket()).collect();
        assert!(crowd.enter(from("10.0.0.4")).is_none());
    }

    #[test]
    fn an_ipv6_peer_is_its_prefix_and_a_mapped_address_is_ipv4() {
        for (one, other, same) in [
            ("fd00::1", "fd00::2:0:0:1", true),
            ("fd00::1", "fd00:0:0:1::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            assert_eq!(peer_of(from(one)) == peer_of(from(other)), same, "{one} {other}");
        }
    }

    #[tokio::test]
    async fn memory_for_reading_is_taken_from_the_peer_that_holds_the_most_half_read() {
        let crowd = crowd(100, 100, 9);
        let places = [(); 3].map(|()| crowd.enter(from("10.0.0.1")).unwrap());
        let [half, busy, silent] = &places;
        let (_half, _busy) =
            (half.read(HeadCost::One, LONG).await.unwrap(), busy.read(HeadCost::One, LONG).await.unwrap());
        let _request = busy.pending.ticket();
        let late = crowd.enter(from("10.0.0.2")).unwrap();
        let http2 = late.read(HeadCost::Http2, LONG).await.unwrap();
        assert_eq!(present(&[half, busy, silent]), [true; 3], "there is room for all");
        let _silent = silent.read(HeadCost::One, LONG).await.unwrap();
        assert_eq!(
            present(&[half, busy, silent, &late]),
            [true, true, true, false],
            "one of HTTP/2 holds more"
        );
        drop(http2);
        let next = crowd.enter(from("10.0.0.2")).unwrap();
        assert!(next.read(HeadCost::Http2, LONG).await.is_some());
        assert_eq!(
            present(&[half, busy, silent, &next]),
            [false, true, true, true],
            "and two more than none"
        );
        assert!(next.read(HeadCost::Http2, LONG).await.is_some(), "memory is given back");
        let _requests: Vec<_> = [busy, silent, &next].map(|place| place.pending.ticket()).into();
        assert!(next.read(HeadCost::Http2, LONG).await.is_some(), "requests under way are not half read");
    }

    #[tokio::test]
    async fn while_memory_is_full_peers_have_turns_at_reading() {
        let (crowd, order) = (crowd(100, 100, 1), Arc::new(Mutex::new(Vec::new())));
        let first = crowd.enter(from("10.0.0.9")).unwrap();
        let _full = first.read(HeadCost::One, LONG).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for peer in ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"] {
            let (place, order) = (crowd.enter(from(peer)).unwrap(), Arc::clone(&order));
            tasks.spawn(async move {
                assert!(place.read(HeadCost::One, LONG).await.is_some());
                order.lock().unwrap().push(peer);
            });
        }
        tasks.join_all().await;
        let order = order.lock().unwrap();
        assert_eq!(order[2..], ["10.0.0.2", "10.0.0.1"], "who comes last is not behind all of another peer");
    }

    #[tokio::test]
    async fn a_peer_ends_its_own_for_memory_at_a_rate_and_another_reads_at_once() {
        let (crowd, read) = (crowd(10_000, 10_000, 1), Arc::new(AtomicU64::new(0)));
        let (began, mut tasks) = (millis(), tokio::task::JoinSet::new());
        for _ in 0..3000 {
            let (place, read) = (crowd.enter(from("10.0.0.1")).unwrap(), Arc::clone(&read));
            tasks.spawn(async move {
                let _head = place.read(HeadCost::One, LONG).await;
                read.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            });
        }
        for _ in 0..500 {
            yield_now().await;
        }
        let honest = crowd.enter(from("10.0.0.2")).unwrap();
        assert!(honest.read(HeadCost::One, LONG).await.is_some());
        let (read, most) = (read.load(Ordering::Relaxed), REPLACED_AT_ONCE + 64 + (millis() - began));
        assert!((1..most).contains(&read), "{read} of 3000 were read, and at most {most} may be");
    }

    #[tokio::test]
    async fn who_waits_too_long_for_memory_is_refused_and_counted() {
        let stats = Stats::new();
        let bounds = || Bounds { connections: 9, per_peer: 9, heads: 1, waiting: 16, calls: 9 };
        let crowd = Crowd::new(bounds, stats.clone());
        let first = crowd.enter(from("10.0.0.1")).unwrap();
        let _full = first.read(HeadCost::One, LONG).await.unwrap();
        // Somebody else has the turn and keeps it.
        let _turn = crowd.0.turns.turn(first.peer).await;
        let late = crowd.enter(from("10.0.0.2")).unwrap();
        let read = timeout(LONG / 10, late.read(HeadCost::One, Duration::from_millis(20))).await;
        assert!(read.expect("it waits still").is_none());
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, &stats.registry()).unwrap();
        let counted = metrics.lines().find(|line| line.contains("request.overloaded")).unwrap();
        assert!(counted.ends_with(" 1"), "{counted}");
    }

    #[tokio::test]
    async fn who_reads_on_does_not_end_itself_for_the_memory() {
        let crowd = crowd(100, 100, 16);
        let now = millis();
        let places: Vec<_> = (0..9).map(|_| crowd.enter(from("10.0.0.1")).unwrap()).collect();
        let halves: Vec<_> = (0..7).map(|_| crowd.enter(from("10.0.0.1")).unwrap()).collect();
        let mut kept = Vec::new();
        for (number, place) in (0..).zip(&places) {
            place.pending.idle_since_for_tests(now + number);
            let mut head = place.read(HeadCost::Http2, LONG).await.unwrap();
            drop(head.split_off(HeadCost::Http2Request));
            kept.push(head);
        }
        for (number, place) in (100..).zip(&halves) {
            place.pending.idle_since_for_tests(now + number);
            kept.push(place.read(HeadCost::One, LONG).await.unwrap());
        }
        let all: Vec<_> = places.iter().chain(&halves).collect();
        assert_eq!(present(&all), vec![true; 16], "there is room for all");
        // The one that has rested the longest has its next request now.
        assert!(places[0].read(HeadCost::Http2Request, LONG).await.is_some());
        assert_eq!(present(&all), [vec![true], vec![false; 7], vec![true; 8]].concat());
    }

    #[tokio::test]
    async fn those_that_read_on_at_once_do_not_end_each_other_before_those_that_rest() {
        let crowd = crowd(100, 100, 9);
        let places: Vec<_> = (0..9).map(|_| crowd.enter(from("10.0.0.1")).unwrap()).collect();
        let mut kept = Vec::new();
        for place in &places {
            kept.push(place.read(HeadCost::One, LONG).await.unwrap());
        }
        let turn = crowd.0.turns.turn(from("10.0.0.9").ip()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let [one, other] = [0, 1].map(|number: usize| places[number].read(HeadCost::One, LONG));
        let both_ask = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(turn);
        };
        let (one, other, ()) = tokio::join!(one, other, both_ask);
        assert!(one.is_some() && other.is_some());
        let all: Vec<_> = places.iter().collect();
        assert_eq!(present(&all), [[true; 2].as_slice(), &[false; 2], &[true; 5]].concat());
    }

    #[tokio::test]
    async fn a_connection_with_a_request_under_way_is_read_on_whatever_memory_is_taken() {
        let crowd = crowd(100, 100, 9);
        let [busy, other] = ["10.0.0.1", "10.0.0.2"].map(|peer| crowd.enter(from(peer)).unwrap());
        let _one = busy.read(HeadCost::One, LONG).await.unwrap();
        let _full = other.read(HeadCost::Http2, LONG).await.unwrap();
        // Somebody else has the turn and keeps it.
        let _turn = crowd.0.turns.turn(other.peer).await;
        assert!(busy.read(HeadCost::Http2Request, Duration::from_millis(20)).await.is_none());
        let ticket = busy.pending.ticket();
        assert!(busy.read(HeadCost::Http2Request, Duration::from_millis(20)).await.is_some());
        assert_eq!(present(&[&busy, &other]), [true, true]);
        drop(ticket);
    }

    #[tokio::test]
    async fn who_is_refused_more_memory_may_end_for_others() {
        let crowd = crowd(100, 100, 8);
        let [rests, busy] = ["10.0.0.1", "10.0.0.2"].map(|peer| crowd.enter(from(peer)).unwrap());
        let _one = rests.read(HeadCost::One, LONG).await.unwrap();
        assert!(rests.read(HeadCost::Http2, LONG).await.is_none(), "it would be the only one to end");
        assert!(is_in(&rests));
        assert!(busy.read(HeadCost::Http2, LONG).await.is_some());
        assert_eq!(present(&[&rests, &busy]), [false, true]);
    }
}

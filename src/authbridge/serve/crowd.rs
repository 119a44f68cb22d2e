//! Connections of one listener, counted by peer: which one ends so that another finds room. No peer takes the places of all,
//! and no connection with a request under way is ended for another.

use crate::body::Pending;
use crate::denial::Code;
use crate::limits::{FEWEST_HEADS, HEAD_BYTES, IPV6_PREFIX};
use crate::stats::Stats;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{AbortHandle, yield_now};

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most connections.
    pub(crate) connections: usize,
    /// Most connections of one peer.
    pub(crate) per_peer: usize,
    /// Most connections that are being read without a request under way, in units of [`HEAD_BYTES`].
    pub(crate) heads: usize,
}

impl Bounds {
    /// Bounds of a listener whose `memory` is in bytes; there is always enough for a few connections.
    pub(crate) fn new((connections, per_peer): (usize, usize), memory: usize) -> Self {
        let heads = memory.checked_div(HEAD_BYTES).unwrap_or(0).max(FEWEST_HEADS);
        Self { connections: connections.max(1), per_peer: per_peer.max(1), heads }
    }
}

/// Memory of a connection that is being read, in units of [`HEAD_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadCost {
    /// A header block of HTTP/1.1, or a TLS handshake.
    One,
    /// HTTP/2: the window of the connection beside a header block.
    Http2,
}

impl HeadCost {
    const fn units(self) -> usize {
        match self {
            Self::One => 1,
            Self::Http2 => 8,
        }
    }
}

/// All connections of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Crowd {
    bounds: Arc<dyn Fn() -> Bounds + Send + Sync>,
    state: Arc<Mutex<State>>,
    stats: Stats,
}

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<IpAddr, BTreeMap<u64, Member>>,
    members: usize,
    /// Units taken since they were last counted, and those that were taken then. Never less than what is half read now.
    heads: usize,
    next: u64,
}

#[derive(Debug)]
struct Member {
    pending: Arc<Pending>,
    /// Units of memory that it takes while it is read; 0 while it is silent.
    head: Arc<AtomicUsize>,
    task: Option<AbortHandle>,
}

/// Place of one connection in its [`Crowd`], given back when it is dropped.
pub(crate) struct Place {
    crowd: Crowd,
    peer: IpAddr,
    number: u64,
    head: Arc<AtomicUsize>,
    /// Requests under way.
    pub(crate) pending: Arc<Pending>,
}

/// Memory of a connection that is being read, given back when it is dropped.
pub(crate) struct Head<'a>(&'a Place);

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
        Self { bounds: Arc::new(bounds), state: Arc::default(), stats }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for a connection from `address`. If there is none left, the idlest connection of the peer with the most of
    /// them ends, and at its own bound the idlest of this peer; `None` if requests are under way on all of them.
    pub(crate) fn enter(&self, address: SocketAddr) -> Option<Place> {
        let (peer, bounds) = (peer_of(address), (self.bounds)());
        let place = self.with(|state| {
            // More than one only after the bound was lowered.
            while state.of(peer) >= bounds.per_peer {
                if !state.end_idlest_of(peer, Member::is_idle) {
                    return None;
                }
            }
            while state.members >= bounds.connections {
                if !state.end_idlest(Member::is_idle) {
                    return None;
                }
            }
            let (pending, head) = (Arc::new(Pending::default()), Arc::new(AtomicUsize::new(0)));
            let number = state.next;
            state.next = number.wrapping_add(1);
            state.members = state.members.saturating_add(1);
            let member = Member { pending: Arc::clone(&pending), head: Arc::clone(&head), task: None };
            state.peers.entry(peer).or_default().insert(number, member);
            Some(Place { crowd: self.clone(), peer, number, head, pending })
        });
        self.counted(place)
    }

    fn counted<T>(&self, room: Option<T>) -> Option<T> {
        if room.is_none() {
            self.stats.denied(Code::Overloaded);
        }
        room
    }

    /// Tells the task of a connection, which ends if its place is needed.
    pub(crate) fn runs(&self, (peer, number): (IpAddr, u64), task: AbortHandle) {
        self.with(|state| {
            if let Some(member) = state.peers.get_mut(&peer).and_then(|members| members.get_mut(&number)) {
                member.task = Some(task);
            }
        });
    }
}

impl Member {
    fn is_idle(&self) -> bool {
        self.pending.is_idle()
    }

    /// True while bytes are read that are no request yet.
    fn is_half_read(&self) -> bool {
        self.half_read() > 0
    }

    /// Units of memory of such bytes.
    fn half_read(&self) -> usize {
        if self.is_idle() { self.head.load(Ordering::Relaxed) } else { 0 }
    }
}

impl State {
    fn of(&self, peer: IpAddr) -> usize {
        self.peers.get(&peer).map_or(0, BTreeMap::len)
    }

    /// Ends the idlest connection that `may_end`: of the peer with the most of them all, or else of any peer.
    fn end_idlest(&mut self, may_end: impl Fn(&Member) -> bool + Copy) -> bool {
        let largest = self.peers.iter().max_by_key(|(_, members)| members.len()).map(|(peer, _)| *peer);
        if largest.is_some_and(|peer| self.end_idlest_of(peer, may_end)) {
            return true;
        }
        let mut others: Vec<(usize, IpAddr)> =
            self.peers.iter().map(|(peer, members)| (members.len(), *peer)).collect();
        others.sort_unstable_by(|one, other| other.cmp(one));
        others.into_iter().any(|(_, peer)| self.end_idlest_of(peer, may_end))
    }

    fn end_idlest_of(&mut self, peer: IpAddr, may_end: impl Fn(&Member) -> bool) -> bool {
        let members = self.peers.get(&peer).into_iter().flatten();
        let idle = members.filter(|(_, member)| may_end(member));
        let Some(number) =
            idle.min_by_key(|(_, member)| member.pending.idle_since()).map(|(number, _)| *number)
        else {
            return false;
        };
        if let Some(task) = self.remove(peer, number).and_then(|member| member.task) {
            task.abort();
        }
        true
    }

    fn remove(&mut self, peer: IpAddr, number: u64) -> Option<Member> {
        let members = self.peers.get_mut(&peer)?;
        let member = members.remove(&number)?;
        if members.is_empty() {
            self.peers.remove(&peer);
        }
        self.members = self.members.saturating_sub(1);
        Some(member)
    }

    /// Counts what is half read now: requests under way need no room to be read.
    fn count_heads(&mut self) -> usize {
        self.heads = self.peers.values().flat_map(BTreeMap::values).map(Member::half_read).sum();
        self.heads
    }
}

impl Place {
    /// Peer and number, by which [`Crowd::runs`] knows the connection.
    pub(crate) const fn key(&self) -> (IpAddr, u64) {
        (self.peer, self.number)
    }

    /// Memory to read this connection with. If there is none left, the idlest one that is half read ends; `None` if there
    /// is no such one.
    pub(crate) async fn read(&self, cost: HeadCost) -> Option<Head<'_>> {
        let (units, most, mut is_full) = (cost.units(), (self.crowd.bounds)().heads, false);
        let head = self.crowd.with(|state| {
            while state.heads.saturating_add(units) > most && state.count_heads().saturating_add(units) > most
            {
                is_full = true;
                if !state.end_idlest(Member::is_half_read) {
                    return None;
                }
            }
            self.head.store(units, Ordering::Relaxed);
            state.heads = state.heads.saturating_add(units);
            Some(Head(self))
        });
        if is_full {
            // The task that was ended gives its memory back when it has its turn.
            yield_now().await;
        }
        self.crowd.counted(head)
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        self.0.head.store(0, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.with(|state| drop(state.remove(self.peer, self.number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(connections: usize, per_peer: usize, heads: usize) -> Crowd {
        Crowd::new(move || Bounds { connections, per_peer, heads }, Stats::new())
    }

    fn from(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    fn is_in(place: &Place) -> bool {
        place.crowd.with(|state| {
            state.peers.get(&place.peer).is_some_and(|members| members.contains_key(&place.number))
        })
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
        first.pending.idle_for_tests(9);
        second.pending.idle_for_tests(5);
        let third = crowd.enter(from("10.0.0.1")).unwrap();
        assert_eq!(present(&[&other, &first, &second, &third]), [true, true, false, true]);
        let _busy = (first.pending.ticket(), third.pending.ticket());
        assert!(crowd.enter(from("10.0.0.1")).is_none(), "requests are under way on all");
        assert!(crowd.enter(from("10.0.0.2")).is_some());
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
    async fn memory_for_reading_is_taken_from_the_idlest_that_is_half_read() {
        let crowd = crowd(100, 100, 9);
        let places = [(); 3].map(|()| crowd.enter(from("10.0.0.1")).unwrap());
        let [half, busy, silent] = &places;
        let (_half, _busy) =
            (half.read(HeadCost::One).await.unwrap(), busy.read(HeadCost::One).await.unwrap());
        let _request = busy.pending.ticket();
        let late = crowd.enter(from("10.0.0.2")).unwrap();
        let http2 = late.read(HeadCost::Http2).await.unwrap();
        assert_eq!(present(&[half, busy, silent]), [true; 3], "there is room for all");
        assert!(silent.read(HeadCost::One).await.is_some());
        assert_eq!(present(&[half, busy, silent]), [false, true, true]);
        drop(http2);
        assert!(silent.read(HeadCost::Http2).await.is_some(), "memory is given back");
        let _requests: Vec<_> = [busy, silent, &late].map(|place| place.pending.ticket()).into();
        assert!(late.read(HeadCost::Http2).await.is_some(), "requests under way are not half read");
    }
}

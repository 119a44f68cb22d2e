//! Members of a crowd, and which of them ends. Nothing is told here while requests come and go, so a queue may be behind:
//! a time in it is never later than the true one, and is corrected once it comes first. A member with a request under way
//! leaves its queue then, and comes back when it is idle again. So each correction follows a request, and what one
//! connection costs does not depend on how many there are.

use super::queue::Queue;
use crate::limits::COMPARED_PEERS;
use crate::pending::{HalfRead, Pending};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use tokio::task::AbortHandle;

/// What a connection must be to end for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No request under way.
    Idle,
    /// The same, and memory is set aside to read it with.
    HalfRead,
}

/// Connections of one listener, by peer.
#[derive(Debug, Default)]
pub(super) struct Members {
    peers: BTreeMap<IpAddr, Peer>,
    count: usize,
    next: u64,
    /// Ranked by all connections of a peer, since each of them has a place.
    idle: Queue,
    /// Ranked by the connections of a peer that are in it, some of which may have been read since.
    half_read: Queue,
    units: Arc<HalfRead>,
    returned: Arc<Returned>,
    /// Entries of queues that were looked at to find which one ends.
    #[cfg(test)]
    looked_at: usize,
}

/// Connections of one peer.
#[derive(Debug)]
struct Peer {
    members: BTreeMap<u64, Member>,
    /// Units of memory of those that are half read.
    units: Arc<HalfRead>,
}

#[derive(Debug)]
struct Member {
    pending: Arc<Pending>,
    task: Option<AbortHandle>,
    /// Times under which it is in the queues.
    idle: Option<u64>,
    half_read: Option<u64>,
}

/// Where a member belongs in a queue.
#[derive(Clone, Copy, Debug)]
enum Standing {
    At(u64),
    /// Nowhere while requests are under way.
    Busy,
    /// Nowhere until it is read again.
    Out,
}

impl Member {
    fn standing(&self, kind: Kind) -> Standing {
        match kind {
            Kind::HalfRead if self.pending.units() == 0 => Standing::Out,
            _ if self.pending.is_idle() => Standing::At(self.pending.idle_since()),
            Kind::Idle | Kind::HalfRead => Standing::Busy,
        }
    }

    const fn queued(&mut self, kind: Kind) -> &mut Option<u64> {
        match kind {
            Kind::Idle => &mut self.idle,
            Kind::HalfRead => &mut self.half_read,
        }
    }
}

/// Members that were taken out of a queue while requests were under way, and are idle again.
#[derive(Debug, Default)]
struct Returned(Mutex<Vec<(IpAddr, u64)>>);

impl Returned {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<(IpAddr, u64)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Return of one member.
struct Return {
    key: (IpAddr, u64),
    to: Arc<Returned>,
}

impl Wake for Return {
    fn wake(self: Arc<Self>) {
        self.to.with(|returned| returned.push(self.key));
    }
}

impl Members {
    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// How many are of one peer.
    pub(super) fn of(&self, peer: IpAddr) -> usize {
        self.peers.get(&peer).map_or(0, |peer| peer.members.len())
    }

    /// Units of memory of those that are half read.
    pub(super) fn half_read_units(&self) -> u64 {
        self.units.units()
    }

    /// True if one of this peer would end for memory.
    pub(super) fn half_reads_most(&self, peer: IpAddr) -> bool {
        self.most(Kind::HalfRead) == Some(peer)
    }

    /// True if one of this peer would end for a place.
    pub(super) fn idles_most(&self, peer: IpAddr) -> bool {
        self.most(Kind::Idle) == Some(peer)
    }

    /// Peer of which a member of this kind ends before others do.
    fn most(&self, kind: Kind) -> Option<IpAddr> {
        match kind {
            Kind::Idle => self.idle.peers().next(),
            // The first of those with as much; `max_by_key` would return the last.
            Kind::HalfRead => {
                self.half_read.peers().take(COMPARED_PEERS).min_by_key(|peer| Reverse(self.units_of(*peer)))
            }
        }
    }

    fn units_of(&self, peer: IpAddr) -> u64 {
        self.peers.get(&peer).map_or(0, |peer| peer.units.units())
    }

    /// Adds a member, and returns its number.
    pub(super) fn join(&mut self, peer: IpAddr) -> (u64, Arc<Pending>) {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.count = self.count.saturating_add(1);
        let of_peer = self.peers.entry(peer).or_insert_with(|| Peer {
            members: BTreeMap::new(),
            units: Arc::new(HalfRead::part_of(&self.units)),
        });
        let pending = Arc::new(Pending::new(&of_peer.units));
        let member = Member { pending: Arc::clone(&pending), task: None, idle: None, half_read: None };
        of_peer.members.insert(number, member);
        self.enqueue((peer, number), Kind::Idle);
        (number, pending)
    }

    /// Tells the task of a member, which is aborted if the member has to end.
    pub(super) fn runs(&mut self, key: (IpAddr, u64), task: AbortHandle) {
        if let Some(member) = self.member(key) {
            member.task = Some(task);
        }
    }

    /// Tells that memory was set aside to read a member with.
    pub(super) fn reads(&mut self, key: (IpAddr, u64)) {
        self.enqueue(key, Kind::HalfRead);
    }

    /// Removes a member, and returns its task.
    pub(super) fn remove(&mut self, (peer, number): (IpAddr, u64)) -> Option<AbortHandle> {
        let members = &mut self.peers.get_mut(&peer)?.members;
        let mut member = members.remove(&number)?;
        if members.is_empty() {
            self.peers.remove(&peer);
        }
        self.count = self.count.saturating_sub(1);
        for kind in [Kind::Idle, Kind::HalfRead] {
            if let Some(since) = member.queued(kind).take() {
                self.queue(kind).remove(peer, (since, number));
            }
        }
        self.resize(peer);
        member.pending.leave();
        member.task
    }

    /// Ends the idlest member of this kind: an idle one of the peer with the most members, a half read one of the peer with
    /// the most memory of such, or else one of any peer. False if there is none.
    pub(super) fn end_idlest(&mut self, kind: Kind) -> bool {
        self.take_returned();
        while let Some(peer) = self.most(kind) {
            // If there was none, nothing of the peer is left in the queue.
            if self.end_first(peer, kind) {
                return true;
            }
        }
        false
    }

    /// Ends the idlest member of one peer that has no request under way. False if there is none.
    pub(super) fn end_idlest_of(&mut self, peer: IpAddr) -> bool {
        self.take_returned();
        self.end_first(peer, Kind::Idle)
    }

    fn end_first(&mut self, peer: IpAddr, kind: Kind) -> bool {
        while let Some((since, number)) = self.queue(kind).first(peer) {
            #[cfg(test)]
            {
                self.looked_at = self.looked_at.saturating_add(1);
            }
            let key = (peer, number);
            match self.member(key).map_or(Standing::Out, |member| member.standing(kind)) {
                Standing::At(now) if now == since => {
                    if let Some(task) = self.remove(key) {
                        task.abort();
                    }
                    return true;
                }
                standing => self.correct(key, (since, kind), standing),
            }
        }
        false
    }

    /// Puts the first of a queue where it belongs.
    fn correct(&mut self, key: (IpAddr, u64), (since, kind): (u64, Kind), standing: Standing) {
        let returned = Arc::clone(&self.returned);
        self.queue(kind).remove(key.0, (since, key.1));
        self.resize(key.0);
        let Some(member) = self.member(key) else { return };
        *member.queued(kind) = None;
        match standing {
            Standing::At(_) => self.enqueue(key, kind),
            Standing::Busy => {
                member.pending.tell_when_idle(&Waker::from(Arc::new(Return { key, to: returned })));
            }
            Standing::Out => {}
        }
    }

    fn take_returned(&mut self) {
        for key in self.returned.with(std::mem::take) {
            self.enqueue(key, Kind::Idle);
            if self.member(key).is_some_and(|member| member.pending.units() > 0) {
                self.enqueue(key, Kind::HalfRead);
            }
        }
    }

    /// Adds a member to a queue unless it is there.
    fn enqueue(&mut self, key: (IpAddr, u64), kind: Kind) {
        let Some(member) = self.member(key) else { return };
        let since = member.pending.idle_since();
        let queued = member.queued(kind);
        if queued.is_none() {
            *queued = Some(since);
            self.queue(kind).add(key.0, (since, key.1));
            self.resize(key.0);
        }
    }

    fn resize(&mut self, peer: IpAddr) {
        self.idle.resize(peer, self.of(peer));
        self.half_read.resize(peer, self.half_read.count(peer));
    }

    /// True if it is there.
    #[cfg(test)]
    pub(super) fn has(&self, (peer, number): (IpAddr, u64)) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.members.contains_key(&number))
    }

    fn member(&mut self, (peer, number): (IpAddr, u64)) -> Option<&mut Member> {
        self.peers.get_mut(&peer).and_then(|peer| peer.members.get_mut(&number))
    }

    const fn queue(&mut self, kind: Kind) -> &mut Queue {
        match kind {
            Kind::Idle => &mut self.idle,
            Kind::HalfRead => &mut self.half_read,
        }
    }
}

#[cfg(test)]
mod tests;

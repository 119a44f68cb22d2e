//! Members of a crowd, and which of them ends. Nothing is told here while requests come and go, so a queue may be behind:
//! a time in it is never later than the true one, and is corrected once it comes first. A member with a request under way
//! leaves its queue then, and comes back when it is idle again. So each correction follows a request, and what one
//! connection costs does not depend on how many there are.

use super::queue::Queue;
use crate::limits::COMPARED_PEERS;
use crate::pending::{HalfRead, Pending};
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
    /// Ranked by the memory that the connections of a peer that are in it are read with, also those of which a request is
    /// under way by now: never less than what is half read.
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
    /// Units of those in the queue of half read ones, as they were told.
    queued_units: u64,
}

#[derive(Debug)]
struct Member {
    pending: Arc<Pending>,
    task: Option<AbortHandle>,
    /// Times under which it is in the queues.
    idle: Option<u64>,
    half_read: Option<u64>,
    /// Part of it in what its peer is ranked by.
    queued_units: u64,
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
            _ if self.pending.is_idle() => Standing::At(self.pending.quiet_since()),
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
    pub(super) fn half_reads_most(&mut self, peer: IpAddr) -> bool {
        self.take_returned();
        self.most(Kind::HalfRead) == Some(peer)
    }

    /// True if one of this peer would end for a place.
    pub(super) fn idles_most(&mut self, peer: IpAddr) -> bool {
        self.most(Kind::Idle) == Some(peer)
    }

    /// Peer of which a member of this kind ends before others do.
    fn most(&mut self, kind: Kind) -> Option<IpAddr> {
        match kind {
            Kind::Idle => self.idle.peers().next().map(|(_, peer)| peer),
            Kind::HalfRead => self.half_reader(),
        }
    }

    /// Peer with the most memory of half read members. A rank may only be too high: where a request of the first in its queue
    /// is under way, the queue is corrected. Where so many ranks are too high that the one with the most may be behind all that
    /// are compared, whoever has a request under way leaves their queues: no single peer can cause that.
    fn half_reader(&mut self) -> Option<IpAddr> {
        loop {
            let (mut most, mut behind, mut is_found) = (None, None, false);
            let (mut too_high, mut compared) = (Vec::new(), 0_usize);
            for (rank, peer) in self.half_read.peers().take(COMPARED_PEERS) {
                is_found = most.is_some_and(|(units, _)| units >= rank);
                if is_found {
                    break;
                }
                compared = compared.saturating_add(1);
                let units = self.units_of(peer);
                if units < rank {
                    if !self.is_first_true(peer) {
                        behind = Some(peer);
                        break;
                    }
                    too_high.push(peer);
                }
                if most.is_none_or(|(most, _)| units > most) {
                    most = Some((units, peer));
                }
            }
            if let Some(peer) = behind {
                let _ = self.first_that_may_end(peer, Kind::HalfRead);
                continue;
            }
            let may_be_behind = !is_found && compared == COMPARED_PEERS;
            if !may_be_behind || !too_high.into_iter().any(|peer| self.corrects_rank(peer)) {
                return most.map(|(_, peer)| peer);
            }
        }
    }

    /// Takes all members of a peer with requests under way out of its queue of half read ones; false if there are none.
    fn corrects_rank(&mut self, peer: IpAddr) -> bool {
        let mut corrected = false;
        for (since, number) in self.half_read.entries(peer) {
            let key = (peer, number);
            let standing = self.member(key).map_or(Standing::Out, |member| member.standing(Kind::HalfRead));
            if !matches!(standing, Standing::At(_)) {
                self.correct(key, (since, Kind::HalfRead), standing);
                corrected = true;
            }
        }
        corrected
    }

    fn is_first_true(&self, peer: IpAddr) -> bool {
        self.half_read.first(peer).is_some_and(|(since, number)| {
            let member = self.peers.get(&peer).and_then(|peer| peer.members.get(&number));
            let standing = member.map_or(Standing::Out, |member| member.standing(Kind::HalfRead));
            matches!(standing, Standing::At(now) if now == since)
        })
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
            queued_units: 0,
        });
        let pending = Arc::new(Pending::new(&of_peer.units));
        let (pending_of_member, task) = (Arc::clone(&pending), None);
        let member =
            Member { pending: pending_of_member, task, idle: None, half_read: None, queued_units: 0 };
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

    /// Tells that a member may be ended for the memory that it is read with, if there is any.
    pub(super) fn reads(&mut self, key: (IpAddr, u64)) {
        if self.member(key).is_some_and(|member| member.pending.units() > 0) {
            self.enqueue(key, Kind::HalfRead);
            self.rank(key);
        }
    }

    /// Tells that memory of a member was given back.
    pub(super) fn gave_back(&mut self, key: (IpAddr, u64)) {
        if self.member(key).is_some_and(|member| member.pending.units() == 0) {
            self.leave_half_read(key);
        }
        self.rank(key);
    }

    /// Keeps a member from being ended for memory until [`Members::reads`].
    pub(super) fn stays(&mut self, key: (IpAddr, u64)) {
        // Otherwise it would be back as soon as others are looked at.
        self.take_returned();
        self.leave_half_read(key);
        self.rank(key);
    }

    fn leave_half_read(&mut self, key: (IpAddr, u64)) {
        if let Some(since) = self.member(key).and_then(|member| member.half_read.take()) {
            self.half_read.remove(key.0, (since, key.1));
        }
    }

    /// Removes a member, and returns its task.
    pub(super) fn remove(&mut self, (peer, number): (IpAddr, u64)) -> Option<AbortHandle> {
        let of_peer = self.peers.get_mut(&peer)?;
        let members = &mut of_peer.members;
        let mut member = members.remove(&number)?;
        let units = std::mem::take(&mut member.queued_units);
        of_peer.queued_units = of_peer.queued_units.saturating_sub(units);
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
        let Some(key) = self.first_that_may_end(peer, kind) else { return false };
        if let Some(task) = self.remove(key) {
            task.abort();
        }
        true
    }

    /// Corrects the queue of a peer until its first member is where it belongs. `None` if no member is left in it.
    fn first_that_may_end(&mut self, peer: IpAddr, kind: Kind) -> Option<(IpAddr, u64)> {
        while let Some((since, number)) = self.queue(kind).first(peer) {
            #[cfg(test)]
            {
                self.looked_at = self.looked_at.saturating_add(1);
            }
            let key = (peer, number);
            match self.member(key).map_or(Standing::Out, |member| member.standing(kind)) {
                Standing::At(now) if now == since => return Some(key),
                standing => self.correct(key, (since, kind), standing),
            }
        }
        None
    }

    /// Puts the first of a queue where it belongs.
    fn correct(&mut self, key: (IpAddr, u64), (since, kind): (u64, Kind), standing: Standing) {
        let returned = Arc::clone(&self.returned);
        self.queue(kind).remove(key.0, (since, key.1));
        let Some(member) = self.member(key) else { return };
        *member.queued(kind) = None;
        match standing {
            Standing::At(_) => self.enqueue(key, kind),
            Standing::Busy => {
                member.pending.tell_when_idle(&Waker::from(Arc::new(Return { key, to: returned })));
            }
            Standing::Out => {}
        }
        self.rank(key);
    }

    fn take_returned(&mut self) {
        for key in self.returned.with(std::mem::take) {
            self.enqueue(key, Kind::Idle);
            self.reads(key);
        }
    }

    /// Adds a member to a queue unless it is there.
    fn enqueue(&mut self, key: (IpAddr, u64), kind: Kind) {
        let Some(member) = self.member(key) else { return };
        let since = member.pending.quiet_since();
        let queued = member.queued(kind);
        if queued.is_none() {
            *queued = Some(since);
            self.queue(kind).add(key.0, (since, key.1));
            self.resize(key.0);
        }
    }

    /// Ranks the peer of a member by the memory that this one is read with, if it is in the queue of those.
    fn rank(&mut self, (peer, number): (IpAddr, u64)) {
        if let Some(of_peer) = self.peers.get_mut(&peer)
            && let Some(member) = of_peer.members.get_mut(&number)
        {
            let units = if member.half_read.is_some() { member.pending.units() } else { 0 };
            let before = std::mem::replace(&mut member.queued_units, units);
            of_peer.queued_units = of_peer.queued_units.saturating_sub(before).saturating_add(units);
        }
        self.resize(peer);
    }

    fn resize(&mut self, peer: IpAddr) {
        self.idle.resize(peer, u64::try_from(self.of(peer)).unwrap_or(u64::MAX));
        self.half_read.resize(peer, self.peers.get(&peer).map_or(0, |peer| peer.queued_units));
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

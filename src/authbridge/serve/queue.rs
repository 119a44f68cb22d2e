//! Connections in the order in which they end: those of the peer with the most of them first, and of one peer the idlest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Time since when a connection is idle at the earliest, and its number.
pub(super) type Entry = (u64, u64);
/// Number of all connections of a peer, whether they are in the queue or not, and the peer.
pub(super) type Rank = (usize, IpAddr);

/// Queue of connections that may end. Each step takes logarithmic time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<IpAddr, BTreeSet<Entry>>,
    /// Of the peers that have entries.
    ranks: BTreeSet<Rank>,
}

impl Queue {
    /// Adds a connection of a peer.
    pub(super) fn add(&mut self, rank: Rank, entry: Entry) {
        self.ranks.insert(rank);
        self.entries.entry(rank.1).or_default().insert(entry);
    }

    /// Removes one.
    pub(super) fn remove(&mut self, rank: Rank, entry: Entry) {
        let Some(entries) = self.entries.get_mut(&rank.1) else { return };
        entries.remove(&entry);
        if entries.is_empty() {
            self.entries.remove(&rank.1);
            self.ranks.remove(&rank);
        }
    }

    /// Gives a peer the rank of so many connections.
    pub(super) fn resize(&mut self, rank: Rank, size: usize) {
        if self.ranks.remove(&rank) {
            self.ranks.insert((size, rank.1));
        }
    }

    /// Peer with the most connections, among those that have any here.
    pub(super) fn largest(&self) -> Option<IpAddr> {
        self.ranks.last().map(|(_, peer)| *peer)
    }

    /// First connection of a peer.
    pub(super) fn first(&self, peer: IpAddr) -> Option<Entry> {
        self.entries.get(&peer).and_then(BTreeSet::first).copied()
    }
}

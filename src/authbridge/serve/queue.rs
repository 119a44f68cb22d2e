//! Connections in the order in which they end: those of the peer that holds the most first, and of one peer the idlest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Time since when a connection is idle at the earliest, and its number.
pub(super) type Entry = (u64, u64);

/// Queue of connections that may end. Each step takes logarithmic time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: BTreeMap<IpAddr, Line>,
    /// Sizes of all lines, and their peers.
    ranks: BTreeSet<(u64, IpAddr)>,
}

/// Connections of one peer.
#[derive(Debug, Default)]
struct Line {
    entries: BTreeSet<Entry>,
    /// What the peer is ranked by.
    size: u64,
}

impl Queue {
    /// Adds a connection of a peer.
    pub(super) fn add(&mut self, peer: IpAddr, entry: Entry) {
        let line = self.lines.entry(peer).or_default();
        line.entries.insert(entry);
        self.ranks.insert((line.size, peer));
    }

    /// Removes one.
    pub(super) fn remove(&mut self, peer: IpAddr, entry: Entry) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        line.entries.remove(&entry);
        if line.entries.is_empty() {
            self.ranks.remove(&(line.size, peer));
            self.lines.remove(&peer);
        }
    }

    /// Ranks a peer that has connections here by this size.
    pub(super) fn resize(&mut self, peer: IpAddr, size: u64) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        if line.size != size {
            self.ranks.remove(&(line.size, peer));
            line.size = size;
            self.ranks.insert((size, peer));
        }
    }

    /// Peers that have connections here with what they are ranked by, the largest first.
    pub(super) fn peers(&self) -> impl Iterator<Item = (u64, IpAddr)> {
        self.ranks.iter().rev().copied()
    }

    /// Connections of a peer, the idlest first.
    pub(super) fn entries(&self, peer: IpAddr) -> Vec<Entry> {
        self.lines.get(&peer).map(|line| line.entries.iter().copied().collect()).unwrap_or_default()
    }

    /// First connection of a peer.
    pub(super) fn first(&self, peer: IpAddr) -> Option<Entry> {
        self.lines.get(&peer).and_then(|line| line.entries.first()).copied()
    }
}

//! Requests of one listener that are passed on, counted by peer. Each may need a connection of its own to the agent, and a caller's
//! connection of HTTP/2 has many: without a bound one neighbour takes all descriptors.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests under way at the agent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_peer: BTreeMap<IpAddr, usize>,
}

/// One request that is passed on; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Calls,
    peer: IpAddr,
}

impl Calls {
    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts one more of `peer`; `None` if that were more than `most` of all or `per_peer` of its own.
    pub(crate) fn begin(&self, peer: IpAddr, (most, per_peer): (usize, usize)) -> Option<Call> {
        self.with(|counts| {
            let own = counts.by_peer.get(&peer).copied().unwrap_or(0);
            if counts.all >= most || own >= per_peer {
                return None;
            }
            counts.all = counts.all.saturating_add(1);
            counts.by_peer.insert(peer, own.saturating_add(1));
            Some(Call { calls: self.clone(), peer })
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.with(|counts| {
            counts.all = counts.all.saturating_sub(1);
            if let Some(own) = counts.by_peer.get_mut(&self.peer) {
                *own = own.saturating_sub(1);
                if *own == 0 {
                    counts.by_peer.remove(&self.peer);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_has_more_calls_than_its_own_bound_and_all_have_no_more_than_theirs() {
        let calls = Calls::default();
        let begin = |peer: u8| calls.begin(IpAddr::from([10, 0, 0, peer]), (3, 2));
        let first = begin(1).unwrap();
        let _second = begin(1).unwrap();
        assert!(begin(1).is_none(), "of this peer");
        let other = begin(2).unwrap();
        assert!(begin(3).is_none(), "of all");
        drop(other);
        assert!(begin(1).is_none(), "of this peer still");
        drop(first);
        let _third = begin(1).unwrap();
        drop(begin(2).unwrap());
        assert_eq!(calls.with(|counts| (counts.all, counts.by_peer.len())), (2, 1));
    }
}

//! Limit on open files (`RLIMIT_NOFILE`): one connection that is passed on needs two descriptors, and the usual soft limit of
//! 1024 is there for programs that use `select`.

use crate::limits::{
    CONNECTIONS_PER_WAITING, FEW_CONNECTIONS, FEW_WAITING, OTHER_DESCRIPTORS, WAITING_ARRIVALS,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one; what the limit is then, `None` for no limit.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!("the limit on open files was not raised: {error}");
            current
        }
    }
}

/// Share of one listener in the descriptors of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    listeners: usize,
    /// Connections for which there are descriptors, and as many requests that are passed on: each of these may have one to the
    /// agent, also where one connection of HTTP/2 has many.
    pub(crate) connections: usize,
    /// Arrivals that may wait for another connection of their peer to end.
    pub(crate) waiting: usize,
}

impl Share {
    /// An equal share for each of so many listeners: two descriptors for each connection, and one for every few for arrivals
    /// that wait. Equal, because any of them may be the one that is flooded, and none may take what another needs.
    pub(crate) fn new(descriptors: Option<u64>, listeners: usize) -> Self {
        let all = descriptors.map_or(usize::MAX, |all| usize::try_from(all).unwrap_or(usize::MAX));
        let left = all.saturating_sub(OTHER_DESCRIPTORS).div_euclid(listeners.max(1));
        let each = CONNECTIONS_PER_WAITING.saturating_mul(2).saturating_add(1);
        let connections = left.div_euclid(each).saturating_mul(CONNECTIONS_PER_WAITING).max(FEW_CONNECTIONS);
        let waiting = connections.div_euclid(CONNECTIONS_PER_WAITING).clamp(FEW_WAITING, WAITING_ARRIVALS);
        Self { listeners, connections, waiting }
    }

    /// Connections of the listener and of one of its peers, of these that are configured. Where descriptors allow fewer, no
    /// peer has more than half: otherwise one could have all of them.
    pub(crate) fn connections(&self, (connections, per_peer): (usize, usize)) -> (usize, usize) {
        if connections <= self.connections {
            return (connections, per_peer);
        }
        (self.connections, per_peer.min(self.connections.div_euclid(2)))
    }

    /// Warns in the log if there are descriptors for fewer than the configured `connections` of each listener.
    pub(crate) fn tell_shortage(&self, connections: usize) {
        if let Some(shortage) = self.shortage(connections) {
            tracing::warn!("{shortage}");
        }
    }

    fn shortage(&self, connections: usize) -> Option<String> {
        let Self { listeners, connections: most, .. } = self;
        (*most < connections).then(|| {
            format!(
                "limits.connections is {connections}, and the limit on open files allows {most} for each of {listeners} \
                 listeners: raise the hard limit, or lower limits.connections to {most}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_shared_between_listeners_their_connections_and_arrivals_that_wait() {
        for (descriptors, listeners, connections, waiting) in [
            (Some(0), 1, 64, 16),
            (Some(64), 3, 64, 16),
            (Some(1024), 1, 240, 30),
            (Some(1024), 2, 120, 16),
            (Some(1024), 5, 64, 16),
            (Some(65_536), 1, 30_592, 128),
            (Some(65_536), 2, 15_296, 128),
            (Some(65_536), 5, 6_112, 128),
        ] {
            let share = Share::new(descriptors, listeners);
            assert_eq!(share, Share { listeners, connections, waiting }, "{descriptors:?} {listeners}");
            let all = listeners * (connections * 2 + waiting) + OTHER_DESCRIPTORS;
            let is_least = connections == FEW_CONNECTIONS;
            assert!(
                is_least || all <= usize::try_from(descriptors.unwrap()).unwrap(),
                "{all} {descriptors:?}"
            );
        }
        assert_eq!(Share::new(None, 5).waiting, 128);
    }

    #[test]
    fn one_peer_has_at_most_half_where_descriptors_allow_fewer_connections() {
        let share = Share::new(Some(1024), 2);
        for (configured, expected) in [
            ((16_384, 8_192), (120, 60)),
            ((16_384, 59), (120, 59)),
            ((121, 121), (120, 60)),
            ((120, 120), (120, 120)),
            ((64, 16), (64, 16)),
        ] {
            assert_eq!(share.connections(configured), expected, "{configured:?}");
        }
    }

    #[test]
    fn too_few_descriptors_are_told_with_what_they_allow() {
        let share = Share::new(Some(1024), 2);
        assert_eq!(share.shortage(120), None);
        let told = share.shortage(121).unwrap();
        assert!(
            told.contains("is 121, and the limit on open files allows 120 for each of 2 listeners"),
            "{told}"
        );
    }
}

//! Open connections by address. Where there are too many, the one that has been idle for longest makes room, so that nobody
//! keeps others out by holding connections on which nothing is asked.

use super::limits::{BODIES_OF_ADDRESS_BYTES, CONNECTIONS, CONNECTIONS_OF_ADDRESS, UNIT};
use countersign_io::clock::instant;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, Semaphore};

/// Open connections; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Connection>,
    addresses: BTreeMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    /// `None` while a request is in flight.
    idle_since: Option<Instant>,
    end: Arc<Notify>,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    bodies: Arc<Semaphore>,
}

/// Place of one open connection, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    all: Arrivals,
    id: u64,
    end: Arc<Notify>,
    /// Room for bodies of requests from the address, in units.
    pub(super) bodies: Arc<Semaphore>,
}

/// A request in flight, which keeps its connection from making room.
#[derive(Debug)]
pub(super) struct Busy<'p>(&'p Place);

impl Arrivals {
    /// Place for one more connection of an address; `None` if there are too many, and no idle one that could make room.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut open = self.lock();
        if open.addresses.get(&address).is_some_and(|known| known.connections >= CONNECTIONS_OF_ADDRESS) {
            open.make_room(Some(address))?;
        } else if open.connections.len() >= CONNECTIONS {
            open.make_room(None)?;
        }
        let id = open.next;
        open.next = id.saturating_add(1);
        let end = Arc::new(Notify::new());
        let connection = Connection { address, idle_since: Some(instant()), end: Arc::clone(&end) };
        open.connections.insert(id, connection);
        let units = BODIES_OF_ADDRESS_BYTES / UNIT;
        let known = open.addresses.entry(address);
        let known =
            known.or_insert_with(|| Address { connections: 0, bodies: Arc::new(Semaphore::new(units)) });
        known.connections = known.connections.saturating_add(1);
        let bodies = Arc::clone(&known.bodies);
        Some(Place { all: self.clone(), id, end, bodies })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Ends the connection, of this address or of any, that has been idle for longest.
    fn make_room(&mut self, of: Option<IpAddr>) -> Option<()> {
        let idle = self.connections.iter().filter(|(_, one)| of.is_none_or(|address| one.address == address));
        let idle = idle.filter_map(|(id, one)| Some((one.idle_since?, *id)));
        let (_, id) = idle.min()?;
        self.connections.get(&id)?.end.notify_one();
        self.leave(id);
        Some(())
    }

    fn leave(&mut self, id: u64) {
        let Some(left) = self.connections.remove(&id) else { return };
        if let Some(address) = self.addresses.get_mut(&left.address) {
            address.connections = address.connections.saturating_sub(1);
            if address.connections == 0 {
                self.addresses.remove(&left.address);
            }
        }
    }
}

impl Place {
    /// Marks a request as in flight.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.set(None);
        Busy(self)
    }

    /// Waits until the connection has to make room.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }

    fn set(&self, idle_since: Option<Instant>) {
        if let Some(connection) = self.all.lock().connections.get_mut(&self.id) {
            connection.idle_since = idle_since;
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(Some(instant()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ended(place: &Place) -> bool {
        use futures::FutureExt;
        place.ended().now_or_never().is_some()
    }

    #[test]
    fn whoever_is_idle_for_longest_makes_room_and_whoever_is_asked_does_not() {
        let arrivals = Arrivals::default();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let places: Vec<Place> = (0..CONNECTIONS_OF_ADDRESS).map(|_| arrivals.enter(one).unwrap()).collect();
        let busy = places[0].busy();
        let first = arrivals.enter(one).unwrap();
        assert!(!is_ended(&places[0]) && is_ended(&places[1]) && !is_ended(&places[2]));
        drop(busy);
        let others: Vec<Place> =
            (0..CONNECTIONS_OF_ADDRESS).map(|_| arrivals.enter(other).unwrap()).collect();
        // All are taken, and the one of a third address ends the one that was idle before all others.
        let third = arrivals.enter("192.0.2.3".parse().unwrap()).unwrap();
        assert!(is_ended(&places[2]) && !is_ended(&places[0]) && !others.iter().any(is_ended));
        let all: Vec<Busy<'_>> = places.iter().chain(&others).chain([&third]).map(Place::busy).collect();
        assert!(arrivals.enter(other).is_none(), "every connection of the address is asked something");
        drop(all);
        drop((places, others, third, first));
        let open = arrivals.lock();
        assert!(open.connections.is_empty() && open.addresses.is_empty());
    }
}

//! Count of open connections by address.

use super::limits::CONNECTIONS_OF_ADDRESS;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Open connections by address; clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// Place of one open connection, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    all: Arrivals,
    address: IpAddr,
}

impl Arrivals {
    /// Place for one more connection of an address; `None` if it has too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut all = self.lock();
        let open = all.get(&address).copied().unwrap_or(0);
        if open >= CONNECTIONS_OF_ADDRESS {
            return None;
        }
        all.insert(address, open.saturating_add(1));
        Some(Place { all: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        match all.get(&self.address).copied().unwrap_or(0) {
            0 | 1 => all.remove(&self.address),
            open => all.insert(self.address, open.saturating_sub(1)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_places_and_gives_them_back() {
        let arrivals = Arrivals::default();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let mut places: Vec<Place> =
            (0..CONNECTIONS_OF_ADDRESS).map(|_| arrivals.enter(one).unwrap()).collect();
        assert!(arrivals.enter(one).is_none() && arrivals.enter(other).is_some());
        places.pop();
        places.push(arrivals.enter(one).unwrap());
        drop(places);
        assert!(arrivals.lock().is_empty());
    }
}

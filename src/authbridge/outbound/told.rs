//! Destinations of connections that are passed on unread, so that the log has each of them once.

use crate::limits::TOLD_DESTINATIONS;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Destinations that were told in the log, each once.
pub(super) struct Told(Mutex<BTreeSet<SocketAddr>>);

impl Told {
    /// Nothing was told yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeSet::new()))
    }

    /// True the first time for each destination, as long as there is room to remember them.
    pub(super) fn is_new(&self, destination: SocketAddr) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < TOLD_DESTINATIONS && told.insert(destination)
    }
}

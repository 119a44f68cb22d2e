//! Scenarios with a real Keycloak. One serves them all, for its start is the most expensive thing here; each has a realm
//! of its own.

mod exchange;
mod faults;
mod three_agents;

use countersign_sidecar_tests::keycloak::Keycloak;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static KEYCLOAK: LazyLock<Keycloak> = LazyLock::new(|| Keycloak::start().unwrap());
/// Held by every test, and by those that stop Keycloak for themselves alone.
static BUSY: RwLock<()> = RwLock::new(());

/// The Keycloak of all, which nobody stops while the guard is held. Taken once in a test.
fn keycloak() -> (&'static Keycloak, RwLockReadGuard<'static, ()>) {
    let shared = BUSY.read().unwrap_or_else(PoisonError::into_inner);
    (&KEYCLOAK, shared)
}

/// The same for a test that stops or pauses it.
fn keycloak_alone() -> (&'static Keycloak, RwLockWriteGuard<'static, ()>) {
    let alone = BUSY.write().unwrap_or_else(PoisonError::into_inner);
    (&KEYCLOAK, alone)
}

//! A kind whose resource definition the cluster lacks: `AgentCard`, where nobody installed it.

use countersign_api::ObjectRef;
use countersign_api::agent_card::AgentCard;
use countersign_controller::key::{Key, Reconciler};
use countersign_controller::next::Next;
use countersign_controller::registry::{AlreadyRegistered, Registry, Watched};
use countersign_controller::store::Store;
use kube::{Api, Client};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static ABSENT: Reconciler = Reconciler { name: "absent", controller: "absent", waits: false };

/// True once the reconciler acted, which it must not.
pub(crate) static ACTED: AtomicBool = AtomicBool::new(false);

/// Key of an object that does not exist.
pub(crate) fn key() -> Key {
    Key { reconciler: &ABSENT, object: ObjectRef::new("default", "nothing") }
}

/// Registers the watch and the reconciler.
pub(crate) fn register(registry: &mut Registry, client: &Client) -> Result<(), AlreadyRegistered> {
    let store: Arc<Store<Option<String>>> = Arc::default();
    let cards = Watched::all("agentcards", Api::<AgentCard>::all(client.clone()));
    registry.watch(
        Watched { is_optional: true, ..cards },
        &store,
        |store| store,
        |card| Some(card.metadata.uid),
    );
    registry.reconcile(
        &ABSENT,
        move || if store.is_synced() { Vec::new() } else { vec!["agentcards"] },
        |_| async {
            ACTED.store(true, Ordering::Relaxed);
            Ok(Next::Never)
        },
    )
}

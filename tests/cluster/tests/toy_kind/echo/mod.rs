//! A kind as it is added to the operator: a store, a watch, a reconciler, and observe → plan → apply.

mod plan;

use countersign_api::ObjectRef;
use countersign_controller::apply::Writer;
use countersign_controller::failure::Failure;
use countersign_controller::key::{Key, Reconciler};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry, Watched};
use countersign_controller::store::Store;
use countersign_controller::turns::Work;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use plan::{Observed, echo_of, plan_echo};
use std::sync::Arc;

static ECHO: Reconciler = Reconciler { name: "echo", controller: "echo", waits: false };

struct Echo {
    wanted: Store<Observed>,
    writer: Writer,
}

/// Registers the watch and the reconciler of the kind.
pub(crate) fn register(
    registry: &mut Registry,
    client: &Client,
    work: &Arc<Work>,
) -> Result<(), AlreadyRegistered> {
    let echo = Arc::new(Echo { wanted: Store::default(), writer: Writer::new(client.clone()) });
    echo.wanted.subscribe(work, |work, change| {
        work.enqueue(Key { reconciler: &ECHO, object: change.object.clone() }, Urgency::Urgent);
    });
    let wanted =
        Watched::labelled("configmaps", Api::<ConfigMap>::all(client.clone()), "toy.example/echo=wanted");
    registry.watch(wanted, &echo, |echo| &echo.wanted, Observed::of);
    let known = Arc::clone(&echo);
    registry.reconcile(
        &ECHO,
        move || if known.wanted.is_synced() { Vec::new() } else { vec!["configmaps"] },
        move |object| reconcile(Arc::clone(&echo), object),
    )
}

async fn reconcile(echo: Arc<Echo>, object: ObjectRef) -> Result<Next, Failure> {
    match echo.wanted.get(&object) {
        Some(observed) => drop(echo.writer.apply(&plan_echo(&object, &observed)).await?),
        None => echo.writer.delete::<ConfigMap>(&echo_of(&object), None).await?,
    }
    Ok(Next::Never)
}

//! A kind as it is added: what it watches, what it needs, and observe → plan → apply.

mod plan;

use countersign_api::ObjectRef;
use countersign_controller::apply::Writer;
use countersign_controller::failure::Failure;
use countersign_controller::key::{Key, Kind};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::store::Store;
use countersign_controller::turns::Work;
use countersign_controller::watches::{Broken, Watches, labelled};
use countersign_controller::workers::Kinds;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use plan::{Observed, echo_of, plan_echo};
use std::sync::Arc;
use tokio::task::JoinSet;

static ECHO: Kind = Kind { name: "echo", controller: "echo", waits: false };

/// What is observed, and where turns are asked for.
pub(crate) struct Echo {
    wanted: Store<Observed>,
    work: Arc<Work>,
}

/// Registers the kind and starts its watch.
pub(crate) fn register(
    kinds: &mut Kinds,
    tasks: &mut JoinSet<()>,
    client: &Client,
    work: &Arc<Work>,
    broken: &Broken,
) {
    let echo = Arc::new(Echo { wanted: Store::default(), work: Arc::clone(work) });
    Watches::new(tasks, &echo, broken).follow(
        "configmaps",
        Api::<ConfigMap>::all(client.clone()),
        labelled("toy.example/echo=wanted"),
        |echo| &echo.wanted,
        Observed::of,
        |echo, change| {
            echo.work.enqueue(Key { kind: &ECHO, object: change.object.clone() }, Urgency::Urgent);
        },
    );
    let (known, writer) = (Arc::clone(&echo), Writer::new(client.clone()));
    kinds.register(
        &ECHO,
        move || if known.wanted.is_synced() { Vec::new() } else { vec!["configmaps"] },
        move |object| reconcile(Arc::clone(&echo), writer.clone(), object),
    );
}

async fn reconcile(echo: Arc<Echo>, writer: Writer, object: ObjectRef) -> Result<Next, Failure> {
    match echo.wanted.get(&object) {
        Some(observed) => drop(writer.apply(&plan_echo(&object, &observed)).await?),
        None => writer.delete::<ConfigMap>(&echo_of(&object), None).await?,
    }
    Ok(Next::Never)
}

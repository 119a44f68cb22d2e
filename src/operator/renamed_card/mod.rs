//! AgentCards of the API group of after the renaming. They are not served: each gets an event that says what to do, so
//! that nobody takes an agent for covered by an AgentCard that nothing reads (ADR 0018).

use super::context::Context;
use super::events::EventSource;
use super::index::ObjectRef;
use super::reduced::ReducedMetadata;
use super::registration::register_agents;
use super::renamed::Renamed;
use countersign_api::agent_card::AgentCard;
use countersign_api::keys::{AGENT_CARD_KIND, Family};
use countersign_controller::key::{Key, Reconciler};
use countersign_controller::next::Next;
use countersign_controller::queue::Urgency;
use countersign_controller::registry::{AlreadyRegistered, Registry, Watched};
use countersign_plan::agent_card::transition::Transition;
use kube::Api;
use std::sync::Arc;

/// Notice about one AgentCard that is not served.
static NOTICE: Reconciler = Reconciler { name: "RenamedCard", controller: "renamedcard", waits: false };

/// Events about AgentCards that are not served.
const SOURCE: EventSource = EventSource {
    controller: "agentcard-controller",
    api_version: Family::Rossoctl.agent_card_api_version(),
    kind: AGENT_CARD_KIND,
    action: "Enrol",
};

/// Registers the watch and the turns that tell.
pub(crate) fn register(registry: &mut Registry, context: &Arc<Context>) -> Result<(), AlreadyRegistered> {
    let index = &context.index;
    let api = Api::<ReducedMetadata<Renamed<AgentCard>>>::all(context.watching.clone());
    let cards = Watched::metadata("agentcards of the newer group", api, "");
    registry.watch(
        Watched { is_optional: true, ..cards },
        index,
        |index| &index.renamed_cards,
        |object| object.metadata.kept.uid,
    );
    index.renamed_cards.subscribe(context, |context, change| {
        if change.before.is_none() {
            let key = Key { reconciler: &NOTICE, object: change.object.clone() };
            context.enqueue(key, Urgency::Routine);
        }
    });
    register_agents(
        registry,
        &NOTICE,
        context,
        |_| Vec::new(),
        |context, object| async move {
            tell(&context, &object);
            Ok(Next::Never)
        },
    )
}

fn tell(context: &Context, object: &ObjectRef) {
    let Some(uid) = context.index.renamed_cards.get(object) else { return };
    let [served, found] = [Family::Kagenti, Family::Rossoctl].map(Family::agent_card_api_version);
    tracing::warn!(
        namespace = object.namespace.as_str(),
        name = object.name.as_str(),
        "an AgentCard of {found} is not served; apply it as {served}"
    );
    let lacks = format!(
        "AgentCards of {found} are not served: whatever this one asks of the signer does not count, and the agent is \
         verified by an AgentCard of {served} alone, which the operator makes where there is none"
    );
    let fix = format!("Apply this one as {served}, and delete it here.");
    context.events.send(SOURCE, object, &uid, &Transition::warning("NotServed", &lacks, &fix));
}

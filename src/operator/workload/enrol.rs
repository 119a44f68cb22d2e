//! A workload as the planner takes it, and which objects isolate its Pods.
//! The namespace's own do where every Pod carries their label; the rest get two by their selector.

use crate::context::Context;
use crate::index::{Workload, selector_text};
use crate::key::WorkloadKey;
use countersign_api::keys::{AGENT_TYPE, TYPE_LABEL};
use countersign_core::spiffe::SpiffeId;
use countersign_plan::{EnrolledWorkload, InputError, Isolation, Namespace};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

/// The workload as a fact, and whether that fact can only change with the workload.
pub(crate) async fn enrol(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
) -> Result<Result<(EnrolledWorkload, bool), InputError>, kube::Error> {
    let (isolation, settled) = isolation(context, key, workload).await?;
    let facts = || {
        let namespace = Namespace::parse(&key.object.namespace)?;
        let id = expected(context, key, workload).ok_or(InputError::Empty("the identity of the workload"))?;
        let selector = workload.selector.clone();
        EnrolledWorkload::new(namespace, key.kind.as_str(), &key.object.name, id, selector)?
            .with_host_network(workload.host_network)
            .with_isolation(isolation)
            .with_uid(&workload.uid)
    };
    Ok(facts().map(|enrolled| (enrolled, settled)))
}

/// An identity that nobody can have: `invalid` is reserved (RFC 6761), so no trust domain has the name.
const NOBODY: &str = "spiffe://invalid/nobody";

/// The identity that a verdict must be about. Without a trust domain no verdict can be verified.
fn expected(context: &Context, key: &WorkloadKey, workload: &Workload) -> Option<SpiffeId> {
    let evaluated = context.index.cards_of(key).into_iter().find_map(|(object, _)| {
        context.evaluation(&object).and_then(|evaluation| evaluation.spiffe_id.clone())
    });
    let by_template = || {
        let domain = context.config.trust_domain.as_ref()?;
        context.config.identity.identity(domain, &key.object.namespace, &workload.service_account).ok()
    };
    evaluated.or_else(by_template).or_else(|| SpiffeId::parse(NOBODY).ok())
}

/// Which objects isolate the Pods. Pods of an earlier template may lack the label: as long as one does, the
/// workload has objects of its own.
async fn isolation(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
) -> Result<(Isolation, bool), kube::Error> {
    if workload.always_labelled_its_pods() {
        return Ok((Isolation::Namespace, true));
    }
    if !workload.labels_its_pods() {
        return Ok((Isolation::Own, true));
    }
    let selector = format!("{},{TYPE_LABEL}!={AGENT_TYPE}", selector_text(&workload.selector));
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.object.namespace);
    let unlabelled = api.list_metadata(&ListParams::default().labels(&selector).limit(1)).await?;
    Ok(if unlabelled.items.is_empty() { (Isolation::Namespace, true) } else { (Isolation::Own, false) })
}

//! Reception of cards: fetched from a replica, or read from the ConfigMap with signatures for an unsigned card.
//! Connections go to the Pod's IP address; no name is resolved, no redirect followed, no proxy used (rule 2).

use super::observe::ReachableAgent;
use super::pages::Unread;
use super::unusable::Unusable;
use crate::context::Context;
use crate::index::ObjectRef;
use countersign_core::bind::Source;
use countersign_core::refusal::{Reason, Refusal};
use countersign_io::clock::{instant, now};
use countersign_io::fetch::{CardUrl, FetchLimits, Fetched, Representation, fetch_card};
use countersign_io::mtls::{Peer, fetch_card_from};
use countersign_plan::agent_card::evaluate::Received;
use countersign_plan::agent_card::replica::Replica;
use countersign_plan::agent_card::settles::Settles;
use countersign_plan::input::delivered::{KEYS, card_text, config_map_name};
use countersign_plan::input::identity::Expected;
use countersign_plan::input::service::AgentService;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tokio::time::timeout;
use tracing::Instrument;

/// Cards that one replica serves at one URL.
pub(crate) struct Served {
    /// Clients that get `card`.
    pub(crate) representation: Representation,
    /// Card that the first request got.
    pub(crate) card: Received,
    /// Other card that clients without a version of A2A get, if the replica says that it chooses by the version.
    pub(crate) unversioned: Option<Received>,
}

impl Served {
    fn of(fetched: Fetched, source: Source) -> Self {
        let unversioned = fetched.unversioned.map(|bytes| Received { bytes, source: source.clone() });
        let card = Received { bytes: fetched.body, source };
        Self { representation: fetched.representation, card, unversioned }
    }
}

/// Fetches the cards of one replica, over SPIFFE mTLS if the Service offers it, within the fetch timeout.
pub(crate) async fn fetch_live(
    context: &Context,
    service: &AgentService,
    replica: &Replica,
    expected: &Expected,
) -> Result<Served, Refusal> {
    let span = tracing::info_span!(
        "fetch",
        host = service.host,
        pod = replica.name,
        asked = tracing::field::Empty,
        differs = tracing::field::Empty
    );
    let started = instant();
    let received = fetch(context, service, replica, expected).instrument(span.clone()).await;
    if let Ok(served) = &received {
        span.record("asked", served.representation.as_str());
        span.record("differs", served.unversioned.is_some());
    }
    context.metrics.fetched(if service.is_tls { "mtls" } else { "http" }, started.elapsed());
    received
}

async fn fetch(
    context: &Context,
    service: &AgentService,
    replica: &Replica,
    expected: &Expected,
) -> Result<Served, Refusal> {
    let url = CardUrl::parse(&service.url(replica.port))
        .map_err(|error| Refusal::new(Reason::FetchFailed, error.to_string()))?;
    let host = service.host.clone();
    let limits = FetchLimits { address: Some(replica.address), ..context.limits() };
    if !service.is_tls {
        let fetched = fetch_card(&url, limits).await?;
        return Ok(Served::of(fetched, Source::Http { host }));
    }
    let domain = &expected.trust_domain;
    let own = context.identity.get(limits.total).await?;
    let peer = Peer {
        spiffe_id: expected.spiffe_id.clone(),
        bundle: context.bundles.get(domain, now())?,
        policy: context.policies.of(domain).policy.chain,
    };
    let fetched = fetch_card_from(&url, limits, &own, peer).await?;
    let peer = expected.spiffe_id.clone();
    Ok(Served::of(fetched, Source::Mtls { host, peer }))
}

/// Reads the card that a signer delivered in a ConfigMap; `Ok(None)` if the ConfigMap does not exist.
pub(crate) async fn read_delivered(
    context: &Context,
    reachable: &ReachableAgent,
) -> Result<Option<Received>, Unusable> {
    let ObjectRef { namespace, name: workload } = &reachable.key.object;
    let name = config_map_name(workload);
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    // As large as a page of other objects.
    let _turn = context.pages.acquire().await;
    let started = instant();
    let limit = context.limits().total;
    let answer = timeout(limit, api.get_opt(&name)).await;
    context.metrics.fetched("configmap", started.elapsed());
    let unread = match answer {
        Ok(Ok(Some(map))) => Ok(map),
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(error)) => Err(Unread::failed(&error)),
        Err(_) => {
            let problem = format!("was not read within {limit:?}");
            Err(Unread { problem, settles: Some(Settles::Later) })
        }
    };
    let map = unread.map_err(|unread| Unusable::unread(&format!("the ConfigMap {name}"), &unread))?;
    let owners = map.metadata.owner_references.unwrap_or_default();
    let data = map.data.unwrap_or_default();
    let Some(text) = card_text(&data) else {
        let found = format!("the ConfigMap {name} has none of the keys {}", KEYS.join(", "));
        // A ConfigMap without a card signs nothing, so the served card stays unsigned.
        return Err(Refusal::new(Reason::CardUnsigned, found).into());
    };
    let owned = owners.iter().any(|owner| owner.uid == reachable.workload.uid);
    let source = Source::ConfigMap { expected_name: name.clone(), name, owned };
    Ok(Some(Received { bytes: text.clone().into_bytes(), source }))
}

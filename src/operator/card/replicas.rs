//! The replicas behind a Service: every address must be a Pod of the workload, or the card is refused.
//! Slices of endpoints only claim who answers where; the Pods, their addresses and controllers decide.

use super::merge::ReplicaEvaluation;
use super::observe::AgentService;
use crate::context::Context;
use crate::index::{
    Controller, Endpoint, ObjectRef, Pod, SERVICE_LABEL, Workload, controller, owner_of, read_endpoints,
    selector_text,
};
use crate::key::WorkloadKey;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// How many objects one answer brings: a Pod may have a megabyte, and memory is bounded.
const PAGE: u32 = 10;
/// How many answers are read: Pods beyond that are not known, and refuse the card.
const PAGES: usize = 100;

/// A Pod of the workload that the Service leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// The name of the Pod.
    pub(crate) name: String,
    /// Its UID.
    pub(crate) uid: String,
    /// Where it answers.
    pub(crate) address: IpAddr,
    /// On which port.
    pub(crate) port: u16,
}

/// Everybody behind a Service, all of them Pods of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replicas {
    /// Those that get traffic now, in the order of their names.
    pub(crate) ready: Vec<Replica>,
    /// The UIDs of all Pods of the workload that serve or may still serve.
    pub(crate) all: BTreeSet<String>,
}

/// Why the replicas behind a Service cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// The reason.
    pub(crate) refusal: Refusal,
    /// True if slices and Pods only disagree, as they do for a moment whenever a Pod ends: it may settle.
    pub(crate) may_settle: bool,
}

/// What endpoints are judged by.
#[derive(Clone, Copy, Debug)]
struct EndpointTerms<'a> {
    key: &'a WorkloadKey,
    workload: &'a Workload,
    /// Whether the first family of the Service is IPv6: of a Pod with both, that address is asked.
    is_v6: bool,
    /// The last look at each replica.
    last: &'a [ReplicaEvaluation],
}

impl EndpointTerms<'_> {
    /// Whether an endpoint may only disagree with Pods for a moment: it gets no traffic, or it was that of a replica.
    fn may_settle(&self, endpoint: &Endpoint, uid: &str) -> bool {
        let was_here =
            |look: &ReplicaEvaluation| look.replica.uid == uid && look.replica.address == endpoint.address;
        !endpoint.is_ready || self.last.iter().any(was_here)
    }
}

impl From<Refusal> for Unusable {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, may_settle: false }
    }
}

/// What is known of Pods that may stand behind a Service.
#[derive(Debug, Default)]
struct Known {
    /// Pods by name.
    pods: BTreeMap<String, Pod>,
    /// `ReplicaSet`s by UID, with who controls them.
    sets: BTreeMap<String, Option<Controller>>,
}

/// Finds the replicas behind the Service of a workload.
pub(crate) async fn find_replicas(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
    way: &AgentService,
    last: &[ReplicaEvaluation],
) -> Result<Replicas, Unusable> {
    let (limit, terms) = (context.limits().total, EndpointTerms { key, workload, is_v6: way.is_v6, last });
    let found = timeout(limit, find(context, way, terms)).await;
    found.unwrap_or_else(|_| {
        let found = format!("the API server did not say within {limit:?} who stands behind the Service");
        Err(Unusable { refusal: Refusal::new(Reason::FetchFailed, found), may_settle: true })
    })
}

async fn find(context: &Context, way: &AgentService, terms: EndpointTerms<'_>) -> Result<Replicas, Unusable> {
    let EndpointTerms { key, workload, .. } = terms;
    // An API server that does not answer says nothing about the agent.
    let unread = |refusal| Unusable { refusal, may_settle: true };
    let endpoints = endpoints(context, key, way).await.map_err(unread)?;
    let watched = watched(context, key, workload, &endpoints);
    let replicas = match evaluate_endpoints(&terms, &endpoints, &watched) {
        // A Pod without the label of agents is not watched, and one that is may be newer than what was seen of it.
        Err(_) => {
            let read = read(context, key, workload, way).await.map_err(unread)?;
            evaluate_endpoints(&terms, &endpoints, &read)?
        }
        Ok(replicas) => replicas,
    };
    if replicas.ready.is_empty() {
        // The workload is ready, so slices lag behind. Nobody gets traffic meanwhile.
        let found = format!("no Pod behind the Service {} is ready", Quoted(&key.object.name));
        let refusal = Refusal::new(Reason::WorkloadNotReady, found);
        return Err(Unusable { refusal, may_settle: true });
    }
    Ok(replicas)
}

/// Everybody behind the Service, asked for again only when a slice has changed.
async fn endpoints(
    context: &Context,
    key: &WorkloadKey,
    way: &AgentService,
) -> Result<Arc<Vec<Endpoint>>, Refusal> {
    let versions = context.index.slice_versions(&key.object);
    if let Some((read, endpoints)) = context.index.read_endpoints.get(&key.object)
        && read == versions
    {
        return Ok(endpoints);
    }
    let ObjectRef { namespace, name } = &key.object;
    let selector = format!("{SERVICE_LABEL}={name}");
    let slices = list::<EndpointSlice>(context, namespace, &selector).await?;
    let endpoints = read_endpoints(&slices, way.service_port.as_ref(), way.port);
    let endpoints = endpoints.map_err(|problem| {
        let found = format!("the slice of endpoints {} cannot be used", Quoted(&problem));
        Refusal::new(Reason::ServiceEndpointNotOwned, found)
    })?;
    let endpoints = Arc::new(endpoints);
    context.index.read_endpoints.insert(key.object.clone(), (versions, Arc::clone(&endpoints)));
    Ok(endpoints)
}

/// The Pods that are watched because they carry the label of agents: those of the workload, and whoever is behind its
/// Service.
fn watched(context: &Context, key: &WorkloadKey, workload: &Workload, endpoints: &[Endpoint]) -> Known {
    let (index, namespace) = (&context.index, &key.object.namespace);
    let behind = endpoints.iter().filter_map(|endpoint| {
        let (name, _) = endpoint.pod.as_ref()?;
        Some((name.clone(), index.pods.get(&ObjectRef::new(namespace, name))?))
    });
    let own = index.pods_of(key, workload).into_iter().map(|(object, pod)| (object.name, pod));
    let pods: BTreeMap<String, Pod> = own.chain(behind).collect();
    let controllers = pods.values().filter_map(|pod| pod.controller.as_ref());
    let sets =
        controllers.map(|set| (set.uid.clone(), index.controller_of_set(namespace, &set.uid))).collect();
    Known { pods, sets }
}

/// The Pods that the Service selects, whatever other labels they have.
async fn read(
    context: &Context,
    key: &WorkloadKey,
    workload: &Workload,
    way: &AgentService,
) -> Result<Known, Refusal> {
    let namespace = &key.object.namespace;
    let selector: Vec<String> = way.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut known = Known::default();
    for pod in list::<ApiPod>(context, namespace, &selector.join(",")).await? {
        if let (Some(name), Some(pod)) = (pod.metadata.name.clone(), Pod::of(pod)) {
            known.pods.insert(name, pod);
        }
    }
    for set in list::<ReplicaSet>(context, namespace, &selector_text(&workload.selector)).await? {
        if let Some(uid) = set.metadata.uid {
            known.sets.insert(uid, controller(set.metadata.owner_references.as_deref()));
        }
    }
    Ok(known)
}

/// Every object that a selector selects.
async fn list<K>(context: &Context, namespace: &str, selector: &str) -> Result<Vec<K>, Refusal>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let mut all = Vec::new();
    let mut page = ListParams::default().labels(selector).limit(PAGE);
    for _ in 0..PAGES {
        let list = api.list(&page).await.map_err(|error| {
            let kind = K::kind(&K::DynamicType::default()).into_owned();
            let problem = error.to_string();
            let found = format!("the {kind}s behind the Service could not be read: {}", Quoted(&problem));
            Refusal::new(Reason::FetchFailed, found)
        })?;
        all.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    Ok(all)
}

/// Whether each address is that of a Pod of the workload; the first one that is not, named. What cannot settle comes
/// first.
fn evaluate_endpoints(
    expected: &EndpointTerms<'_>,
    endpoints: &[Endpoint],
    known: &Known,
) -> Result<Replicas, Unusable> {
    let mut ready: BTreeMap<&str, Replica> = BTreeMap::new();
    let mut unmatched = None;
    let EndpointTerms { key, workload, is_v6, .. } = *expected;
    for endpoint in endpoints {
        let Endpoint { address, port, is_ready, pod } = endpoint;
        let foreign = |why: &str, may_settle| {
            let who =
                pod.as_ref().map_or_else(|| "no Pod".to_owned(), |(name, _)| format!("Pod {}", Quoted(name)));
            let found =
                format!("behind the Service {} stands {who} at {address}, {why}", Quoted(&key.object.name));
            Unusable { refusal: Refusal::new(Reason::ServiceEndpointNotOwned, found), may_settle }
        };
        let Some((name, uid)) = pod else {
            return Err(foreign("an address that somebody wrote into a slice of endpoints", false));
        };
        let Some(found) = known.pods.get(name).filter(|found| found.uid == *uid) else {
            let unknown = |settles| foreign("which the Service does not select, or which is gone", settles);
            if !expected.may_settle(endpoint, uid) {
                return Err(unknown(false));
            }
            unmatched.get_or_insert(unknown(true));
            continue;
        };
        if !found.addresses.contains(address) {
            let elsewhere = |settles| foreign("which is not an address of that Pod", settles);
            if !expected.may_settle(endpoint, uid) {
                return Err(elsewhere(false));
            }
            unmatched.get_or_insert(elsewhere(true));
            continue;
        }
        if !is_controlled(key, workload, found, known) {
            let why = format!("which {} {} does not control", key.kind.as_str(), Quoted(&key.object.name));
            return Err(foreign(&why, false));
        }
        if found.service_account != workload.service_account {
            let (found, wanted) = (Quoted(&found.service_account), Quoted(&workload.service_account));
            return Err(foreign(&format!("which runs as service account {found}, not as {wanted}"), false));
        }
        // A Pod of two address families is asked once.
        if let (true, Some(port)) = (*is_ready, *port) {
            let replica = Replica { name: name.clone(), uid: uid.clone(), address: *address, port };
            let prefers = |other: &Replica| other.address.is_ipv6() != is_v6 && address.is_ipv6() == is_v6;
            if ready.get(name.as_str()).is_none_or(prefers) {
                ready.insert(name, replica);
            }
        }
    }
    if let Some(unmatched) = unmatched {
        return Err(unmatched);
    }
    let is_own = |pod: &&Pod| pod.can_serve && is_controlled(key, workload, pod, known);
    let all = known.pods.values().filter(is_own).map(|pod| pod.uid.clone()).collect();
    Ok(Replicas { ready: ready.into_values().collect(), all })
}

/// Whether the controllers of a Pod lead to the workload.
fn is_controlled(key: &WorkloadKey, workload: &Workload, pod: &Pod, known: &Known) -> bool {
    let owner = owner_of(pod, |set| known.sets.get(set).cloned().flatten());
    owner.is_some_and(|(kind, uid)| kind == key.kind && uid == workload.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::merge::CardEvaluation;
    use crate::index::{ControllerKind, Kind};

    fn workload(kind: Kind) -> Workload {
        let object = serde_json::json!({
            "metadata": { "name": "weather", "namespace": "team", "uid": "workload" },
            "spec": {
                "selector": { "matchLabels": { "app": "weather" } }, "serviceName": "",
                "template": { "spec": { "serviceAccountName": "weather", "containers": [] } },
            },
        });
        match kind {
            Kind::Deployment => Workload::of_deployment(serde_json::from_value(object).unwrap()),
            Kind::StatefulSet => Workload::of_stateful_set(serde_json::from_value(object).unwrap()),
        }
        .unwrap()
    }

    fn key(kind: Kind) -> WorkloadKey {
        WorkloadKey { kind, object: ObjectRef::new("team", "weather") }
    }

    /// A Pod at 10.0.0.`last` with this controller.
    fn pod(name: &str, last: u8, controller: (ControllerKind, &str)) -> (String, Pod) {
        let pod = Pod {
            uid: format!("uid-{name}"),
            labels: BTreeMap::new(),
            controller: Some(Controller { kind: controller.0, uid: controller.1.to_owned() }),
            service_account: "weather".to_owned(),
            addresses: vec![
                [10, 0, 0, last].into(),
                IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)]),
            ],
            host_network: false,
            can_serve: true,
        };
        (name.to_owned(), pod)
    }

    /// Two Pods of a `ReplicaSet` of the Deployment, and one of another Deployment's.
    fn known() -> Known {
        let set = ControllerKind::ReplicaSet;
        let owner = |uid: &str| Some(Controller { kind: ControllerKind::Deployment, uid: uid.to_owned() });
        Known {
            pods: [pod("a", 1, (set, "set")), pod("b", 2, (set, "set")), pod("c", 3, (set, "other"))].into(),
            sets: [("set".to_owned(), owner("workload")), ("other".to_owned(), owner("another"))].into(),
        }
    }

    fn endpoint(name: &str, last: u8) -> Endpoint {
        let pod = Some((name.to_owned(), format!("uid-{name}")));
        Endpoint { address: [10, 0, 0, last].into(), port: Some(8000), is_ready: true, pod }
    }

    /// Judges the endpoints of a workload whose last look asked these replicas.
    fn evaluated(
        kind: Kind,
        is_v6: bool,
        last: &[ReplicaEvaluation],
        endpoints: &[Endpoint],
        known: &Known,
    ) -> Result<Replicas, Unusable> {
        let (key, workload) = (key(kind), workload(kind));
        evaluate_endpoints(&EndpointTerms { key: &key, workload: &workload, is_v6, last }, endpoints, known)
    }

    fn judge(endpoints: &[Endpoint], known: &Known) -> Result<Vec<String>, (bool, String)> {
        let evaluated = evaluated(Kind::Deployment, false, &[], endpoints, known);
        evaluated
            .map(|replicas| replicas.ready.into_iter().map(|replica| replica.name).collect())
            .map_err(|unusable| (unusable.may_settle, unusable.refusal.to_string()))
    }

    #[test]
    fn pods_of_the_workload_are_asked_once_each_if_they_get_traffic() {
        let mut second_family = endpoint("a", 1);
        second_family.address = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]);
        let mut not_ready = endpoint("b", 2);
        not_ready.is_ready = false;
        let all = [endpoint("a", 1), second_family, endpoint("b", 2)];
        assert_eq!(judge(&all, &known()), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(judge(&[endpoint("a", 1), not_ready], &known()), Ok(vec!["a".to_owned()]));
        // The third Pod is somebody else's, and only Pods that can still serve count.
        let mut known = known();
        known.pods.get_mut("b").unwrap().can_serve = false;
        let replicas = evaluated(Kind::Deployment, false, &[], &all, &known).unwrap();
        assert_eq!(replicas.all, ["uid-a".to_owned()].into());
        // Of two addresses the one of the Service's first family is asked, whichever slice comes first.
        for is_v6 in [false, true] {
            for order in [[0, 1], [1, 0]] {
                let both = order.map(|index: usize| all[index].clone());
                let replicas = evaluated(Kind::Deployment, is_v6, &[], &both, &known).unwrap();
                assert_eq!(replicas.ready[0].address.is_ipv6(), is_v6, "{order:?}");
            }
        }
    }

    #[test]
    fn whoever_the_workload_does_not_control_refuses_it_by_name_ready_or_not() {
        type Spoil = fn(&mut Endpoint, &mut Known);
        let spoils: [(Spoil, bool, &str); 9] = [
            (|end, _| end.pod = None, false, "no Pod at 10.0.0.1"),
            (|end, _| *end = endpoint("c", 3), false, "Deployment \"weather\" does not control"),
            (|_, known| known.pods.get_mut("a").unwrap().controller = None, false, "does not control"),
            // A Deployment controls no Pod itself, whatever the Pod says.
            (
                |_, known| known.pods.extend([pod("a", 1, (ControllerKind::Deployment, "workload"))]),
                false,
                "does not control",
            ),
            (
                |_, known| known.pods.extend([pod("a", 1, (ControllerKind::StatefulSet, "workload"))]),
                false,
                "does not control",
            ),
            (
                |_, known| known.pods.get_mut("a").unwrap().service_account = "mallory".to_owned(),
                false,
                "service account \"mallory\", not as \"weather\"",
            ),
            (|_, known| drop(known.pods.remove("a")), true, "or which is gone"),
            (|end, _| end.pod = Some(("a".to_owned(), "uid-before".to_owned())), true, "or which is gone"),
            (|end, _| end.address = [192, 0, 2, 1].into(), true, "192.0.2.1, which is not an address of"),
        ];
        for (spoil, may_settle, says) in spoils {
            for is_ready in [true, false] {
                let (mut end, mut known) = (endpoint("a", 1), known());
                spoil(&mut end, &mut known);
                end.is_ready = is_ready;
                let (settles, message) = judge(&[endpoint("b", 2), end], &known).unwrap_err();
                assert!(message.contains(says), "{message}");
                // What gets traffic may settle only if it was a replica at that address before.
                assert_eq!(settles, may_settle && !is_ready, "{message}");
            }
        }
        // What cannot settle is not hidden by what may.
        let pod = Some(("gone".to_owned(), "gone".to_owned()));
        let gone = Endpoint { pod, is_ready: false, ..endpoint("a", 1) };
        assert!(!judge(&[gone, endpoint("c", 3)], &known()).unwrap_err().0);
    }

    #[test]
    fn a_replica_that_was_asked_and_is_gone_may_settle_and_nobody_in_its_name() {
        let replica = Replica {
            name: "gone".to_owned(),
            uid: "uid-gone".to_owned(),
            address: [10, 0, 0, 9].into(),
            port: 8000,
        };
        let reference = countersign_plan::CardRef::new("weather-card", None).unwrap();
        let look = CardEvaluation::refused(&reference, Refusal::new(Reason::FetchFailed, "gone"));
        let last = [ReplicaEvaluation { replica, at: countersign_io::clock::instant(), evaluation: look }];
        for (last_byte, settles) in [(9, true), (8, false)] {
            let all = [endpoint("a", 1), endpoint("gone", last_byte)];
            let evaluated = evaluated(Kind::Deployment, false, &last, &all, &known());
            assert_eq!(evaluated.unwrap_err().may_settle, settles, "{last_byte}");
        }
    }

    #[test]
    fn a_stateful_set_controls_its_pods_itself() {
        let set = ControllerKind::StatefulSet;
        let known = Known { pods: [pod("weather-0", 1, (set, "workload"))].into(), sets: BTreeMap::new() };
        let judge =
            |known: &Known| evaluated(Kind::StatefulSet, false, &[], &[endpoint("weather-0", 1)], known);
        assert_eq!(judge(&known).unwrap().ready.len(), 1);
        let known = Known { pods: [pod("weather-0", 1, (set, "another"))].into(), sets: BTreeMap::new() };
        assert!(judge(&known).is_err());
    }
}

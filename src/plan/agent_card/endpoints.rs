//! The replicas behind a Service: every address must be a Pod of the workload, or the card is refused.
//! Slices of endpoints only claim who answers where; the Pods, their addresses and controllers decide.

use super::merge::ReplicaEvaluation;
use crate::input::endpoint::Endpoint;
use crate::input::pod::{Controller, Pod, owner_of};
use crate::input::workload::{Workload, WorkloadRef};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A Pod of the workload that the Service leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The name of the Pod.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Where it answers.
    pub address: IpAddr,
    /// On which port.
    pub port: u16,
}

/// Everybody behind a Service, all of them Pods of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// Those that get traffic now, in the order of their names.
    pub ready: Vec<Replica>,
    /// The UIDs of all Pods of the workload that serve or may still serve.
    pub all: BTreeSet<String>,
}

/// Why the replicas behind a Service cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The reason.
    pub refusal: Refusal,
    /// True if slices and Pods only disagree, as they do for a moment whenever a Pod ends: it may settle.
    pub may_settle: bool,
}

/// What endpoints are judged by.
#[derive(Clone, Copy, Debug)]
pub struct EndpointTerms<'a> {
    /// Workload whose Service it is.
    pub key: &'a WorkloadRef,
    /// Workload as it was last seen.
    pub workload: &'a Workload,
    /// Whether the first family of the Service is IPv6: of a Pod with both, that address is asked.
    pub is_v6: bool,
    /// The last look at each replica.
    pub last: &'a [ReplicaEvaluation],
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
pub struct KnownPods {
    /// Pods by name.
    pub pods: BTreeMap<String, Pod>,
    /// `ReplicaSet`s by UID, with who controls them.
    pub sets: BTreeMap<String, Option<Controller>>,
}

/// Whether each address is that of a Pod of the workload; the first one that is not, named. What cannot settle comes
/// first.
pub fn evaluate_endpoints(
    expected: &EndpointTerms<'_>,
    endpoints: &[Endpoint],
    known: &KnownPods,
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
fn is_controlled(key: &WorkloadRef, workload: &Workload, pod: &Pod, known: &KnownPods) -> bool {
    let owner = owner_of(pod, |set| known.sets.get(set).cloned().flatten());
    owner.is_some_and(|(kind, uid)| kind == key.kind && uid == workload.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::merge::CardEvaluation;
    use crate::input::pod::ControllerKind;
    use crate::input::workload::WorkloadKind;
    use countersign_api::ObjectRef;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> std::time::Instant {
        std::time::Instant::now()
    }

    fn workload(kind: WorkloadKind) -> Workload {
        let object = serde_json::json!({
            "metadata": { "name": "weather", "namespace": "team", "uid": "workload" },
            "spec": {
                "selector": { "matchLabels": { "app": "weather" } }, "serviceName": "",
                "template": { "spec": { "serviceAccountName": "weather", "containers": [] } },
            },
        });
        match kind {
            WorkloadKind::Deployment => Workload::of_deployment(serde_json::from_value(object).unwrap()),
            WorkloadKind::StatefulSet => Workload::of_stateful_set(serde_json::from_value(object).unwrap()),
        }
        .unwrap()
    }

    fn key(kind: WorkloadKind) -> WorkloadRef {
        WorkloadRef { kind, object: ObjectRef::new("team", "weather") }
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
    fn known() -> KnownPods {
        let set = ControllerKind::ReplicaSet;
        let owner = |uid: &str| Some(Controller { kind: ControllerKind::Deployment, uid: uid.to_owned() });
        KnownPods {
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
        kind: WorkloadKind,
        is_v6: bool,
        last: &[ReplicaEvaluation],
        endpoints: &[Endpoint],
        known: &KnownPods,
    ) -> Result<Replicas, Unusable> {
        let (key, workload) = (key(kind), workload(kind));
        evaluate_endpoints(&EndpointTerms { key: &key, workload: &workload, is_v6, last }, endpoints, known)
    }

    fn judge(endpoints: &[Endpoint], known: &KnownPods) -> Result<Vec<String>, (bool, String)> {
        let evaluated = evaluated(WorkloadKind::Deployment, false, &[], endpoints, known);
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
        let replicas = evaluated(WorkloadKind::Deployment, false, &[], &all, &known).unwrap();
        assert_eq!(replicas.all, ["uid-a".to_owned()].into());
        // Of two addresses the one of the Service's first family is asked, whichever slice comes first.
        for is_v6 in [false, true] {
            for order in [[0, 1], [1, 0]] {
                let both = order.map(|index: usize| all[index].clone());
                let replicas = evaluated(WorkloadKind::Deployment, is_v6, &[], &both, &known).unwrap();
                assert_eq!(replicas.ready[0].address.is_ipv6(), is_v6, "{order:?}");
            }
        }
    }

    #[test]
    fn whoever_the_workload_does_not_control_refuses_it_by_name_ready_or_not() {
        type Spoil = fn(&mut Endpoint, &mut KnownPods);
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
        let reference = crate::input::CardRef::new("weather-card", None).unwrap();
        let look = CardEvaluation::refused(&reference, Refusal::new(Reason::FetchFailed, "gone"));
        let last = [ReplicaEvaluation { replica, at: now(), evaluation: look }];
        for (last_byte, settles) in [(9, true), (8, false)] {
            let all = [endpoint("a", 1), endpoint("gone", last_byte)];
            let evaluated = evaluated(WorkloadKind::Deployment, false, &last, &all, &known());
            assert_eq!(evaluated.unwrap_err().may_settle, settles, "{last_byte}");
        }
    }

    #[test]
    fn a_stateful_set_controls_its_pods_itself() {
        let set = ControllerKind::StatefulSet;
        let known =
            KnownPods { pods: [pod("weather-0", 1, (set, "workload"))].into(), sets: BTreeMap::new() };
        let judge = |known: &KnownPods| {
            evaluated(WorkloadKind::StatefulSet, false, &[], &[endpoint("weather-0", 1)], known)
        };
        assert_eq!(judge(&known).unwrap().ready.len(), 1);
        let known = KnownPods { pods: [pod("weather-0", 1, (set, "another"))].into(), sets: BTreeMap::new() };
        assert!(judge(&known).is_err());
    }
}

//! Replicas behind a Service: every address must belong to a Pod of the workload, or the card is refused (rule 51).
//! `EndpointSlice`s only make claims; Pods, their addresses and their controlling owners decide.

use super::card_evaluation::ReplicaEvaluation;
use super::replica::{Replica, Replicas};
use crate::input::endpoint::ServiceEndpoint;
use crate::input::pod::{Controller, Pod, owner_of};
use crate::input::workload::{Workload, WorkloadRef};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use std::collections::BTreeMap;

/// Refusal of an agent for what the API server says about it, or does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableAgent {
    /// Reason and message.
    pub refusal: Refusal,
    /// True if the cause may pass by itself: `EndpointSlice`s and Pods agree again shortly after a Pod ends, and an API
    /// server that restarts or has too much to do answers later.
    pub may_settle: bool,
}

/// Terms of an endpoint evaluation.
#[derive(Clone, Copy, Debug)]
pub struct EndpointTerms<'a> {
    /// Reference to the workload behind the Service.
    pub key: &'a WorkloadRef,
    /// Observed workload object.
    pub workload: &'a Workload,
    /// True if the first IP family of the Service is IPv6; a dual-stack Pod is fetched from at that family.
    pub is_v6: bool,
    /// Last evaluation of each replica.
    pub last: &'a [ReplicaEvaluation],
}

impl EndpointTerms<'_> {
    /// True if an unmatched endpoint may be a stale one: it receives no traffic, or it was the address of an
    /// evaluated replica. Any other unmatched endpoint may be foreign, and refuses the card at once.
    fn may_settle(&self, endpoint: &ServiceEndpoint, uid: &str) -> bool {
        let was_here =
            |last: &ReplicaEvaluation| last.replica.uid == uid && last.replica.address == endpoint.address;
        !endpoint.is_ready || self.last.iter().any(was_here)
    }
}

impl From<Refusal> for UnusableAgent {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, may_settle: false }
    }
}

/// Observed Pods that may be behind a Service, with the owners of their `ReplicaSet`s.
#[derive(Debug, Default)]
pub struct KnownPods {
    /// Observed Pods by name.
    pub pods: BTreeMap<String, Pod>,
    /// Controlling owners of `ReplicaSet`s, by UID of the `ReplicaSet`.
    pub sets: BTreeMap<String, Option<Controller>>,
}

/// Replicas behind a Service if every endpoint belongs to a Pod of the workload; else a refusal that names a
/// foreign endpoint. Endpoints that cannot settle take precedence, so that a stale one never hides a foreign one.
pub fn evaluate_endpoints(
    expected: &EndpointTerms<'_>,
    endpoints: &[ServiceEndpoint],
    known: &KnownPods,
) -> Result<Replicas, UnusableAgent> {
    let mut ready: BTreeMap<&str, Replica> = BTreeMap::new();
    let mut unmatched = None;
    let EndpointTerms { key, workload, is_v6, .. } = *expected;
    for endpoint in endpoints {
        let ServiceEndpoint { address, port, is_ready, pod } = endpoint;
        let pod = pod.as_deref();
        let foreign = |why: &str, may_settle| {
            let who = pod.map_or_else(|| "no Pod".to_owned(), |(name, _)| format!("Pod {}", Quoted(name)));
            let found =
                format!("behind the Service {} stands {who} at {address}, {why}", Quoted(&key.object.name));
            UnusableAgent { refusal: Refusal::new(Reason::ServiceEndpointNotOwned, found), may_settle }
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
        // A dual-stack Pod has two endpoints, but serves one card.
        if let (true, Some(port)) = (*is_ready, *port) {
            let replica =
                Replica { name: name.clone(), uid: uid.clone(), address: *address, port, answer: None };
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

/// True if the chain of controlling owners leads from the Pod to the workload, by UID.
fn is_controlled(key: &WorkloadRef, workload: &Workload, pod: &Pod, known: &KnownPods) -> bool {
    let owner = owner_of(pod, |set| known.sets.get(set).cloned().flatten());
    owner.is_some_and(|(kind, uid)| kind == key.kind && uid == workload.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_card::card_evaluation::CardEvaluation;
    use crate::input::Kept;
    use crate::input::pod::ControllerKind;
    use crate::input::sandbox::Sandbox;
    use crate::input::workload::WorkloadKind;
    use countersign_api::ObjectRef;
    use std::net::IpAddr;
    use std::sync::Arc;

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
        if kind == WorkloadKind::Sandbox {
            let object = serde_json::json!({ "metadata": object["metadata"],
                "spec": { "podTemplate": object["spec"]["template"] } });
            let metadata = serde_json::from_value(object["metadata"].clone()).unwrap();
            return Workload::of_sandbox(metadata, Sandbox::parse(&object).unwrap());
        }
        match kind {
            WorkloadKind::Deployment => Workload::of_deployment(serde_json::from_value(object).unwrap()),
            _ => Workload::of_stateful_set(serde_json::from_value(object).unwrap()),
        }
        .unwrap()
    }

    fn key(kind: WorkloadKind) -> WorkloadRef {
        WorkloadRef { kind, object: ObjectRef::new("team", "weather") }
    }

    /// Pod at 10.0.0.`last` and `fd00::last` with this controlling owner.
    fn pod(name: &str, last: u8, controller: (ControllerKind, &str)) -> (String, Pod) {
        let pod = Pod {
            uid: format!("uid-{name}"),
            labels: Kept::default(),
            mark: None,
            has_too_many_labels: false,
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

    /// Pods `a` and `b` of the Deployment, and Pod `c` of another Deployment.
    fn known() -> KnownPods {
        let set = ControllerKind::ReplicaSet;
        let owner = |uid: &str| Some(Controller { kind: ControllerKind::Deployment, uid: uid.to_owned() });
        KnownPods {
            pods: [pod("a", 1, (set, "set")), pod("b", 2, (set, "set")), pod("c", 3, (set, "other"))].into(),
            sets: [("set".to_owned(), owner("workload")), ("other".to_owned(), owner("another"))].into(),
        }
    }

    fn endpoint(name: &str, last: u8) -> ServiceEndpoint {
        let pod = Some(Arc::new((name.to_owned(), format!("uid-{name}"))));
        ServiceEndpoint { address: [10, 0, 0, last].into(), port: Some(8000), is_ready: true, pod }
    }

    /// Evaluates the endpoints of a workload whose replicas were last evaluated as in `last`.
    fn evaluated(
        kind: WorkloadKind,
        is_v6: bool,
        last: &[ReplicaEvaluation],
        endpoints: &[ServiceEndpoint],
        known: &KnownPods,
    ) -> Result<Replicas, UnusableAgent> {
        let (key, workload) = (key(kind), workload(kind));
        evaluate_endpoints(&EndpointTerms { key: &key, workload: &workload, is_v6, last }, endpoints, known)
    }

    fn names(endpoints: &[ServiceEndpoint], known: &KnownPods) -> Result<Vec<String>, (bool, String)> {
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
        assert_eq!(names(&all, &known()), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(&[endpoint("a", 1), not_ready], &known()), Ok(vec!["a".to_owned()]));
        // Pod `c` belongs to another Deployment, and only Pods that can still serve count.
        let mut known = known();
        known.pods.get_mut("b").unwrap().can_serve = false;
        let replicas = evaluated(WorkloadKind::Deployment, false, &[], &all, &known).unwrap();
        assert_eq!(replicas.all, ["uid-a".to_owned()].into());
        // The first IP family of the Service decides, whichever slice comes first.
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
        type Spoil = fn(&mut ServiceEndpoint, &mut KnownPods);
        let spoils: [(Spoil, bool, &str); 9] = [
            (|end, _| end.pod = None, false, "no Pod at 10.0.0.1"),
            (|end, _| *end = endpoint("c", 3), false, "Deployment \"weather\" does not control"),
            (|_, known| known.pods.get_mut("a").unwrap().controller = None, false, "does not control"),
            // A Deployment controls no Pod directly, whatever the Pod's ownerReferences claim.
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
            (
                |end, _| end.pod = Some(Arc::new(("a".to_owned(), "uid-before".to_owned()))),
                true,
                "or which is gone",
            ),
            (|end, _| end.address = [192, 0, 2, 1].into(), true, "192.0.2.1, which is not an address of"),
        ];
        for (spoil, may_settle, says) in spoils {
            for is_ready in [true, false] {
                let (mut end, mut known) = (endpoint("a", 1), known());
                spoil(&mut end, &mut known);
                end.is_ready = is_ready;
                let (settles, message) = names(&[endpoint("b", 2), end], &known).unwrap_err();
                assert!(message.contains(says), "{message}");
                // An endpoint with traffic may settle only if a replica had that address before.
                assert_eq!(settles, may_settle && !is_ready, "{message}");
            }
        }
        // An endpoint that cannot settle is not hidden by one that may.
        let pod = Some(Arc::new(("gone".to_owned(), "gone".to_owned())));
        let gone = ServiceEndpoint { pod, is_ready: false, ..endpoint("a", 1) };
        assert!(!names(&[gone, endpoint("c", 3)], &known()).unwrap_err().0);
    }

    #[test]
    fn a_replica_that_was_asked_and_is_gone_may_settle_and_nobody_in_its_name() {
        let replica = Replica {
            name: "gone".to_owned(),
            uid: "uid-gone".to_owned(),
            address: [10, 0, 0, 9].into(),
            port: 8000,
            answer: None,
        };
        let reference = crate::input::CardRef::new("weather-card", None).unwrap();
        let evaluation = CardEvaluation::refused(&reference, Refusal::new(Reason::FetchFailed, "gone"));
        let last = [ReplicaEvaluation { replica, at: now(), evaluation }];
        for (last_byte, settles) in [(9, true), (8, false)] {
            let all = [endpoint("a", 1), endpoint("gone", last_byte)];
            let evaluated = evaluated(WorkloadKind::Deployment, false, &last, &all, &known());
            assert_eq!(evaluated.unwrap_err().may_settle, settles, "{last_byte}");
        }
    }

    #[test]
    fn a_stateful_set_and_a_sandbox_control_their_pods_themselves() {
        let both = [
            (WorkloadKind::StatefulSet, ControllerKind::StatefulSet, ControllerKind::Sandbox),
            (WorkloadKind::Sandbox, ControllerKind::Sandbox, ControllerKind::StatefulSet),
        ];
        for (kind, own, other) in both {
            let is_ready = |controller: (ControllerKind, &str)| {
                let known =
                    KnownPods { pods: [pod("weather-0", 1, controller)].into(), sets: BTreeMap::new() };
                evaluated(kind, false, &[], &[endpoint("weather-0", 1)], &known).is_ok()
            };
            assert!(is_ready((own, "workload")));
            assert!(!is_ready((own, "another")) && !is_ready((other, "workload")));
        }
    }
}

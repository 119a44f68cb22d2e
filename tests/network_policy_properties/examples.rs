//! Single situations by name: faults seen in other operators, and attacks on the mark.
//! Each one is set up by hand and judged by the reader of policies alone.

use crate::netpol::{End, Labels};
use crate::world::{
    Agent, PORTS, World, by_labels, cluster_facts, group, labels, namespace, refused, verified,
};
use countersign_api::keys::{AGENT_CARD_LABEL, PEER_MARK_LABEL, REASON_ANNOTATION, SIGNATURE_VERIFIED_LABEL};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::verdict::Verdict;
use countersign_plan::input::identity::Expected;
use countersign_plan::{
    CardOutcome, CardRef, Cidr, Destination, Egress, EnrolledWorkload, Mode, PodGroup, PodInput,
    plan_network_policies, plan_peer_mark,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;

const API: &[(&str, &[u16])] = &[("172.18.0.2", &[6443])];

fn weather() -> Agent {
    Agent::new("a", "Deployment", "weather", &[("app", "weather")])
}

fn travel() -> Agent {
    Agent::new("a", "Deployment", "travel", &[("app", "travel")])
}

fn names(policies: &[NetworkPolicy]) -> Vec<&str> {
    policies.iter().filter_map(|policy| policy.metadata.name.as_deref()).collect()
}

#[test]
fn item_19_the_same_verdict_plans_the_same_objects_whatever_its_message_says() {
    let judged = |message: &str| {
        let card = CardRef::new("card", None).unwrap();
        vec![CardOutcome::new(card, &Verdict::refused(Refusal::new(Reason::FetchTimeout, message)))]
    };
    let plan = |message| weather().enrolled(judged(message)).policies(&cluster_facts(API));
    assert_eq!(plan("after 5.01 s"), plan("after 5.02 s"));
}

#[test]
fn item_19_a_changed_verdict_changes_one_object_and_removes_none() {
    let plan = |cards| weather().enrolled(cards).policies(&cluster_facts(API));
    let (open, closed) = (plan(vec![verified("card")]), plan(vec![refused("card", Reason::Denied)]));
    assert_eq!(names(&open), names(&closed));
    assert_eq!(open[..2], closed[..2]);
    assert_ne!(open[2], closed[2]);
}

#[test]
fn item_20_long_names_are_enforced_like_short_ones() {
    let long = "weather-".repeat(30) + "agent";
    let agent = Agent::new("a", "Deployment", &long, &[("app", "weather")])
        .enrolled(vec![refused(&(long.clone() + "-card"), Reason::CardUnsigned)]);
    let policies = agent.policies(&cluster_facts(API));
    assert_eq!(policies.len(), 3);
    for policy in &policies {
        assert!(policy.metadata.name.as_ref().unwrap().len() <= 63);
        for value in policy.metadata.labels.as_ref().unwrap().values() {
            assert!(value.len() <= 63, "{value}");
        }
    }
    assert!(policies[2].metadata.labels.as_ref().unwrap().contains_key(AGENT_CARD_LABEL));
}

#[test]
fn item_21_a_label_from_the_pods_author_opens_nothing() {
    let mut world = World::new(cluster_facts(API), vec![weather().enrolled(vec![verified("card")])]);
    let agent = world.run_agent(0, Labels::new());
    let claim = labels(&[(SIGNATURE_VERIFIED_LABEL, "true"), ("kagenti.io/type", "agent")]);
    let stranger = world.run("a", claim, None);
    assert_eq!(world.meets(agent, stranger), [false, false]);
}

#[test]
fn item_21_a_pod_with_all_labels_of_a_verified_agent_is_only_locked_in() {
    let mut world = World::new(cluster_facts(API), vec![weather().enrolled(vec![verified("card")])]);
    let agent = world.run_agent(0, Labels::new());
    let copy = world.run("a", labels(&[("app", "weather")]), None);
    assert_eq!(world.meets(agent, copy), [false, false]);
    assert!(world.cluster.isolates(world.pod(copy)));
    assert!(!world.reaches_address(copy, "203.0.113.7", "TCP", 443));
}

#[test]
fn item_21_a_copy_of_a_verified_agent_gets_no_calls_from_gateways() {
    let facts = cluster_facts(API).with_caller(group("b", &[("app", "gateway")]));
    let mut world = World::new(facts, vec![weather().enrolled(vec![verified("card")])]);
    let agent = world.run_agent(0, Labels::new());
    let copy = world.run("a", labels(&[("app", "weather")]), None);
    let gateway = world.run("b", labels(&[("app", "gateway")]), None);
    assert_eq!([agent, copy].map(|to| world.reaches(gateway, to)), [true, false]);
}

#[test]
fn item_22_old_pods_stay_selected_during_a_rollout() {
    let agents = vec![weather().enrolled(vec![verified("card")]), travel().enrolled(vec![verified("card")])];
    let mut world = World::new(cluster_facts(API), agents);
    let old = world.run_agent(0, labels(&[("version", "1"), (SIGNATURE_VERIFIED_LABEL, "true")]));
    let new = world.run_agent(0, labels(&[("version", "2")]));
    let other = world.run_agent(1, Labels::new());
    let stranger = world.run("a", Labels::new(), None);
    for pod in [old, new] {
        assert!(world.cluster.isolates(world.pod(pod)));
        assert_eq!(world.meets(pod, other), [true, true]);
        assert_eq!(world.meets(pod, stranger), [false, false]);
    }
}

#[test]
fn item_22_a_workload_is_isolated_before_its_first_card_and_after_its_last() {
    let mut world = World::new(cluster_facts(API), vec![weather().enrolled(vec![])]);
    let agent = world.run_agent(0, Labels::new());
    let stranger = world.run("a", Labels::new(), None);
    assert_eq!(world.meets(agent, stranger), [false, false]);

    let owned: Vec<_> = weather()
        .enrolled(vec![verified("card")])
        .policies(&cluster_facts(API))
        .iter()
        .map(|policy| policy.metadata.owner_references.is_some())
        .collect();
    assert_eq!(owned, [false, false, true], "what isolates outlives the card");
}

#[test]
fn item_22_kinds_without_a_selector_are_isolated_by_their_identity_label() {
    let sandbox = Agent::new("a", "Sandbox", "weather", &[("agents.x-k8s.io/sandbox-name-hash", "5f3a")]);
    let mut world =
        World::new(cluster_facts(API), vec![sandbox.enrolled(vec![refused("card", Reason::CardUnsigned)])]);
    let agent = world.run_agent(0, labels(&[("anything", "else")]));
    assert!(world.cluster.isolates(world.pod(agent)));
}

#[test]
fn item_22_an_unmarked_pod_has_no_more_than_the_minimum() {
    let mut world = World::new(cluster_facts(API), vec![weather().enrolled(vec![verified("card")])]);
    let marked = world.run_agent(0, Labels::new());
    let fresh = world.run_agent(0, Labels::new());
    world.pods[fresh].pod.labels.remove(PEER_MARK_LABEL);
    assert_eq!(world.meets(marked, fresh), [false, false]);
    assert!(world.reaches(fresh, 0), "DNS");
}

#[test]
fn item_23_the_restrictive_form_opens_dns_and_the_real_api_server() {
    let api: &[(&str, &[u16])] = &[("172.18.0.2", &[443, 6443]), ("fd00::2", &[8443])];
    let mut world =
        World::new(cluster_facts(api), vec![weather().enrolled(vec![refused("card", Reason::CardUnsigned)])]);
    let agent = world.run_agent(0, Labels::new());
    assert!(world.reaches(agent, 0), "DNS");
    for (address, port, open) in [
        ("172.18.0.2", 443, true),
        ("172.18.0.2", 6443, true),
        ("172.18.0.2", 8443, false),
        ("fd00::2", 8443, true),
        ("fd00::2", 6443, false),
        ("fd00::3", 8443, false),
    ] {
        assert_eq!(world.reaches_address(agent, address, "TCP", port), open, "{address} {port}");
    }
}

#[test]
fn item_23_only_the_operators_own_pods_may_come_in() {
    let mut world =
        World::new(cluster_facts(API), vec![weather().enrolled(vec![refused("card", Reason::CardUnsigned)])]);
    let agent = world.run_agent(0, Labels::new());
    let neighbour = world.run(crate::world::OPERATOR_NAMESPACE, labels(&[("app", "other")]), None);
    assert!(world.reaches(1, agent));
    assert!(!world.reaches(neighbour, agent));
}

#[test]
fn item_23_configured_callers_of_other_namespaces_reach_verified_agents_only() {
    let facts = cluster_facts(API)
        .with_caller(group("b", &[("app", "gateway")]))
        .with_caller(PodGroup::whole_namespace(namespace("kube-system")));
    let agents = vec![
        weather().enrolled(vec![verified("card")]),
        travel().enrolled(vec![refused("card", Reason::CardUnsigned)]),
    ];
    let mut world = World::new(facts, agents);
    let (good, bad) = (world.run_agent(0, Labels::new()), world.run_agent(1, Labels::new()));
    let gateway = world.run("b", labels(&[("app", "gateway")]), None);
    let beside = world.run("b", labels(&[("app", "gate")]), None);
    let here = world.run("a", labels(&[("app", "gateway")]), None);
    assert_eq!([gateway, beside, here, 0].map(|from| world.reaches(from, good)), [true, false, false, true]);
    assert_eq!([gateway, beside, here, 0].map(|from| world.reaches(from, bad)), [false; 4]);
}

#[test]
fn beside_a_sidecar_callers_reach_the_declared_ports_alone_and_the_operator_every_one() {
    let gateway = group("b", &[("app", "gateway")]);
    for (card, expected) in
        [(verified("card"), vec![("TCP", 8080)]), (refused("card", Reason::CardUnsigned), vec![])]
    {
        let is_verified = !expected.is_empty();
        let agents = vec![
            weather().beside_sidecar(&[("TCP", 8080)]).enrolled(vec![card]),
            travel().enrolled(vec![verified("card")]),
        ];
        let mut world = World::new(cluster_facts(API).with_caller(gateway.clone()), agents);
        let (beside, other) = (world.run_agent(0, Labels::new()), world.run_agent(1, Labels::new()));
        let gateway = world.run("b", labels(&[("app", "gateway")]), None);
        for from in [other, gateway] {
            assert_eq!(world.reached_ports(from, beside), expected);
        }
        assert_eq!(world.reached_ports(1, beside), PORTS, "the operator");
        let back = if is_verified { PORTS.to_vec() } else { Vec::new() };
        assert_eq!(world.reached_ports(beside, other), back);
    }
}

#[test]
fn verified_agents_of_two_namespaces_meet_only_where_the_namespace_of_the_caller_is_named() {
    let [a, b] = ["a", "b"].map(namespace);
    // Named namespaces and egress; whether `a` reaches `b`, and whether `b` reaches `a`.
    for (named, egress, expected) in [
        (vec![], Egress::Anywhere, [false, false]),
        (vec![&a], Egress::Anywhere, [true, false]),
        (vec![&b], Egress::Anywhere, [false, true]),
        (vec![&a, &b], Egress::Anywhere, [true, true]),
        (vec![&a], Egress::Listed([].into()), [false, false]),
        (vec![&a, &b], Egress::Listed([].into()), [true, true]),
    ] {
        let facts = named.iter().fold(cluster_facts(API).with_egress(egress.clone()), |facts, name| {
            facts.with_agent_namespace((*name).clone())
        });
        let there = Agent::new("b", "Deployment", "travel", &[("app", "travel")]);
        let agents = vec![weather().enrolled(vec![verified("card")]), there.enrolled(vec![verified("card")])];
        let mut world = World::new(facts, agents);
        let (here, there) = (world.run_agent(0, Labels::new()), world.run_agent(1, Labels::new()));
        assert_eq!(
            [world.reaches(here, there), world.reaches(there, here)],
            expected,
            "{named:?} {egress:?}"
        );
    }
}

#[test]
fn item_23_two_cards_of_one_workload_do_not_fight() {
    let plan = |cards| weather().enrolled(cards).policies(&cluster_facts(API));
    let (good, bad) = (verified("one"), refused("two", Reason::IdentityMismatch));
    let planned = plan(vec![good.clone(), bad.clone()]);
    assert_eq!(planned, plan(vec![bad, good]));
    let reason = &planned[2].metadata.annotations.as_ref().unwrap()[REASON_ANNOTATION];
    assert_eq!(reason, "IdentityMismatch");
}

#[test]
fn a_verdict_over_another_workloads_card_opens_nothing() {
    let id = SpiffeId::parse("spiffe://example.org/ns/a/sa/other").unwrap();
    let selector = by_labels(&[("app", "weather")]);
    let other =
        EnrolledWorkload::new(namespace("a"), "Deployment", "weather", Expected::exactly(id), selector)
            .unwrap();
    let planned = plan_network_policies(&[verified("card")], &other, &cluster_facts(API), Mode::Enforce);
    assert_eq!(planned[2].metadata.annotations.as_ref().unwrap()[REASON_ANNOTATION], "IdentityMismatch");
    let own = PodInput {
        controlled_by_workload: true,
        runs_as_workload: true,
        matches_selector: true,
        host_network: false,
    };
    assert_eq!(plan_peer_mark(&[verified("card")], &other, own), None);
}

#[test]
fn overlapping_selectors_lend_no_verdict() {
    let inner = Agent::new("a", "Deployment", "inner", &[("app", "weather"), ("tier", "p")]);
    let agents = vec![
        weather().enrolled(vec![verified("card")]),
        inner.enrolled(vec![refused("card", Reason::CardUnsigned)]),
        travel().enrolled(vec![verified("card")]),
    ];
    let mut world = World::new(cluster_facts(API), agents);
    let [outer, inner, other] = [0, 1, 2].map(|of| world.run_agent(of, Labels::new()));
    assert_eq!(world.meets(outer, other), [true, true]);
    assert_eq!(world.meets(inner, other), [false, false]);
    assert_eq!(world.meets(inner, outer), [false, false]);
}

#[test]
fn a_marked_pod_whose_labels_are_taken_away_stays_isolated_and_loses_its_mark() {
    let mut world = World::new(cluster_facts(API), vec![weather().enrolled(vec![verified("card")])]);
    let agent = world.run_agent(0, Labels::new());
    let stranger = world.run("a", Labels::new(), None);
    world.pods[agent].pod.labels.remove("app");
    assert!(world.cluster.isolates(world.pod(agent)));
    assert_eq!(world.meets(agent, stranger), [false, false]);
    let facts = PodInput {
        controlled_by_workload: true,
        runs_as_workload: true,
        matches_selector: false,
        host_network: false,
    };
    assert_eq!(plan_peer_mark(&[verified("card")], &world.agents[0].facts, facts), None);
}

#[test]
fn either_half_of_closing_a_refused_agent_closes_it() {
    let agents =
        |cards: Vec<CardOutcome>| vec![weather().enrolled(cards), travel().enrolled(vec![verified("card")])];
    let mut before = World::new(cluster_facts(API), agents(vec![verified("card")]));
    let (agent, other) = (before.run_agent(0, Labels::new()), before.run_agent(1, Labels::new()));
    assert_eq!(before.meets(agent, other), [true, true]);

    let mut policies_first = before.clone();
    policies_first.cluster =
        World::new(cluster_facts(API), agents(vec![refused("card", Reason::CertificateExpired)])).cluster;
    assert_eq!(policies_first.meets(agent, other), [false, false]);

    let mut marks_first = before;
    marks_first.pods[agent].pod.labels.remove(PEER_MARK_LABEL);
    assert_eq!(marks_first.meets(agent, other), [false, false]);
}

#[test]
fn a_refused_agent_stays_isolated_when_any_two_objects_are_lost() {
    let mut world =
        World::new(cluster_facts(API), vec![weather().enrolled(vec![refused("card", Reason::CardUnsigned)])]);
    let agent = world.run_agent(0, Labels::new());
    for kept in 0..3 {
        let mut rest = world.clone();
        rest.cluster.policies = vec![world.cluster.policies[kept].clone()];
        assert!(rest.cluster.isolates(rest.pod(agent)));
    }
}

#[test]
fn pods_on_the_network_of_their_node_are_never_marked() {
    let host = weather().facts.with_host_network(true);
    let own = PodInput {
        controlled_by_workload: true,
        runs_as_workload: true,
        matches_selector: true,
        host_network: false,
    };
    assert_eq!(plan_peer_mark(&[verified("card")], &host, own), None);
    let one = PodInput { host_network: true, ..own };
    assert_eq!(plan_peer_mark(&[verified("card")], &weather().facts, one), None);
    let planned = plan_network_policies(&[verified("card")], &host, &cluster_facts(API), Mode::Enforce);
    assert_eq!(planned[2].metadata.annotations.as_ref().unwrap()[REASON_ANNOTATION], "HostNetwork");
}

#[test]
fn a_pod_that_another_controller_owns_is_never_marked() {
    let own = PodInput {
        controlled_by_workload: true,
        runs_as_workload: true,
        matches_selector: true,
        host_network: false,
    };
    assert!(plan_peer_mark(&[verified("card")], &weather().facts, own).is_some());
    let copy = PodInput { controlled_by_workload: false, ..own };
    assert_eq!(plan_peer_mark(&[verified("card")], &weather().facts, copy), None);
}

#[test]
fn audit_plans_nothing_and_keeps_the_verdict() {
    let facts = cluster_facts(API);
    for cards in [vec![], vec![verified("card")], vec![refused("card", Reason::CardUnsigned)]] {
        assert_eq!(plan_network_policies(&cards, &weather().facts, &facts, Mode::Audit), []);
    }
}

#[test]
fn a_verified_agent_goes_where_the_configuration_lists_and_no_further() {
    let cidr = |text| Cidr::parse(text).unwrap();
    let listed = Destination::new(cidr("0.0.0.0/0"), [cidr("10.0.0.0/8")], &[443]).unwrap();
    let worlds = [Egress::Listed([listed].into()), Egress::Anywhere].map(|egress| {
        let agents = vec![
            weather().enrolled(vec![verified("card")]),
            travel().enrolled(vec![refused("card", Reason::CardUnsigned)]),
        ];
        let mut world = World::new(cluster_facts(API).with_egress(egress), agents);
        let (good, bad) = (world.run_agent(0, Labels::new()), world.run_agent(1, Labels::new()));
        let stranger = world.run("a", Labels::new(), None);
        [
            world.reaches_address(good, "203.0.113.7", "TCP", 443),
            world.reaches_address(good, "203.0.113.7", "TCP", 80),
            world.reaches(good, stranger),
            world.reaches(stranger, good),
            world.reaches(good, bad),
            world.reaches_address(bad, "203.0.113.7", "TCP", 443),
        ]
    });
    assert_eq!(worlds[0], [true, false, false, false, false, false]);
    assert_eq!(worlds[1], [true, true, true, false, false, false], "strangers included, refused agents not");
}

#[test]
fn a_plan_is_ready_for_server_side_apply() {
    for cards in [vec![], vec![verified("card")], vec![refused("card", Reason::CardUnsigned)]] {
        for policy in weather().enrolled(cards).policies(&cluster_facts(API)) {
            let value = serde_json::to_value(&policy).unwrap();
            assert_eq!(value["apiVersion"], "networking.k8s.io/v1");
            assert_eq!(value["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
            assert!(value["spec"]["ingress"].is_array() && value["spec"]["egress"].is_array());
            assert!(value["metadata"]["annotations"][REASON_ANNOTATION].is_string());
            assert!(!value.to_string().contains("null"));
        }
    }
}

#[test]
fn every_reason_of_a_refusal_plans_the_restrictive_form() {
    let facts = cluster_facts(API);
    let stands =
        |cards: &[CardOutcome]| plan_network_policies(cards, &weather().facts, &facts, Mode::Enforce);
    let closed = stands(&[])[2].spec.clone();
    for reason in Reason::ALL {
        let planned = stands(&[refused("card", *reason)]);
        assert_eq!(planned[2].spec, closed, "{reason}");
        assert_eq!(planned[2].metadata.annotations.as_ref().unwrap()[REASON_ANNOTATION], reason.code());
    }
    assert_ne!(stands(&[verified("card")])[2].spec, closed);
}

#[test]
fn the_operator_reaches_every_enrolled_pod_to_fetch_its_card() {
    let agents = vec![weather().enrolled(vec![]), travel().enrolled(vec![verified("card")])];
    let mut world = World::new(cluster_facts(API), agents);
    let pods = [0, 1].map(|of| world.run_agent(of, Labels::new()));
    for pod in pods {
        assert!(world.cluster.allows(End::Pod(world.pod(1)), End::Pod(world.pod(pod)), "TCP", 8080));
    }
}

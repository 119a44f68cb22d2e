//! What holds for every cluster: any workloads, verdicts, overlapping selectors and hostile labels.
//! The operator's marks are the only thing that the world does not let strangers choose.

use crate::netpol::{End, Labels, selects};
use crate::world::{Agent, PORTS, World, cluster_facts, namespace, refused, verified};
use countersign_api::keys::Family;
use countersign_core::refusal::Reason;
use countersign_plan::{ApiServer, Egress};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeSet;

const API_SERVER: &[(&str, &[u16])] = &[("172.18.0.2", &[6443]), ("fd00::2", &[443])];
const OUTSIDE: &[&str] = &["172.18.0.2", "172.18.0.3", "fd00::2", "fd00::3", "203.0.113.7"];

/// What one workload is like; names come from its position.
type Shape =
    (&'static str, &'static str, &'static str, Option<&'static str>, Enrolment, Option<Family>, bool);

#[derive(Clone, Copy, Debug)]
enum Enrolment {
    Stranger,
    NoCard,
    Refused,
    Verified,
    TwoMinds,
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        select(vec!["a", "b"]),
        select(vec!["Deployment", "StatefulSet", "Sandbox"]),
        select(vec!["x", "y"]),
        proptest::option::of(select(vec!["p", "q"])),
        prop_oneof![
            1 => Just(Enrolment::Stranger),
            1 => Just(Enrolment::NoCard),
            1 => Just(Enrolment::Refused),
            3 => Just(Enrolment::Verified),
            1 => Just(Enrolment::TwoMinds),
        ],
        proptest::option::of(select(Family::ALL.to_vec())),
        any::<bool>(),
    )
}

fn agent((place, kind, app, tier, enrolment, labelled, has_sidecar): Shape, index: usize) -> Agent {
    let mut selector = vec![("app", app)];
    selector.extend(tier.map(|tier| ("tier", tier)));
    // Two neighbours share a name and differ in kind, as a Deployment and a StatefulSet may.
    let agent = Agent::new(place, kind, &format!("agent-{}", index / 2), &selector);
    let agent = match labelled {
        Some(family) => agent.labelled(family),
        None => agent,
    };
    let agent = if has_sidecar { agent.beside_sidecar(&[("TCP", 8080)]) } else { agent };
    match enrolment {
        Enrolment::Stranger => agent,
        Enrolment::NoCard => agent.enrolled(vec![]),
        Enrolment::Refused => agent.enrolled(vec![refused("card", Reason::SignatureInvalid)]),
        Enrolment::Verified => agent.enrolled(vec![verified("card")]),
        Enrolment::TwoMinds => {
            agent.enrolled(vec![verified("card"), refused("other", Reason::IdentityMismatch)])
        }
    }
}

/// Labels that an author may choose: those of selectors, of old templates, and claims of being verified.
fn hostile() -> impl Strategy<Value = Labels> {
    let key = select(vec![
        "app",
        "tier",
        "version",
        "kagenti.io/type",
        "rossoctl.io/type",
        "agent.kagenti.dev/signature-verified",
        "agent.kagenti.dev/workload",
        "agent.kagenti.dev/policy-role",
    ]);
    let value = select(vec!["x", "y", "p", "q", "v1", "agent", "true", "verdict", ""]);
    btree_map(key.prop_map(str::to_owned), value.prop_map(str::to_owned), 0..5)
}

prop_compose! {
    fn world_with(egress: Egress)(
        shapes in vec(shape(), 1..5),
        templates in vec(hostile(), 8),
        strangers in vec((select(vec!["a", "b"]), hostile()), 0..4),
        shared in any::<bool>(),
    ) -> World {
        // Two workloads of one kind, namespace and name are one workload: the first counts.
        let mut taken = BTreeSet::new();
        let agents: Vec<_> = shapes
            .into_iter()
            .enumerate()
            .filter(|(index, shape)| taken.insert((shape.0, shape.1, index / 2)))
            .map(|(index, shape)| agent(shape, index))
            .collect();
        let mut facts = cluster_facts(API_SERVER).with_egress(egress.clone());
        if shared {
            facts = facts.with_agent_namespace(namespace("a")).with_agent_namespace(namespace("b"));
        }
        let count = agents.len();
        let mut world = World::new(facts, agents);
        for (index, template) in templates.into_iter().enumerate() {
            world.run_agent(index % count, template);
        }
        for (place, labels) in strangers {
            world.run(place, labels, None);
        }
        world
    }
}

/// Verified agents keep to each other.
fn world() -> impl Strategy<Value = World> {
    world_with(Egress::Listed(BTreeSet::new()))
}

/// Either kind of egress, and whether it is the open one.
fn any_world() -> impl Strategy<Value = (bool, World)> {
    let open = world_with(Egress::Anywhere).prop_map(|world| (true, world));
    prop_oneof![open, world().prop_map(|world| (false, world))]
}

/// Pods of agents and strangers, without DNS and the operator.
fn tenants(world: &World) -> impl Iterator<Item = usize> + '_ {
    (0..world.pods.len()).filter(|index| ["a", "b"].contains(&world.pod(*index).namespace.as_str()))
}

fn is_verified(world: &World, index: usize) -> bool {
    world.pods[index].of.is_some_and(|of| world.agents[of].is_verified())
}

fn is_enrolled(world: &World, index: usize) -> bool {
    world.pods[index].of.is_some_and(|of| world.agents[of].cards.is_some())
}

/// True for a Pod of nobody that is enrolled, which the selector of an agent happens to match. An agent that its
/// namespace isolates has one policy by that selector: without it such a Pod is as open as before the agent came.
fn is_bystander(world: &World, index: usize) -> bool {
    let pod = world.pod(index);
    let matches = |agent: &Agent| {
        agent.isolating_family().is_some()
            && agent.facts.namespace().as_str() == pod.namespace
            && selects(&agent.selector, &pod.labels)
    };
    !is_enrolled(world, index) && world.agents.iter().any(matches)
}

/// True for a connection of a bystander in which no enrolled agent has a part.
fn is_among_bystanders(world: &World, ends: [Option<usize>; 2]) -> bool {
    let ends = || ends.into_iter().flatten();
    ends().any(|index| is_bystander(world, index)) && !ends().any(|index| is_enrolled(world, index))
}

/// True for a connection from a verified agent to a bystander. With open egress it may call whom no policy protects,
/// and a bystander is protected by nothing but the policy of an agent that happens to match it.
fn is_call_to_a_bystander(world: &World, ends: [Option<usize>; 2]) -> bool {
    let [from, to] = ends;
    from.is_some_and(|from| is_verified(world, from)) && to.is_some_and(|to| is_bystander(world, to))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn who_is_not_verified_meets_no_enrolled_agent((open, world) in any_world()) {
        for one in tenants(&world) {
            for other in tenants(&world).filter(|other| *other != one) {
                if is_enrolled(&world, one) && !(is_verified(&world, one) && is_verified(&world, other)) {
                    let [to, from] = world.meets(one, other);
                    // With open egress a verified agent may call whom no policy protects, and nobody else.
                    let unprotected = open && is_verified(&world, one) && !is_enrolled(&world, other);
                    prop_assert!(!from && (!to || unprotected), "{:?} {:?}", world.pod(one), world.pod(other));
                }
            }
        }
    }

    #[test]
    fn beside_a_sidecar_only_declared_ports_are_reached((_, world) in any_world()) {
        for to in tenants(&world).filter(|index| is_enrolled(&world, *index)) {
            let Some(open) = world.pods[to].of.and_then(|of| world.agents[of].open.as_ref()) else { continue };
            for from in tenants(&world).filter(|from| *from != to) {
                let reached = world.reached_ports(from, to);
                prop_assert!(reached.iter().all(|port| open.contains(port)), "{reached:?}");
            }
        }
    }

    #[test]
    fn losing_any_one_object_opens_nothing((open, world) in any_world()) {
        let whole = world.connections(&world.cluster, OUTSIDE);
        for lost in 0..world.cluster.policies.len() {
            let mut rest = world.cluster.clone();
            let gone = rest.policies.remove(lost);
            for (before, after) in whole.iter().zip(world.connections(&rest, OUTSIDE)) {
                let opened = !before.allowed && after.allowed;
                let of_bystanders = is_among_bystanders(&world, before.ends)
                    || (open && is_call_to_a_bystander(&world, before.ends));
                prop_assert!(!opened || of_bystanders, "without {:?}", gone.metadata.name);
            }
        }
    }

    #[test]
    fn a_verified_agent_reaches_agents_dns_and_the_api_server(world in world()) {
        let across = world.facts != cluster_facts(API_SERVER);
        for one in tenants(&world).filter(|index| is_verified(&world, *index)) {
            for other in tenants(&world).filter(|index| is_verified(&world, *index)) {
                let near = world.pod(one).namespace == world.pod(other).namespace;
                prop_assert_eq!(world.reaches(one, other), near || across);
            }
            prop_assert!(world.reaches(one, 0), "DNS");
            for (address, ports) in API_SERVER {
                prop_assert!(world.reaches_address(one, address, "TCP", ports[0]));
            }
        }
    }

    #[test]
    fn every_pod_of_an_enrolled_agent_is_isolated_whatever_its_template_says(world in world()) {
        for index in tenants(&world).filter(|index| is_enrolled(&world, *index)) {
            prop_assert!(world.cluster.isolates(world.pod(index)), "{:?}", world.pod(index));
        }
    }

    #[test]
    fn the_minimum_opens_dns_the_api_server_and_nothing_else(world in world()) {
        for index in tenants(&world).filter(|index| is_enrolled(&world, *index)) {
            let from = End::Pod(world.pod(index));
            for address in OUTSIDE {
                for (protocol, port) in PORTS {
                    let listed = protocol == "TCP" && API_SERVER.iter().any(|(a, p)| a == address && p.contains(&port));
                    prop_assert_eq!(world.reaches_address(index, address, protocol, port), listed);
                }
            }
            for (protocol, port) in PORTS {
                let dns = world.cluster.allows(from, End::Pod(world.pod(0)), protocol, port);
                prop_assert_eq!(dns, port == 53);
                let operator = world.cluster.allows(from, End::Pod(world.pod(1)), protocol, port);
                prop_assert!(!operator);
            }
            prop_assert!(world.reaches(1, index), "the operator fetches the card");
        }
    }

    #[test]
    fn an_api_server_address_is_opened_alone_on_its_own_ports(
        v4 in proptest::array::uniform3(any::<u8>()),
        v6 in any::<u64>(),
        ports in proptest::array::uniform2(1024_u16..),
    ) {
        prop_assume!(ports[0] != ports[1]);
        let v4 = std::net::Ipv4Addr::new(172, v4[0], v4[1], v4[2]);
        let v6 = std::net::Ipv6Addr::from((0xfd00_u128 << 112) | u128::from(v6));
        let (four, six) = (v4.to_string(), v6.to_string());
        let facts = cluster_facts(&[(&four, &ports[..1]), (&six, &ports[1..])]);
        let mut world = World::new(facts, vec![Agent::new("a", "Deployment", "weather", &[("app", "x")]).enrolled(vec![])]);
        let agent = world.run_agent(0, Labels::new());
        let beside = [(v4.to_bits() ^ 1).into(), std::net::Ipv4Addr::from(v4.to_bits() ^ (1 << 31))].map(|a: std::net::Ipv4Addr| a.to_string());
        let beside6 = [1_u128, 1 << 63, 1 << 64].map(|bit| std::net::Ipv6Addr::from(v6.to_bits() ^ bit).to_string());
        prop_assert!(world.reaches_address(agent, &four, "TCP", ports[0]));
        prop_assert!(world.reaches_address(agent, &six, "TCP", ports[1]));
        prop_assert!(!world.reaches_address(agent, &four, "TCP", ports[1]));
        prop_assert!(!world.reaches_address(agent, &six, "TCP", ports[0]));
        prop_assert!(!world.reaches_address(agent, &four, "UDP", ports[0]));
        for other in beside.iter().chain(&beside6) {
            prop_assert!(ports.iter().all(|port| !world.reaches_address(agent, other, "TCP", *port)), "{}", other);
        }
    }

    #[test]
    fn the_plan_does_not_depend_on_the_order_of_the_facts(
        mut endpoints in vec((0_u8..4, vec(1_u16..5, 1..3)), 1..5),
        turn in any::<Index>(),
    ) {
        let text: Vec<_> = (0..4).map(|last| format!("172.18.0.{}", 2 + last)).collect();
        let facts = |endpoints: &[(u8, Vec<u16>)], cards: [&str; 2]| {
            let list: Vec<(&str, &[u16])> = endpoints.iter().map(|(a, p)| (text[usize::from(*a)].as_str(), p.as_slice())).collect();
            prop_assert!(ApiServer::parse(list.iter().copied()).is_ok());
            let cards = cards.map(verified);
            let agent = Agent::new("a", "Deployment", "weather", &[("app", "x")]).enrolled(cards.to_vec());
            Ok(serde_json::to_string(&agent.policies(&cluster_facts(&list))).unwrap())
        };
        let before = facts(&endpoints, ["one", "two"])?;
        let middle = turn.index(endpoints.len());
        endpoints.rotate_left(middle);
        prop_assert_eq!(before, facts(&endpoints, ["two", "one"])?);
    }
}

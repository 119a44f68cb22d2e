//! The operator dies, again and again, among twenty agents: it converges, and at no sampled moment is an agent that
//! deserves no trust marked, opened or reached.

use countersign_cluster_tests::{
    Agents, Node, Packets, SYSTEM, Signer, card_of, chart, find, list, outcome, until,
};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TEAM: &str = "crash";
const PAIRS: usize = 10;
const LEASE: &str = "b7c4ae34.kagenti.dev";

/// Reads everything that could open a bad agent, once, and asserts that nothing does.
fn assert_closed(node: &Node) {
    let mut isolating = false;
    for pod in list(&node.rig, "pods", TEAM).unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let mark = &pod["metadata"]["labels"]["agent.kagenti.dev/verified-peer"];
        assert!(!name.starts_with("bad-") || mark.is_null(), "{name} is marked as a verified peer");
    }
    for object in list(&node.rig, "networkpolicies", TEAM).unwrap() {
        let name = object["metadata"]["name"].as_str().unwrap();
        isolating |= name == "countersign-baseline" || name == "countersign-minimum";
        if name.starts_with("bad-") {
            // In comes the operator alone: one rule with one peer, whose namespace is the operator's.
            let peers: Vec<&Value> = object["spec"]["ingress"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|rule| rule["from"].as_array().into_iter().flatten())
                .collect();
            let of = |peer: &Value| {
                peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == SYSTEM
            };
            let rules = object["spec"]["ingress"].as_array().map_or(0, Vec::len);
            assert!(rules == 1 && peers.len() == 1 && of(peers[0]), "{name} is open: {}", object["spec"]);
        }
    }
    assert!(isolating, "the namespace has agents and nothing isolates them");
}

fn signal(operators: &[(u32, String)], name: &str) {
    for (pid, _) in operators {
        std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    }
}

fn wait_operator(node: &Node, count: usize) {
    until("the operator runs", Duration::from_mins(2), || Ok(node.operators()?.len() == count)).unwrap();
}

fn holder(node: &Node) -> String {
    let lease = find(&node.rig, "lease", SYSTEM, LEASE).ok().flatten().unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_operator_that_dies_among_twenty_agents_converges_and_never_opens_more_than_the_truth() {
    let node = Node::with_operator(&[]).unwrap();
    node.namespace(TEAM).unwrap();
    node.create_honest(TEAM, "caller").unwrap();
    node.wait_verdict(TEAM, "caller", None).unwrap();

    let (ended, samples, attempts) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let objects = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert_closed(&node);
                samples.fetch_add(1, Ordering::Relaxed);
                // Without a pause it would take the machine from those whom it watches.
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let packets = scope.spawn(|| {
            let mut index = 0;
            while !ended.load(Ordering::Relaxed) {
                index = (index + 1) % PAIRS;
                let name = format!("bad-{index}");
                // A Pod without an address yet cannot be asked for.
                let Ok(address) = node.pod(TEAM, &name) else { continue };
                if address.starts_with(':') {
                    continue;
                }
                if let Ok(found) = node.connect(TEAM, "deploy/caller", &address) {
                    assert_ne!(found, Packets::Pass, "packets reach {name}");
                    attempts.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Whatever goes wrong here must end the samplers too.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&node)));
        ended.store(true, Ordering::Relaxed);
        objects.join().unwrap();
        packets.join().unwrap();
        if let Err(panic) = acted {
            std::panic::resume_unwind(panic);
        }
    });
    let (samples, attempts) = (samples.into_inner(), attempts.into_inner());
    println!("{samples} samples of objects, {attempts} attempts to reach agents without trust");
    assert!(samples > 20 && attempts > 10, "{samples} samples and {attempts} attempts are too few");
}

fn act(node: &Node) {
    let mut objects = Vec::new();
    for index in 0..PAIRS {
        let (good, bad) = (format!("good-{index}"), format!("bad-{index}"));
        let signed = Agents::sign(&card_of(&good, TEAM), &node.svid(TEAM, &good, "1h").unwrap());
        node.serve(TEAM, &good, &signed).unwrap();
        // Signed, and by somebody else.
        let card = Agents::sign(&card_of(&bad, TEAM), &node.svid(TEAM, &good, "1h").unwrap());
        node.serve(TEAM, &bad, &card).unwrap();
        for name in [&good, &bad] {
            objects.extend(node.manifests(TEAM, name, Signer::Test).unwrap());
        }
    }
    node.apply_all(&objects).unwrap();
    // In the middle of it: some agents are judged, others are not.
    let judged = |least: usize| {
        let cards = || list(&node.rig, "agentcards", TEAM);
        let is_judged = |card: &&Value| !outcome(card).is_empty();
        until("some verdicts", Duration::from_mins(1), || {
            Ok(cards()?.iter().filter(is_judged).count() >= least)
        })
        .unwrap();
    };
    judged(4);
    let first = node.operators().unwrap();
    assert_eq!(first.len(), 1);
    signal(&first, "-KILL");
    wait_operator(node, 1);
    judged(10);
    signal(&node.operators().unwrap(), "-KILL");
    let began = Instant::now();
    assert_converged(node, 0);
    println!("one replica: converged {:.1?} after the second kill", began.elapsed());

    // Two replicas; the leader hangs, and what turned bad meanwhile is closed by the other.
    node.install(&chart(), &["--set", "controllerManager.replicas=2"]).unwrap();
    wait_operator(node, 2);
    let leading = || -> Vec<(u32, String)> {
        let holder = holder(node);
        let leads = |pod: &str| !pod.is_empty() && holder.contains(pod);
        node.operators().unwrap().into_iter().filter(|(_, pod)| leads(pod)).collect()
    };
    until("a leader among the two", Duration::from_mins(2), || Ok(leading().len() == 1)).unwrap();
    let leader = holder(node);
    node.serve(TEAM, "good-0", card_of("good-0", TEAM).to_string().as_bytes()).unwrap();
    // One that stands still is worse than one that is dead: it wakes up and believes that it leads.
    let stopped = leading();
    signal(&stopped, "-STOP");
    let began = Instant::now();
    until("another leader", Duration::from_mins(1), || {
        Ok(!["", leader.as_str()].contains(&holder(node).as_str()))
    })
    .unwrap();
    println!("another leader after {:.1?}", began.elapsed());
    node.wait_verdict(TEAM, "good-0", Some("CardUnsigned")).unwrap();
    let address = node.pod(TEAM, "good-0").unwrap();
    node.wait_packets((TEAM, "deploy/caller"), &address, Packets::Dropped).unwrap();
    signal(&stopped, "-CONT");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        assert_eq!(node.connect(TEAM, "deploy/caller", &address).unwrap(), Packets::Dropped);
        assert_ne!(holder(node), leader, "the one that stood still leads again");
    }
    signal(&node.operators().unwrap(), "-KILL");
    wait_operator(node, 2);
    assert_converged(node, 1);
}

/// Every good agent from `first` on is verified and reached, every bad one refused.
fn assert_converged(node: &Node, first: usize) {
    for index in 0..PAIRS {
        node.wait_verdict(TEAM, &format!("bad-{index}"), Some("IdentityMismatch")).unwrap();
    }
    for index in first..PAIRS {
        node.wait_verdict(TEAM, &format!("good-{index}"), None).unwrap();
    }
    for index in first..PAIRS {
        let address = node.pod(TEAM, &format!("good-{index}")).unwrap();
        node.wait_packets((TEAM, "deploy/caller"), &address, Packets::Pass).unwrap();
    }
}

//! `make bench-cluster`: what the operator costs beside a real API server and etcd on the same machine.
//! Arguments after `--`: the number of agents (1000), and the length of the quiet time in seconds (60).

use countersign_cluster_tests::{
    Agents, Authority, Operator, TRUST_DOMAIN, audit_writes, bundle_json, card_of, process_cpu,
    process_memory,
};
use countersign_rig::Rig;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "team";

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let agents = numbers.first().copied().unwrap_or(1000);
    let quiet = Duration::from_secs(numbers.get(1).copied().unwrap_or(60).try_into().unwrap());
    let rig = Rig::control_plane().unwrap();
    let authority = Authority::new(TRUST_DOMAIN);
    let world = Agents::new(&rig, &[NAMESPACE], &authority).unwrap();
    let names: Vec<String> = (0..agents).map(|index| format!("agent-{index:04}")).collect();
    for name in &names {
        let card = Agents::sign(&card_of(name, NAMESPACE), &authority.issue(NAMESPACE, name, -60, 7200));
        world.serve(NAMESPACE, name, &card).unwrap();
    }
    for part in names.chunks(250) {
        world.create(NAMESPACE, &part.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    rig.wait("the Deployments to be available", || {
        let text = rig.kubectl(&[
            "get",
            "deployments",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.items[*].status.conditions[?(@.type=='Available')].status}",
        ])?;
        Ok(text.split_whitespace().filter(|status| *status == "True").count() == agents)
    })
    .unwrap();
    println!("| work ({agents} agents) | figure |\n|---|---|");

    let lines = audit_lines(&rig);
    let started = Instant::now();
    let operator = Operator::start(&rig, &[]).unwrap();
    operator.wait_ready().unwrap();
    println!("| process start → controllers running | {:.2} s |", started.elapsed().as_secs_f64());
    wait_policies(&rig, "Verified", agents);
    wait_cards(&rig, "True", agents);
    let burst = started.elapsed();
    println!(
        "| process start → last card verified and its policy permissive | {:.1} s |",
        burst.as_secs_f64()
    );
    let pid = operator.pid().unwrap();
    let cpu = process_cpu(pid).unwrap();
    println!("| operator CPU until then | {:.1} s |", cpu.as_secs_f64());
    std::thread::sleep(Duration::from_secs(3));
    report_writes(&rig, lines, "until then", agents);
    println!("| resident memory | {:.1} MiB |", mib(pid));

    std::thread::sleep(Duration::from_secs(5));
    let (lines, cpu) = (audit_lines(&rig), process_cpu(pid).unwrap());
    std::thread::sleep(quiet);
    let spent = process_cpu(pid).unwrap() - cpu;
    println!("| operator CPU in {} quiet s | {:.2} s |", quiet.as_secs(), spent.as_secs_f64());
    report_writes(&rig, lines, "in the quiet time", agents);
    println!("| resident memory | {:.1} MiB |", mib(pid));

    let (lines, cpu) = (audit_lines(&rig), process_cpu(pid).unwrap());
    let started = Instant::now();
    world.publish(&bundle_json(&[&Authority::new(TRUST_DOMAIN)], 2)).unwrap();
    wait_policies(&rig, "AnchorUnknown", agents);
    println!("| root replaced → last policy restrictive | {:.2} s |", started.elapsed().as_secs_f64());
    wait_cards(&rig, "False", agents);
    println!("| root replaced → last card refused | {:.2} s |", started.elapsed().as_secs_f64());
    println!("| operator CPU for that | {:.2} s |", (process_cpu(pid).unwrap() - cpu).as_secs_f64());
    report_writes(&rig, lines, "for that", agents);
    println!("| resident memory | {:.1} MiB |", mib(pid));
}

fn mib(pid: u32) -> f64 {
    f64::from(u32::try_from(process_memory(pid).unwrap()).unwrap()) / 1024.0
}

fn audit_lines(rig: &Rig) -> usize {
    std::fs::read_to_string(rig.audit_log()).unwrap().lines().count()
}

fn report_writes(rig: &Rig, skip: usize, when: &str, agents: usize) {
    let mut by_kind: BTreeMap<String, usize> = BTreeMap::new();
    for write in audit_writes(&rig.audit_log(), skip, "countersign").unwrap() {
        *by_kind.entry(write).or_default() += 1;
    }
    let all: usize = by_kind.values().sum();
    let each = f64::from(u32::try_from(all).unwrap()) / f64::from(u32::try_from(agents).unwrap());
    println!("| API writes {when} | {all} ({each:.2} per agent): {by_kind:?} |");
}

/// Waits until so many policies that follow verdicts carry this reason.
fn wait_policies(rig: &Rig, reason: &str, count: usize) {
    wait_for(rig, "networkpolicies", count, |object| {
        object["metadata"]["annotations"]["agent.kagenti.dev/reason"] == reason
    });
}

/// Waits until so many cards have `Verified` with this status.
fn wait_cards(rig: &Rig, status: &str, count: usize) {
    wait_for(rig, "agentcards", count, |object| {
        let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Verified" && condition["status"] == status)
    });
}

fn wait_for(rig: &Rig, kind: &str, count: usize, holds: impl Fn(&Value) -> bool) {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let text = rig.kubectl(&["get", kind, "-n", NAMESPACE, "-o", "json"]).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let found = list["items"].as_array().unwrap().iter().filter(|object| holds(object)).count();
        if found == count {
            return;
        }
        assert!(Instant::now() < end, "{found} of {count} {kind}");
        std::thread::sleep(Duration::from_millis(250));
    }
}

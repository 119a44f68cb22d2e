//! Faults between operator and API server: it converges afterwards, and is never more open than the truth.
//! A sampler asks the API server itself, beside the proxy, what is open; the test knows what may be.

use countersign_cluster_tests::{Scene, card_of, is_open, outcome, until};
use countersign_rig::{Fault, FaultProxy, Rule};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TEAM: &str = "team";
/// How long a fault lasts at least: time itself, in which waits grow with each failure in a row.
const LASTS: Duration = Duration::from_secs(4);
/// How often everything is looked at while a fault lasts.
const SAMPLES: usize = 12;
/// How many looks at a card that turned bad may begin while it is still open: one may have begun before it turned,
/// one finds it out, and its policy and marks are written beside the next.
const DETECTION: u64 = 4;
/// How long after a fault everything is right again, on a machine that is busy besides: waits of watches and writes
/// that failed grow with each failure in a row.
const RECOVERY: Duration = Duration::from_mins(1);

/// What was open at a moment.
struct Sample {
    asked: Instant,
    /// How often the operator had asked for the card that turns bad.
    looks: u64,
    /// Agents with an open policy, a marked Pod or a verdict that trusts them.
    open: BTreeSet<String>,
    isolated: bool,
}

/// One look at everything that decides who may speak; none if the API server does not answer.
fn look(scene: &Scene) -> Option<Sample> {
    let (rig, asked, looks) = (scene.rig, Instant::now(), scene.agents.asked(TEAM, "turning"));
    let (mut open, mut isolation) = (BTreeSet::new(), 0);
    let list =
        |group: &str, kind: &str| rig.get(&format!("/{group}/namespaces/{TEAM}/{kind}")).ok().flatten();
    for policy in list("apis/networking.k8s.io/v1", "networkpolicies")?["items"].as_array()? {
        let name = policy["metadata"]["name"].as_str()?;
        if name.starts_with("countersign-") {
            isolation += 1;
        } else if is_open(policy) {
            open.insert(format!("{} policy", name.trim_end_matches("-signature-policy")));
        }
    }
    for pod in list("api/v1", "pods")?["items"].as_array()? {
        let labels = &pod["metadata"]["labels"];
        if labels["agent.kagenti.dev/verified-peer"].is_string() {
            open.insert(format!("{} mark", labels["app"].as_str()?));
        }
    }
    for card in list("apis/agent.kagenti.dev/v1alpha1", "agentcards")?["items"].as_array()? {
        if outcome(card) == "Verified" {
            open.insert(format!("{} verdict", card["metadata"]["name"].as_str()?));
        }
    }
    Some(Sample { asked, looks, open, isolated: isolation == 2 })
}

/// Whether anything about this agent is open, but for what status says.
fn is_open_to(sample: &Sample, agent: &str) -> bool {
    ["policy", "mark"].iter().any(|what| sample.open.contains(&format!("{agent} {what}")))
}

/// Whether nothing at all trusts this agent.
fn is_closed(sample: &Sample, agent: &str) -> bool {
    !is_open_to(sample, agent) && !sample.open.contains(&format!("{agent} verdict"))
}

/// One fault: how it begins and goes on for a while, and how it ends.
struct Case {
    name: &'static str,
    /// Whether the operator can still write, so that what turned bad is closed while the fault lasts.
    writes_pass: bool,
    /// Whether the sampler is answered meanwhile.
    is_seen: bool,
    act: fn(&Scene, &FaultProxy),
    end: fn(&Scene, &FaultProxy),
}

fn wait(_: &Scene, _: &FaultProxy) {
    std::thread::sleep(LASTS);
}

fn clear(_: &Scene, proxy: &FaultProxy) {
    assert!(proxy.injected() > 0, "the fault met no request");
    proxy.clear();
}

fn rule(proxy: &FaultProxy, rule: Rule) {
    proxy.inject(rule);
    std::thread::sleep(LASTS);
}

const WRITES: [&str; 4] = ["PATCH", "POST", "PUT", "DELETE"];

fn refuse_writes(proxy: &FaultProxy, fault: Fault) {
    for method in WRITES {
        proxy.inject(Rule::new(fault).method(method));
    }
    std::thread::sleep(LASTS);
}

const CASES: [Case; 13] = [
    Case {
        name: "watches break again and again",
        writes_pass: true,
        is_seen: true,
        act: |_, proxy| {
            for _ in 0..16 {
                proxy.drop_watches();
                std::thread::sleep(Duration::from_millis(250));
            }
        },
        end: |_, _| {},
    },
    Case {
        name: "watches answer 410",
        writes_pass: true,
        is_seen: true,
        act: |_, proxy| {
            proxy.inject(Rule::new(Fault::WatchError(410)).watch(true));
            proxy.drop_watches();
            std::thread::sleep(LASTS);
        },
        end: clear,
    },
    Case {
        name: "watches are refused with 500",
        writes_pass: true,
        is_seen: true,
        act: |_, proxy| {
            proxy.inject(Rule::new(Fault::Status(500)).watch(true));
            proxy.drop_watches();
            std::thread::sleep(LASTS);
        },
        end: clear,
    },
    Case {
        name: "lists and watches are cut short",
        writes_pass: true,
        is_seen: true,
        act: |_, proxy| {
            proxy.inject(Rule::new(Fault::Truncate(300)).method("GET").path("limit=").times(12));
            proxy.inject(Rule::new(Fault::WatchError(410)).watch(true).times(12));
            proxy.drop_watches();
            std::thread::sleep(LASTS);
        },
        end: clear,
    },
    Case {
        name: "writes are refused with 409",
        writes_pass: false,
        is_seen: true,
        act: |_, proxy| refuse_writes(proxy, Fault::Status(409)),
        end: clear,
    },
    Case {
        name: "writes are refused with 429",
        writes_pass: false,
        is_seen: true,
        act: |_, proxy| refuse_writes(proxy, Fault::Status(429)),
        end: clear,
    },
    Case {
        name: "writes are refused with 500",
        writes_pass: false,
        is_seen: true,
        act: |_, proxy| refuse_writes(proxy, Fault::Status(500)),
        end: clear,
    },
    Case {
        name: "writes are done and their answers cut short",
        writes_pass: false,
        is_seen: true,
        act: |_, proxy| refuse_writes(proxy, Fault::Truncate(20)),
        end: clear,
    },
    Case {
        name: "every request waits",
        writes_pass: false,
        is_seen: true,
        act: |_, proxy| rule(proxy, Rule::new(Fault::Delay(Duration::from_millis(1500)))),
        end: clear,
    },
    Case {
        name: "every request is hung up on",
        writes_pass: false,
        is_seen: true,
        act: |_, proxy| {
            proxy.drop_watches();
            rule(proxy, Rule::new(Fault::HangUp));
        },
        end: clear,
    },
    Case {
        name: "the API server restarts",
        writes_pass: false,
        is_seen: false,
        act: |scene, _| scene.rig.stop_component("apiserver").unwrap(),
        end: |scene, _| {
            scene.rig.start_component("apiserver").unwrap();
            scene.rig.wait_ready().unwrap();
        },
    },
    Case {
        name: "etcd stands still",
        writes_pass: false,
        is_seen: false,
        act: |scene, proxy| {
            scene.rig.pause_component("etcd").unwrap();
            wait(scene, proxy);
        },
        end: |scene, _| scene.rig.resume_component("etcd").unwrap(),
    },
    Case { name: "nothing is wrong", writes_pass: true, is_seen: true, act: wait, end: |_, _| {} },
];

/// Waits until the samples say so.
fn wait_samples(scene: &Scene, what: &str, done: impl Fn(&Sample) -> bool) {
    let mut last = BTreeSet::new();
    let waited = until(what, RECOVERY, || {
        let Some(sample) = look(scene) else { return Ok(false) };
        let is_done = done(&sample);
        last = sample.open;
        Ok(is_done)
    });
    assert!(waited.is_ok(), "{what}: {last:?}\n{}", scene.operator.log());
}

fn open_in_every_way(sample: &Sample, agent: &str) -> bool {
    ["policy", "mark", "verdict"].iter().all(|what| sample.open.contains(&format!("{agent} {what}")))
}

/// One agent is good throughout, one is never good, one turns bad during the fault, and two are new.
fn survive(scene: &Scene, proxy: &FaultProxy, number: usize, case: &Case) {
    let (name, stop, taken) = (case.name, AtomicBool::new(false), AtomicUsize::new(0));
    let (fresh, forged) = (format!("fresh-{number}"), format!("forged-{number}"));
    let bad = scene.signed(&card_of("turning", TEAM), TEAM, "other");
    let (samples, turned, ended) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut samples = Vec::new();
            while !stop.load(Ordering::Acquire) {
                samples.extend(look(scene));
                taken.store(samples.len(), Ordering::Release);
                // How often everything is looked at.
                std::thread::sleep(Duration::from_millis(100));
            }
            samples
        });
        // The sampler ends also when this fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let created = std::thread::scope(|scope| {
                let acting = scope.spawn(|| (case.act)(scene, proxy));
                // The fault has begun to bite when the card turns.
                std::thread::sleep(Duration::from_millis(500));
                scene.agents.serve(TEAM, "turning", &bad).unwrap();
                let turned = (Instant::now(), scene.agents.asked(TEAM, "turning"));
                let honest = scene.honest(TEAM, &fresh);
                let other = scene.signed(&card_of(&forged, TEAM), TEAM, "other");
                // While the API server is gone, nobody can create anything.
                let created = case.is_seen
                    && scene.agent_labelled(TEAM, &fresh, &honest, &json!({})).is_ok()
                    && scene.agent_labelled(TEAM, &forged, &other, &json!({})).is_ok();
                acting.join().unwrap();
                if case.is_seen {
                    let enough = || Ok(watching.is_finished() || taken.load(Ordering::Acquire) >= SAMPLES);
                    scene.rig.wait("samples while the fault lasts", enough).unwrap();
                }
                (turned, created)
            });
            (case.end)(scene, proxy);
            let ended = Instant::now();
            if !created.1 {
                scene.agent_labelled(TEAM, &fresh, &scene.honest(TEAM, &fresh), &json!({})).unwrap();
                let other = scene.signed(&card_of(&forged, TEAM), TEAM, "other");
                scene.agent_labelled(TEAM, &forged, &other, &json!({})).unwrap();
            }
            wait_samples(scene, name, |sample| {
                is_closed(sample, "turning")
                    && is_closed(sample, &forged)
                    && open_in_every_way(sample, &fresh)
                    && open_in_every_way(sample, "good")
                    && sample.isolated
            });
            (created.0, ended)
        }));
        stop.store(true, Ordering::Release);
        let samples = watching.join().unwrap();
        let (turned, ended) = result.unwrap_or_else(|problem| std::panic::resume_unwind(problem));
        (samples, turned, ended)
    });
    // While the API server or its store is out nobody sees anything, and nobody changes anything.
    assert!(samples.len() > if case.is_seen { 10 } else { 3 }, "{name}: only {} samples", samples.len());
    let (turned, looks) = turned;
    let may_be_open = |sample: &Sample| {
        if case.writes_pass { sample.looks < looks + DETECTION } else { sample.asked < ended + RECOVERY }
    };
    let mut closed = false;
    for sample in &samples {
        let at = sample.asked.saturating_duration_since(turned);
        assert!(sample.isolated, "{name}: the isolation of the namespace is gone {at:?} after the turn");
        for never in ["never", &forged] {
            assert!(
                is_closed(sample, never),
                "{name}: {never} is open {at:?} after the turn: {:?}",
                sample.open
            );
        }
        if sample.asked > turned {
            let open = is_open_to(sample, "turning");
            assert!(!(closed && open), "{name}: what was closed opened again {at:?} after the turn");
            assert!(
                !open || may_be_open(sample),
                "{name}: still open {at:?} after the turn: {:?}",
                sample.open
            );
            closed |= !open;
        }
    }
    // What is shown is whole although writes of it failed.
    for agent in [fresh.as_str(), "good"] {
        let card = scene.get("agentcard", TEAM, agent).unwrap();
        assert_eq!(card["status"]["card"]["name"], agent, "{name}: {card:#}");
    }
    scene.agents.serve(TEAM, "turning", &scene.honest(TEAM, "turning")).unwrap();
    wait_samples(scene, name, |sample| open_in_every_way(sample, "turning"));
}

#[test]
fn no_fault_between_operator_and_api_server_opens_what_is_closed() {
    let (scene, proxy) = Scene::through_faults(&[]).unwrap();
    scene.namespace(TEAM, &json!({})).unwrap();
    for name in ["good", "turning"] {
        scene.agent_labelled(TEAM, name, &scene.honest(TEAM, name), &json!({})).unwrap();
    }
    let foreign = scene.signed(&card_of("never", TEAM), TEAM, "other");
    scene.agent_labelled(TEAM, "never", &foreign, &json!({})).unwrap();
    wait_samples(&scene, "the start", |sample| {
        ["good", "turning"].iter().all(|name| open_in_every_way(sample, name)) && sample.isolated
    });
    let only = std::env::var("FAULT").unwrap_or_default();
    for (number, case) in CASES.iter().enumerate().filter(|(_, case)| case.name.contains(&only)) {
        let started = Instant::now();
        survive(&scene, &proxy, number, case);
        eprintln!("{}: {:.1} s", case.name, started.elapsed().as_secs_f64());
    }
    scene.operator.stop().unwrap();
}

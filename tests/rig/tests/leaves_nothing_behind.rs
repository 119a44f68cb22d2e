//! A rig that ends, in order or by a signal that nothing can catch, leaves the machine as it was.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use countersign_rig::{AGNHOST, Options, Rig};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a rig could change for everybody.
#[derive(Debug, PartialEq)]
struct Machine {
    mounts: String,
    interfaces: BTreeSet<PathBuf>,
    settings: BTreeMap<PathBuf, String>,
    groups: BTreeSet<PathBuf>,
}

impl Machine {
    fn now(owner: u32) -> Self {
        let settings = ["vm", "kernel", "net/ipv4/conf", "net/bridge", "net/netfilter"];
        let settings = settings.iter().flat_map(|folder| files_below(&Path::new("/proc/sys").join(folder)));
        let name = format!("countersign-rig-{owner}-");
        Self {
            mounts: std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
            interfaces: entries(Path::new("/sys/class/net")),
            settings: settings
                .filter(|path| is_a_setting(path))
                .filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?)))
                .collect(),
            groups: entries(Path::new("/sys/fs/cgroup"))
                .iter()
                .flat_map(|hierarchy| entries(hierarchy))
                .filter(|group| group.to_string_lossy().contains(&name))
                .collect(),
        }
    }
}

/// Counters and random numbers lie among the settings and change by themselves.
fn is_a_setting(path: &Path) -> bool {
    let text = path.to_string_lossy();
    ![
        "random",
        "ns_last_pid",
        "count",
        "pty/nr",
        "perf_",
        "sched_domain",
        "stat_refresh",
        "tainted",
        "nf_log",
    ]
    .iter()
    .any(|counter| text.contains(counter))
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let Ok(list) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    list.map(|entry| entry.unwrap().path()).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let inside = entries(folder).into_iter();
    inside.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The namespaces of a process.
fn namespaces(pid: u32) -> BTreeSet<PathBuf> {
    ["mnt", "net", "pid"]
        .iter()
        .filter_map(|kind| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
        .collect()
}

fn processes() -> Vec<u32> {
    let all = entries(Path::new("/proc"));
    all.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Every namespace that the rig of this process 1 has made, those of its pods included.
fn namespaces_of_rig(init: u32) -> BTreeSet<PathBuf> {
    let ours = namespaces(std::process::id());
    let mut family = BTreeSet::from([init]);
    loop {
        let more: Vec<u32> = processes()
            .into_iter()
            .filter(|pid| {
                !family.contains(pid) && parent(*pid).is_some_and(|parent| family.contains(&parent))
            })
            .collect();
        if more.is_empty() {
            break;
        }
        family.extend(more);
    }
    family.into_iter().flat_map(namespaces).filter(|namespace| !ours.contains(namespace)).collect()
}

fn in_any(wanted: &BTreeSet<PathBuf>) -> Vec<u32> {
    processes().into_iter().filter(|&pid| !namespaces(pid).is_disjoint(wanted)).collect()
}

fn options(folder: Option<PathBuf>) -> Options {
    Options { folder, without_policy: true, ..Options::default() }
}

#[test]
fn a_node_that_ends_in_order_leaves_nothing() {
    let before = Machine::now(std::process::id());
    let rig = Rig::node(&options(None)).unwrap();
    rig.kubectl(&["run", "pod", &format!("--image={AGNHOST}"), "--image-pull-policy=Never", "--", "pause"])
        .unwrap();
    rig.kubectl(&["wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"]).unwrap();
    let (folder, made) = (rig.folder().to_owned(), namespaces_of_rig(rig.init_pid()));
    // The test would prove nothing if the rig had made nothing: its own three and those of a pod.
    assert!(made.len() >= 5, "{made:?}");
    let during = Machine::now(std::process::id());
    assert!(!during.groups.is_empty());
    assert_eq!((&during.mounts, &during.settings), (&before.mounts, &before.settings));
    rig.down().unwrap();
    assert_eq!(in_any(&made), Vec::<u32>::new());
    assert!(!folder.exists());
    assert_eq!(Machine::now(std::process::id()), before);
}

#[test]
fn a_rig_whose_owner_is_killed_leaves_nothing() {
    let folder = std::env::temp_dir().join(format!("countersign-rig/killed-{}", std::process::id()));
    let before = Machine::now(0);
    let up = Command::new(env!("CARGO_BIN_EXE_rig"))
        .args(["up", "node", "--without-policy", "--without-spire", "--folder"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let ready = std::fs::read_to_string(folder.join("ready")).unwrap();
    let (owner, init) = ready.split_once(' ').unwrap();
    let made = namespaces_of_rig(init.parse().unwrap());
    assert!(made.len() >= 3, "{made:?}");
    assert!(Command::new("kill").args(["-KILL", owner]).status().unwrap().success());

    let begin = Instant::now();
    while folder.exists() || !in_any(&made).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(30), "left: {:?}", in_any(&made));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(Machine::now(owner.parse().unwrap()).groups, BTreeSet::new());
    assert_eq!(Machine::now(0), before);
}

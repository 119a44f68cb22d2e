//! Instructions per verification, counted by callgrind, against `benches/instructions.toml`.
//!
//! Counts hardly move on a busy machine, so they are the gate against getting slower. Valgrind is called
//! directly: a harness around it would have to be installed in its own version, and could not leave out ring.
//! ring is left out because it picks its assembly by the processor and because the work of an ECDSA check
//! depends on the signature; what remains is this crate, its other dependencies and the C library.
//!
//! `-- --update` writes the baseline, `-- --profile CASE` lists the functions that cost most.

#![expect(clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::arithmetic_side_effects, reason = "counts are far from the limits")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads its own files")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use support::card;
use support::case::{Case, Root};

const KB: usize = 1024;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/instructions.toml");
const ABOUT: &str =
    "# Instructions per verification without those inside ring, counted by callgrind on x86-64.
# Written by `make bench-instructions-update`; `make bench-instructions` fails above these by more than 3 %.
";
/// How far a count may lie above its baseline, in percent.
const TOLERANCE: u64 = 3;

/// Parts of the names of ring's functions that are not written in Rust.
const RING_ASSEMBLY: [&str; 8] =
    ["ring_core_", "ecp_nistz256", "p256_", "p384_", "elem_", "scalar_", "bn_", "limbs_"];

type Make = fn() -> Case;

/// Name and maker of each case.
const CASES: [(&str, Make); 9] = [
    ("honest-1k", || Case::honest(Root::P256, KB)),
    ("honest-3k", || Case::honest(Root::P256, 3 * KB)),
    ("honest-3k-rsa", || Case::honest(Root::Rsa2048, 3 * KB)),
    ("honest-16k", || Case::honest(Root::P256, 16 * KB)),
    ("honest-128k", || Case::honest(Root::P256, 128 * KB)),
    ("tampered-3k", || Case::tampered(Root::P256, 3 * KB)),
    ("last-profile-3k", || Case::last_profile(Root::P256, 3 * KB)),
    ("120-roots-3k", || Case::many_roots(Root::P256, 3 * KB)),
    ("hostile-dense", || Case::hostile("hostile", card::dense)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => check(),
        ["--update"] => update(),
        ["--profile", name] => profile(name),
        ["--run", name] => run(name),
        _ => {
            eprintln!("usage: instructions [--update | --profile CASE]");
            ExitCode::from(2)
        }
    }
}

/// The process that valgrind watches.
fn run(name: &str) -> ExitCode {
    let (_, make) = CASES.into_iter().find(|(known, _)| *known == name).expect("a known case");
    let mut case = make();
    let bytes = case.bytes.clone();
    measured_verification(&mut case, bytes);
    ExitCode::SUCCESS
}

/// Where counting starts and ends; `build` has already verified once, so nothing is set up in here.
#[inline(never)]
fn measured_verification(case: &mut Case, bytes: Vec<u8>) {
    case.run(bytes);
}

fn check() -> ExitCode {
    let baseline: toml::Table =
        std::fs::read_to_string(BASELINE).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut worse = false;
    println!("{:<18}{:>12}{:>12}{:>9}", "instructions", "now", "baseline", "change");
    for (name, _) in CASES {
        let now = total(&count(name));
        let Some(before) = baseline.get(name).and_then(toml::Value::as_integer) else {
            println!("{name:<18}{now:>12}{:>12}", "none");
            worse = true;
            continue;
        };
        let before = u64::try_from(before).expect("a count");
        let exceeded = now * 100 > before * (100 + TOLERANCE);
        let permille = (i128::from(now) - i128::from(before)) * 1000 / i128::from(before.max(1));
        let sign = if permille < 0 { '-' } else { '+' };
        let (whole, tenth) = (permille.unsigned_abs() / 10, permille.unsigned_abs() % 10);
        let verdict = if exceeded { "  TOO MANY" } else { "" };
        println!("{name:<18}{now:>12}{before:>12}{:>9}{verdict}", format!("{sign}{whole}.{tenth} %"));
        worse |= exceeded;
    }
    if worse {
        eprintln!(
            "A count is more than {TOLERANCE} % above its baseline, or has none. If that is meant, run"
        );
        eprintln!(
            "`make bench-instructions-update`, and say in the commit what the instructions are spent on."
        );
        eprintln!("Another compiler or valgrind than those named in {BASELINE} counts differently.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn update() -> ExitCode {
    let mut text = format!("{ABOUT}# {}, {}\n", version("rustc"), version("valgrind"));
    for (name, _) in CASES {
        let line = format!("{name} = {}\n", total(&count(name)));
        print!("{line}");
        text.push_str(&line);
    }
    std::fs::write(BASELINE, text).expect("the baseline to be writable");
    ExitCode::SUCCESS
}

fn profile(name: &str) -> ExitCode {
    let counts = count(name);
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (function, count) in sorted.into_iter().take(60) {
        println!("{count:>12}  {function}");
    }
    println!("{:>12}  in all", total(&counts));
    ExitCode::SUCCESS
}

fn version(tool: &str) -> String {
    let output = Command::new(tool).arg("--version").output().expect("the tool to run");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// Instructions by function, those inside ring left out.
fn count(name: &str) -> BTreeMap<String, u64> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{name}"));
    let status = Command::new("valgrind")
        .args([
            "--quiet",
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=*measured_verification*",
        ])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("a path"))
        .args(["--run", name])
        .status()
        .expect("valgrind to be installed");
    assert!(status.success(), "{name} under valgrind");
    let counts = parse(&std::fs::read_to_string(&out).expect("the output of callgrind"));
    assert!(!counts.is_empty(), "{name}: nothing was counted; was the binary stripped?");
    counts
}

/// Reads the self cost of each function: a line of position and cost, unless it tells the cost of a call.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut function = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with("calls=") {
            lines.next();
        } else if line.starts_with(|c: char| c.is_ascii_digit()) && !is_of_ring(function) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            *counts.entry(function.to_owned()).or_insert(0) += cost.expect("position and cost");
        }
    }
    counts
}

fn is_of_ring(function: &str) -> bool {
    let path = function.split(['<', '>', ' ', '&']).any(|part| part.starts_with("ring::"));
    path || RING_ASSEMBLY.iter().any(|part| function.contains(part))
}

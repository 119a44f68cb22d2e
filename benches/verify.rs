//! Full verification against the bare signature checks that it contains, measured side by side in one run.
//! `cargo bench --bench verify`; `-- --json FILE` writes the figures too, `-- --quick` takes a tenth of the time.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "figures for people"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::bare::Check;
use support::card;
use support::case::{Case, Root};

const KB: usize = 1024;

/// What was measured of one case.
#[derive(Clone, Copy)]
struct Figures {
    /// Shortest verification.
    full: Duration,
    /// Shortest run of the bare checks alone.
    bare: Duration,
    allocations: u64,
    /// Most bytes held at one time, the received bytes included.
    peak: u64,
}

impl Figures {
    fn ratio(&self) -> Option<f64> {
        (!self.bare.is_zero()).then(|| micros(self.full) / micros(self.bare))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let json = arguments.iter().position(|argument| argument == "--json");
    let json = json.map(|at| arguments.get(at + 1).expect("--json needs a file name"));
    let rounds = if quick { 8 } else { 80 };

    let mut sections: Vec<(String, Vec<Case>)> = Vec::new();
    for root in [Root::P256, Root::Rsa2048] {
        let cases = [KB, 3 * KB, 16 * KB, 128 * KB].into_iter().flat_map(|size| {
            [Case::honest, Case::tampered, Case::last_profile, Case::many_roots].map(|make| make(root, size))
        });
        sections.push((format!("P-256 leaf under {}", root.name()), cases.collect()));
    }
    let hostile = vec![
        Case::hostile("4 signatures × 4 forms", card::legacy),
        Case::hostile("4 × 4 forms, 19,000 values", card::dense),
        Case::hostile("swelling: 3 forms, 1 refused", card::swelling),
        Case::hostile_p384(),
    ];
    sections.push(("hostile, signed by an insider".to_owned(), hostile));

    let mut measured = measure(&mut sections, rounds);
    println!(
        "{:<30}{:>7} {:>10} {:>10} {:>7} {:>7} {:>9} {:>7}",
        "", "KB", "µs", "bare µs", "ratio", "allocs", "peak B", "checks"
    );
    let mut all = Vec::new();
    for (title, cases) in &sections {
        println!("{title}");
        for case in cases {
            let figures = measured.remove(0);
            print_row(case, &figures);
            all.push((title.as_str(), case, figures));
        }
    }
    println!();
    let met = summarize(&all);
    if let Some(path) = json {
        let rows: Vec<Value> =
            all.iter().map(|(title, case, figures)| to_json(title, case, figures)).collect();
        let text = serde_json::to_string_pretty(&json!({ "rows": rows, "targets": met })).unwrap();
        std::fs::write(path, text + "\n").unwrap();
    }
}

/// Visits all cases in turn, again and again, so that a busy neighbour slows both columns of every row.
fn measure(sections: &mut [(String, Vec<Case>)], rounds: u32) -> Vec<Figures> {
    let mut all: Vec<&mut Case> = sections.iter_mut().flat_map(|(_, cases)| cases).collect();
    let mut measured: Vec<Figures> = all.iter_mut().map(|case| count(case)).collect();
    for _ in 0..rounds {
        for (case, figures) in all.iter_mut().zip(&mut measured) {
            for _ in 0..4 {
                let bytes = case.bytes.clone();
                figures.full = figures.full.min(timed(|| case.run(bytes)));
                if !case.checks.is_empty() {
                    figures.bare = figures.bare.min(timed(|| case.checks.iter().for_each(Check::run)));
                }
            }
        }
    }
    for figures in &mut measured {
        if figures.bare == Duration::MAX {
            figures.bare = Duration::ZERO;
        }
    }
    measured
}

/// Counts allocations, and checks by the budget that the bare column holds exactly the checks that are made.
fn count(case: &mut Case) -> Figures {
    let cost: u32 = case.checks.iter().map(|check| check.cost).sum();
    if !case.checks.is_empty() {
        assert_eq!(case.spent(), cost, "{}: units spent, against the bare checks", case.name);
    }
    // A copy of the received bytes is handed over; the copy itself is not part of the verification.
    let bytes = case.bytes.clone();
    let held = bytes.capacity() as u64;
    let info = allocation_counter::measure(|| case.run(bytes));
    Figures {
        full: Duration::MAX,
        bare: Duration::MAX,
        allocations: info.count_total,
        peak: info.bytes_max + held,
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let mut elapsed = Duration::MAX;
    // Counting would be charged to the verification alone: the bare checks allocate nothing.
    allocation_counter::opt_out(|| {
        let start = Instant::now();
        work();
        elapsed = start.elapsed();
    });
    elapsed
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn print_row(case: &Case, figures: &Figures) {
    let ratio = figures.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    println!(
        "  {:<28}{:>7} {:>10.1} {:>10.1} {:>7} {:>7} {:>9} {:>7}",
        case.name,
        case.size.div_ceil(KB),
        micros(figures.full),
        micros(figures.bare),
        ratio,
        figures.allocations,
        figures.peak,
        case.checks.len()
    );
}

fn to_json(title: &str, case: &Case, figures: &Figures) -> Value {
    json!({
        "group": title,
        "name": case.name,
        "cardBytes": case.size,
        "receivedBytes": case.bytes.len(),
        "micros": micros(figures.full),
        "bareMicros": micros(figures.bare),
        "ratio": figures.ratio(),
        "allocations": figures.allocations,
        "peakBytes": figures.peak,
        "checks": case.checks.len(),
    })
}

/// Compares with the targets, and says so plainly.
fn summarize(all: &[(&str, &Case, Figures)]) -> Vec<Value> {
    let find = |root: &str, name: &str, size: usize| {
        let found = all
            .iter()
            .find(|(title, case, _)| title.ends_with(root) && case.name == name && case.size == size);
        found.map(|(_, case, figures)| (*case, *figures)).expect("a row")
    };
    let mut targets = Vec::new();
    let mut judge = |target: &str, found: String, met: bool| {
        println!("{:<8} {target}: {found}", if met { "met" } else { "NOT MET" });
        targets.push(json!({ "target": target, "found": found, "met": met }));
    };
    for root in [Root::P256, Root::Rsa2048].map(Root::name) {
        let (_, honest) = find(root, "honest", 3 * KB);
        let ratio = honest.ratio().unwrap();
        judge(&format!("3 KB, {root}: at most 1.15 × its bare checks"), format!("{ratio:.3}"), ratio <= 1.15);
        judge(
            &format!("3 KB, {root}: at most 40 allocations"),
            honest.allocations.to_string(),
            honest.allocations <= 40,
        );
    }
    // One P-256 check over a short message, as this run found it, scales the target of the slower machine.
    let (case, smallest) = find("P-256 CA", "honest", KB);
    let check = micros(smallest.bare) / case.checks.len() as f64;
    let (_, largest) = find("P-256 CA", "honest", 128 * KB);
    let scaled = micros(largest.full) * 90.0 / check;
    judge(
        "128 KB: at most 600 µs on a core where one P-256 check takes 90 µs",
        format!("{:.0} µs here, where one takes {check:.0} µs: {scaled:.0} µs", micros(largest.full)),
        scaled <= 600.0,
    );
    for root in [Root::P256, Root::Rsa2048].map(Root::name) {
        let ((one, _), (many, _)) = (find(root, "honest", 3 * KB), find(root, "120-root bundle", 3 * KB));
        let (one, many) = (one.spent(), many.spent());
        judge(
            &format!("120 roots, {root}: one signature check for the chain"),
            format!("{many} budget units spent, {one} with one root"),
            many == one,
        );
    }
    for (_, case, figures) in all.iter().filter(|(title, ..)| title.starts_with("hostile")) {
        let millis = micros(figures.full) / 1000.0;
        let scaled = millis * 90.0 / check;
        judge(
            &format!("{}: 5 ms-class (at most 7.5 ms where one P-256 check takes 90 µs)", case.name),
            format!("{millis:.2} ms here: {scaled:.2} ms"),
            scaled <= 7.5,
        );
        let times = figures.peak as f64 / case.bytes.len() as f64;
        judge(&format!("{}: memory at most 4 × body", case.name), format!("{times:.2} ×"), times <= 4.0);
    }
    targets
}

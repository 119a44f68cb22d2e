//! `make bench-sidecar`: what AuthBridge costs beside a bare proxy of hyper and Envoy, in one run on the same two cores.
//! The proxy under test has a core for itself; backend, token endpoint, load and attackers share the other. Arguments after
//! `--`: requests per second (3000), seconds of each round (4), rounds (3), and the sections to run (`requests`, `memory`,
//! `waiting`, `attacks`, or `attacks=WORDS` for those attacks whose names have these words). With any of them the document
//! stays as it is.

mod attacks;
mod backend;
mod bare;
mod client;
mod contender;
mod herd;
mod load;
mod memory;
mod requests;
mod stage;
mod waiting;

use countersign_rig::record::Table;
use stage::Stage;

const SECTIONS: [&str; 4] = ["requests", "memory", "waiting", "attacks"];

fn main() {
    if std::env::args().nth(1).as_deref() == Some("bare-proxy") {
        return bare::run();
    }
    // Cargo adds a flag of its own.
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (numbers, sections): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| argument.starts_with(|first: char| first.is_ascii_digit()));
    let (attacks, sections): (Vec<String>, Vec<String>) =
        sections.into_iter().partition(|section| section.starts_with("attacks="));
    let attacks: Vec<String> = attacks.iter().map(|named| named.replace("attacks=", "")).collect();
    for section in &sections {
        assert!(SECTIONS.contains(&section.as_str()), "{section} is none of {SECTIONS:?}");
    }
    let number = |at: usize, default: u32| numbers.get(at).map_or(default, |text| text.parse().unwrap());
    let (rate, seconds, rounds) = (number(0, 3000), number(1, 4), number(2, 3));
    let is_whole = sections.is_empty() && attacks.is_empty();
    let runs = |section: &str| is_whole || sections.iter().any(|named| named == section);
    contender::pin_self(1);
    let stage = Stage::new();
    let mut table = Table::new(&format!(
        "{rate} requests/s on schedule by 100 callers, or as fast as 16 go; answers of 1 KiB"
    ));
    if runs("requests") {
        requests::measure(&stage, &mut table, (rate, seconds, rounds));
        herd::measure(&stage, &mut table);
    }
    if runs("memory") {
        memory::measure(&stage, &mut table);
    }
    if runs("waiting") {
        waiting::measure(&stage, &mut table, rounds);
    }
    if runs("attacks") || !attacks.is_empty() {
        attacks::measure(&stage, &mut table, rounds, &attacks);
    }
    if numbers.is_empty() && is_whole {
        let sharing = "the proxy has one of them, backend, endpoints, load and attackers the other.";
        table.write("docs/benchmarks.md", "sidecar", sharing).unwrap();
    }
}

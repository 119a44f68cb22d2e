//! `make bench-cluster`: what the operator costs beside a real API server and etcd on the same machine.
//! Arguments after `--`: the number of agents (1000), the length of the quiet time in seconds (300), and the one stage to
//! run (`idle`, `few`, `many`, `crowd`, `hung`, `tarpit` or `restart`); then the document stays as it is.

mod stage;

use countersign_cluster_tests::Authority;
use countersign_rig::Rig;
use countersign_rig::record::Table;
use stage::{Stage, mib, seconds};
use std::time::{Duration, Instant};

/// Agents of the small runs, as in the measurements of the existing operator.
const FEW: usize = 20;
const HERD: usize = 49;
/// Cards of the tenant that keeps the operator busy.
const TARPIT: usize = 32;
/// The namespace that many share, and the others with theirs.
const CROWD: (usize, usize, usize) = (5_000, 50, 100);
/// Objects of each foreign kind.
const FOREIGN: usize = 10_000;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let many = numbers.first().copied().unwrap_or(1000);
    let quiet = Duration::from_secs(numbers.get(1).copied().unwrap_or(300).try_into().unwrap());
    // Cargo adds a flag of its own.
    let only = std::env::args().nth(3).filter(|stage| !stage.starts_with("--"));
    let runs = |stage: &str| only.as_deref().is_none_or(|only| only == stage);
    let mut table = Table::new(&format!("work (quiet time: {} s)", quiet.as_secs()));
    if runs("idle") {
        idle(&mut table);
    }
    if runs("few") {
        burst(&mut table, FEW, quiet);
    }
    if runs("many") {
        burst(&mut table, many, quiet);
    }
    if runs("crowd") {
        crowd(&mut table);
    }
    if runs("hung") {
        hung(&mut table);
    }
    if runs("tarpit") {
        tarpit(&mut table);
    }
    if runs("restart") {
        restart(&mut table);
    }
    if only.is_none() {
        let sharing =
            "operator, API server, etcd, controller manager, agents and the measuring itself share them.";
        table.write("docs/benchmarks.md", "cluster", sharing).unwrap();
    }
}

/// An operator that has nothing to do.
fn idle(table: &mut Table) {
    let rig = Rig::control_plane().unwrap();
    let stage = Stage::new(&rig, 0);
    let started = Instant::now();
    let operator = stage.start();
    table.row("process start → controllers running", "≤ 2 s", &seconds(started.elapsed()));
    std::thread::sleep(Duration::from_secs(10));
    table.row("resident memory, idle", "≤ 15 MiB", &mib(&operator));
}

/// Agents are there; the operator comes, decides, rests, and loses its root.
fn burst(table: &mut Table, agents: usize, quiet: Duration) {
    let rig = Rig::control_plane().unwrap();
    let stage = Stage::new(&rig, agents);
    let named = |what: &str| format!("{agents} agents: {what}");
    let mut audit = stage.audit();
    let operator = stage.start();
    stage.wait(&mut audit, "True", "Verified");
    let cpu = operator.cpu();
    let all = audit.writes();
    table.row(
        &named("first card created → last verdict and policy"),
        "≤ 15 s for 1,000",
        &seconds(all.took()),
    );
    table.row(&named("API writes, per agent"), "≤ 4", &all.per_agent(agents));
    table.row(&named("operator CPU until then"), "≤ 5 s for 1,000", &seconds(cpu));

    // The verdicts are there; what follows them is not part of the quiet time.
    std::thread::sleep(Duration::from_secs(5));
    let (mut audit, before) = (stage.audit(), operator.cpu());
    std::thread::sleep(quiet);
    let all = audit.writes();
    table.row(&named("API writes in the quiet time"), "0", &all.listed());
    table.row(
        &named("operator CPU in the quiet time"),
        if agents == FEW { "≤ 1 s in 5 min" } else { "≤ 5 s in 5 min" },
        &seconds(operator.cpu().saturating_sub(before)),
    );
    table.row(&named("resident memory"), "≤ 40 MiB for 1,000", &mib(&operator));
    let mut audit = stage.audit();
    stage.replace_root();
    stage.wait(&mut audit, "False", "AnchorUnknown");
    let all = audit.writes();
    let goal = if agents == FEW { "≤ 2 s" } else { "≤ 5 s" };
    for (what, resource) in [("policy closed", "networkpolicies"), ("card refused", "agentcards/status")] {
        let [median, p99, last] = all.delays(stage.replaced(), &[resource]);
        let shown = format!("{}, {}, {}", seconds(median), seconds(p99), seconds(last));
        table.row(&named(&format!("root replaced → {what}: median, p99, last")), goal, &shown);
    }
    table.row(&named("API writes for that, per agent"), "status, policy, event", &all.per_agent(agents));
    table.row(&named("resident memory after that"), "≤ 40 MiB for 1,000", &mib(&operator));
    if agents > FEW {
        stage.foreign(FOREIGN);
        std::thread::sleep(Duration::from_secs(20));
        table.row(
            &format!(
                "{agents} agents: resident memory beside {FOREIGN} foreign Pods, ConfigMaps and Secrets each"
            ),
            "≤ 40 MiB, flat",
            &mib(&operator),
        );
    }
}

/// Ten thousand agents, half of them in one namespace.
fn crowd(table: &mut Table) {
    let (in_one, others, in_each) = CROWD;
    let mut layout = vec![("crowd".to_owned(), in_one)];
    layout.extend((0..others).map(|index| (format!("team-{index}"), in_each)));
    let agents = in_one + others * in_each;
    let rig = Rig::control_plane().unwrap();
    let stage = Stage::spread(&rig, &layout, 0);
    let named = |what: &str| format!("{agents} agents, {in_one} in one namespace: {what}");
    let mut audit = stage.audit();
    let operator = stage.start();
    stage.wait(&mut audit, "True", "Verified");
    let all = audit.writes();
    table.row(&named("operator CPU until the last verdict"), "≤ 10 × that of 1000", &seconds(operator.cpu()));
    table.row(&named("first card created → last verdict and policy"), "", &seconds(all.took()));
    table.row(&named("API writes, per agent"), "≤ 4", &all.per_agent(agents));
    std::thread::sleep(Duration::from_secs(5));
    let (mut audit, before) = (stage.audit(), operator.cpu());
    std::thread::sleep(Duration::from_mins(1));
    table.row(&named("API writes in a quiet minute"), "0", &audit.writes().listed());
    let cpu = operator.cpu().saturating_sub(before);
    table.row(&named("operator CPU in a quiet minute"), "≤ 10 × that of 1000", &seconds(cpu));
    table.row(&named("resident memory"), "≤ 150 MiB", &mib(&operator));
}

/// One agent that never answers, among many that do.
fn hung(table: &mut Table) {
    let mut taken = Vec::new();
    for hung in [0, 1] {
        let rig = Rig::control_plane().unwrap();
        let stage = Stage::with_hung(&rig, HERD, hung);
        let mut audit = stage.audit();
        let _operator = stage.start();
        stage.wait(&mut audit, "True", "Verified");
        let all = audit.writes_about("agent-");
        taken.push(seconds(all.took()));
    }
    table.row(
        "49 agents: first card → last good verdict, without and with one more that hangs",
        "same",
        &taken.join(", "),
    );
}

/// Somebody's proof ends while another tenant keeps the operator busy.
fn tarpit(table: &mut Table) {
    let rig = Rig::control_plane().unwrap();
    let stage = Stage::new(&rig, 0);
    let _operator = stage.start();
    let ends = stage.ending(40);
    let delay = stage.end_under_load(TARPIT, ends);
    table.row(
        &format!("{TARPIT} hung cards of one tenant, toggled six times a second: end of another's proof → policy closed"),
        "≤ 2 s",
        &seconds(delay),
    );
}

/// The operator is killed and starts again; then a root is replaced.
fn restart(table: &mut Table) {
    let rig = Rig::control_plane().unwrap();
    let stage = Stage::new(&rig, HERD);
    let mut audit = stage.audit();
    let operator = stage.start();
    stage.wait(&mut audit, "True", "Verified");
    drop(operator);
    let _operator = stage.start();
    let mut audit = stage.audit();
    stage.replace_root();
    stage.wait(&mut audit, "False", "AnchorUnknown");
    let [_, _, last] = audit.writes().delays(stage.replaced(), &["networkpolicies", "agentcards/status"]);
    table.row(
        "49 agents, operator restarted: root replaced → last card refused, policy closed",
        "≤ 5 s",
        &seconds(last),
    );
}

/// Who issues, in this run.
fn authority() -> Authority {
    Authority::new(countersign_cluster_tests::TRUST_DOMAIN)
}

//! What a measurement needs: agents on a control plane, the operator as it is shipped, and its writes with their times.
//! Times come from the audit log, so that nobody has to ask the API server all the time while it is measured.

use crate::authority;
use countersign_cluster_tests::{
    Agents, Audit, Authority, Operator, Request, Tarpit, bundle_json, card_of, list, process_cpu,
    process_memory,
};
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

const NAMESPACE: &str = "team";

/// Agents on a control plane.
pub struct Stage<'r> {
    rig: &'r Rig,
    agents: Agents<'r>,
    authority: Authority,
    /// The namespaces, each with its number of agents.
    layout: Vec<(String, usize)>,
    replaced: Cell<Duration>,
}

impl<'r> Stage<'r> {
    /// So many agents that are verified as soon as somebody asks.
    pub fn new(rig: &'r Rig, count: usize) -> Self {
        Self::with_hung(rig, count, 0)
    }

    /// The same, and some that accept connections and never answer. They come first in every list.
    pub fn with_hung(rig: &'r Rig, count: usize, hung: usize) -> Self {
        Self::spread(rig, &[(NAMESPACE.to_owned(), count)], hung)
    }

    /// Agents in several namespaces; those that hang are in the first.
    pub fn spread(rig: &'r Rig, layout: &[(String, usize)], hung: usize) -> Self {
        let authority = authority();
        let namespaces: Vec<&str> = layout.iter().map(|(namespace, _)| namespace.as_str()).collect();
        let agents = Agents::new(rig, &namespaces, &authority).unwrap();
        for (index, (namespace, count)) in layout.iter().enumerate() {
            let hung = if index == 0 { hung } else { 0 };
            let mut names: Vec<String> = (0..hung).map(|index| format!("a-hung-{index}")).collect();
            for name in &names {
                agents.hang(namespace, name).unwrap();
            }
            for index in 0..*count {
                let name = format!("agent-{index:04}");
                let svid = authority.issue(namespace, &name, -60, 7200);
                agents.serve(namespace, &name, &Agents::sign(&card_of(&name, namespace), &svid)).unwrap();
                names.push(name);
            }
            // Several requests at a time, as long as the API server answers each in milliseconds.
            std::thread::scope(|scope| {
                for part in names.chunks(names.len().div_ceil(4).max(1)) {
                    let manifests = part.iter().flat_map(|name| Agents::manifests(namespace, name)).collect();
                    let list = json!({ "items": Value::Array(manifests) });
                    scope.spawn(move || rig.apply(&list.to_string()).unwrap());
                }
            });
        }
        let available = |deployment: &Value| {
            deployment["status"]["conditions"].to_string().contains("MinimumReplicasAvailable")
        };
        let end = Instant::now() + Duration::from_hours(1);
        for (index, (namespace, count)) in layout.iter().enumerate() {
            let count = if index == 0 { count + hung } else { *count };
            while list(rig, "deployments", namespace).unwrap().iter().filter(|one| available(one)).count()
                < count
            {
                assert!(Instant::now() < end, "the Deployments of {namespace} are not available");
                std::thread::sleep(Duration::from_secs(2));
            }
        }
        Self { rig, agents, authority, layout: layout.to_vec(), replaced: Cell::default() }
    }

    /// Starts the operator, and waits until it says that it is ready.
    pub fn start(&self) -> Running<'r> {
        let operator = Operator::start(self.rig, &[]).unwrap();
        operator.wait_ready().unwrap();
        Running(operator)
    }

    /// The writes from now on.
    pub fn audit(&self) -> Log {
        Log(Audit::from_now_on(self.rig).unwrap())
    }

    /// Waits until the operator rests, every good card has `Verified` with this status, and its policy this reason.
    pub fn wait(&self, log: &mut Log, status: &str, reason: &str) {
        let end = Instant::now() + Duration::from_mins(20);
        loop {
            log.rest(Duration::from_secs(2));
            let holds =
                |card: &&Value| countersign_cluster_tests::condition(card, "Verified")["status"] == status;
            let says =
                |policy: &&Value| policy["metadata"]["annotations"]["agent.kagenti.dev/reason"] == reason;
            // Cards of agents that hang are refused, whatever the others are.
            let is_done = |(namespace, count): &(String, usize)| {
                let cards = list(self.rig, "agentcards", namespace).unwrap();
                let policies = list(self.rig, "networkpolicies", namespace).unwrap();
                cards.iter().filter(holds).count() >= *count && policies.iter().filter(says).count() >= *count
            };
            if self.layout.iter().all(is_done) {
                return;
            }
            assert!(Instant::now() < end, "not every agent is {reason}");
        }
    }

    /// Creates an agent whose proof ends so many seconds from now, and waits until it is verified; says when that is.
    pub fn ending(&self, seconds: i64) -> Duration {
        // The clock may be a minute off on either side, so a leaf counts that long beyond its end.
        let svid = self.authority.issue(NAMESPACE, "ending", -600, seconds - 60);
        let ends = since_epoch() + Duration::from_secs(seconds.unsigned_abs());
        let signed = Agents::sign_at(&card_of("ending", NAMESPACE), &svid, -300);
        self.agents.serve(NAMESPACE, "ending", &signed).unwrap();
        self.agents.create(NAMESPACE, &["ending"]).unwrap();
        self.wait_reason("Verified");
        ends
    }

    /// Lets another tenant keep the operator busy until that agent's policy is closed; says how long after its end.
    pub fn end_under_load(&self, hung: usize, ends: Duration) -> Duration {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "tarpit" } });
        self.rig.apply(&namespace.to_string()).unwrap();
        let tarpit = Tarpit::new(&self.agents, &["tarpit"], hung).unwrap();
        let mut log = self.audit();
        tarpit.while_toggled(|| self.wait_reason("CertificateExpired"));
        let [_, _, last] = log.writes_about("ending").delays(ends, &["networkpolicies"]);
        last
    }

    /// Waits until the policy of that agent has this reason.
    fn wait_reason(&self, reason: &str) {
        let said = |policy: &Value| policy["metadata"]["annotations"]["agent.kagenti.dev/reason"] == reason;
        self.rig
            .wait("a policy", || Ok(list(self.rig, "networkpolicies", NAMESPACE)?.iter().any(said)))
            .unwrap();
    }

    /// Replaces the only authority of the trust domain by another.
    pub fn replace_root(&self) {
        let next: Authority = authority();
        self.replaced.set(since_epoch());
        self.agents.publish(&bundle_json(&[&next], 2)).unwrap();
    }

    /// When that began, by the clock of this machine, which is the API server's.
    pub fn replaced(&self) -> Duration {
        self.replaced.get()
    }

    /// Creates so many `Pod`s, `ConfigMap`s and `Secret`s that are nobody's business.
    pub fn foreign(&self, count: usize) {
        let labels = json!({ "app": "foreign", "pod-template-hash": "0123456789" });
        let filler = "x".repeat(200);
        std::thread::scope(|scope| {
            for part in 0..4 {
                let (rig, labels, filler) = (self.rig, &labels, &filler);
                scope.spawn(move || {
                    for index in (part..count).step_by(4) {
                        let metadata = json!({ "name": format!("foreign-{index}"), "labels": labels });
                        let container = json!({ "name": "one", "image": "foreign", "env": [{ "name": "A", "value": filler }] });
                        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                            "spec": { "automountServiceAccountToken": false, "containers": [container] } });
                        let data = |kind: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": { "a": "eHh4eA==" } });
                        for (kind, object) in [("pods", pod), ("configmaps", data("ConfigMap")), ("secrets", data("Secret"))] {
                            rig.create(&format!("/api/v1/namespaces/default/{kind}"), &object).unwrap();
                        }
                    }
                });
            }
        });
    }
}

/// The operator while it runs.
pub struct Running<'r>(Operator<'r>);

impl Running<'_> {
    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        process_cpu(self.0.pid().unwrap()).unwrap()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> f64 {
        f64::from(u32::try_from(process_memory(self.0.pid().unwrap()).unwrap()).unwrap())
    }
}

/// The operator's part of the audit log.
pub struct Log(Audit);

impl Log {
    /// The writes so far.
    pub fn writes(&mut self) -> Writes {
        self.writes_about("")
    }

    /// Those about objects whose names start like this, but for events.
    pub fn writes_about(&mut self, start: &str) -> Writes {
        let requests = self.0.writes().unwrap();
        Writes { all: requests.into_iter().filter(|one| one.place.1.starts_with(start)).collect() }
    }

    /// Waits until nothing was written for so long, and at least something was.
    fn rest(&mut self, quiet: Duration) {
        let (mut seen, mut since) = (0, Instant::now());
        while seen == 0 || since.elapsed() < quiet {
            let now = self.0.writes().unwrap().len();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < Duration::from_mins(2), "nothing was written");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Writes of the operator.
pub struct Writes {
    all: Vec<Request>,
}

impl Writes {
    /// The time from the first request to the last answer, but for events: they tell of verdicts and decide nothing.
    pub fn took(&self) -> Duration {
        let deciding = || self.all.iter().filter(|one| one.resource != "events");
        let first = deciding().map(|one| one.asked).min().unwrap_or_default();
        let last = deciding().map(|one| one.answered).max().unwrap_or_default();
        last.saturating_sub(first)
    }

    /// How many of each kind.
    pub fn listed(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for one in &self.all {
            *kinds.entry(format!("{} {}", one.verb, one.resource)).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if kinds.is_empty() { "0".to_owned() } else { kinds.join(", ") }
    }

    /// How many for each of so many agents, and of which kinds.
    pub fn per_agent(&self, agents: usize) -> String {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap());
        format!("{:.2}: {}", count(self.all.len()) / count(agents), self.listed())
    }

    /// Median, 99th percentile and maximum of the time from `start` until an object of these resources was written.
    pub fn delays(&self, start: Duration, about: &[&str]) -> [Duration; 3] {
        let mut delays: Vec<Duration> = self
            .all
            .iter()
            .filter(|one| about.contains(&one.resource.as_str()))
            .map(|one| one.answered.saturating_sub(start))
            .collect();
        delays.sort();
        let at = |part: usize| delays[(delays.len() - 1) * part / 100];
        [at(50), at(99), at(100)]
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// Seconds, with as many decimals as the figure deserves.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Resident memory.
pub fn mib(operator: &Running<'_>) -> String {
    format!("{:.1} MiB", operator.memory() / 1024.0)
}

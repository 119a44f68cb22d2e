//! `make bench-sidecar`: what AuthBridge costs beside a bare proxy of hyper, in one run on the same two cores.
//! The proxy under test has a core for itself; backend, token endpoint and load share the other. Arguments after `--`:
//! requests per second (3000), seconds of each round (4), rounds (3); fewer than the defaults leave the document as it is.

mod backend;
mod bare;
mod contender;
mod load;

use contender::Contender;
use countersign_rig::record::Table;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::{SigningKey, ordinary_claims};
use countersign_sidecar_tests::scene::{Settings, jwt_validation, token_exchange};
use countersign_sidecar_tests::spire::{Spire, X509Files};
use load::{Load, Measured, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ISSUER: &str = "https://id.example/realms/agents";
const CONNECTIONS: usize = 100;
/// More requests per second than any of the proxies answers.
const FLOOD: u32 = 20_000;
const IDLE: usize = 2_000;
const HERD: usize = 100;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("bare-proxy") {
        return bare::run();
    }
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let number = |at: usize, default: u32| numbers.get(at).copied().unwrap_or(default);
    let (rate, seconds, rounds) = (number(0, 3000), number(1, 4), number(2, 3));
    contender::pin_self(1);
    let stage = Stage::new();
    let load = Load { rate, time: Duration::from_secs(seconds.into()), connections: CONNECTIONS };
    let mut table =
        Table::new(&format!("{rate} requests/s on schedule, {CONNECTIONS} connections, answers of 1 KiB"));
    stage.rates(&mut table, load, rounds);
    stage.memory(&mut table);
    stage.herd(&mut table);
    if numbers.is_empty() {
        let sharing = "the proxy has one of them, backend, endpoints and load the other.";
        table.write("docs/benchmarks.md", "sidecar", sharing).unwrap();
    }
}

/// Everything around the proxies.
struct Stage {
    backend: SocketAddr,
    _endpoint: Backend,
    calls: Arc<AtomicUsize>,
    _jwks: JwksServer,
    token: String,
    bare: Contender,
    bridge: Contender,
    svid: X509Files,
    _files: Folder,
    _spire: Spire,
}

impl Stage {
    fn new() -> Self {
        let backend = backend::start();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let endpoint = Backend::start_with(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let body = serde_json::json!({ "access_token": "t".repeat(900), "token_type": "Bearer", "expires_in": 3600 });
            Answer::json(&body).after(Duration::from_millis(20))
        })
        .unwrap();
        let key = SigningKey::rsa("k1").unwrap();
        let jwks = JwksServer::start(&[&key]).unwrap();
        let token = key.sign(&ordinary_claims(ISSUER, "agent-a", "alice")).unwrap();
        let spire = Spire::start("example.org").unwrap();
        let svid = spire.mint_x509("spiffe://example.org/ns/team1/sa/agent-a", "1h").unwrap();
        let files = Folder::new("svid").unwrap();
        for (name, from) in
            [("svid.pem", &svid.chain), ("svid_key.pem", &svid.key), ("svid_bundle.pem", &svid.bundle)]
        {
            files.write(name, std::fs::read_to_string(from).unwrap()).unwrap();
        }
        let routes = ["{host: 127.0.0.1, target_audience: tool}"];
        let settings = Settings {
            inbound: jwt_validation(ISSUER, &jwks.url(), "agent-a"),
            outbound: token_exchange(&format!("{}/token", endpoint.url()), ("agent", "s"), &routes),
            blocks: format!(
                "session: {{enabled: false}}\nspiffe: {{files_dir: \"{}\"}}\nmtls: {{mode: permissive}}",
                files.path().display()
            ),
            ..Settings::default()
        };
        let bare = Contender::bare(backend);
        let bridge = Contender::authbridge(&settings, backend);
        Self {
            backend,
            _endpoint: endpoint,
            calls,
            _jwks: jwks,
            token,
            bare,
            bridge,
            svid,
            _files: files,
            _spire: spire,
        }
    }

    fn rates(&self, table: &mut Table, load: Load, rounds: u32) {
        let at = self.bridge.addresses();
        let plain = Request::new("GET", "/healthz");
        let with_token = Request::new("GET", "/x").bearer(&self.token);
        let url = format!("http://{}/x", self.backend);
        let out = Request::new("GET", &url).header("Host", &self.backend.to_string()).bearer("subject");
        let X509Files { chain, key, bundle } = &self.svid;
        let over_tls = Some(Tls::with_certificate(bundle, chain, key).unwrap());
        let cases = [
            ("bare hyper proxy", &self.bare, Target::new(self.bare.addresses().inbound, &plain, None)),
            ("inbound, path without token", &self.bridge, Target::new(at.inbound, &plain, None)),
            ("inbound, RS256 token seen before", &self.bridge, Target::new(at.inbound, &with_token, None)),
            ("outbound, token exchanged before", &self.bridge, Target::new(at.outbound, &out, None)),
            (
                "inbound over mTLS, RS256 token seen before",
                &self.bridge,
                Target::new(at.inbound, &with_token, over_tls),
            ),
        ];
        let measure = |load: Load| -> Vec<Measured> {
            let mut measured: Vec<Vec<Measured>> = cases.iter().map(|_| Vec::new()).collect();
            // Rounds go through all cases, so that a change of the machine's speed meets them all.
            for _ in 0..rounds {
                for ((_, contender, target), results) in cases.iter().zip(&mut measured) {
                    results.push(load.run(contender, target));
                }
            }
            measured.iter_mut().map(|results| load::median(results)).collect()
        };
        let medians = measure(load);
        let aims = ["", "≥ 0.7 of bare", "≥ 0.5 of bare", "≥ 0.5 of bare", "told only"];
        for (((name, ..), measured), aim) in cases.iter().zip(&medians).zip(aims) {
            let ratio = measured.per_core_second / medians[0].per_core_second;
            let added = measured.p99.saturating_sub(medians[0].p99);
            let figure = format!(
                "{:.0} requests per core-second, {ratio:.2} of bare; p50 {:.2} ms, p99 {:.2} ms, added p99 {:.2} ms",
                measured.per_core_second,
                measured.p50.as_secs_f64() * 1e3,
                measured.p99.as_secs_f64() * 1e3,
                added.as_secs_f64() * 1e3,
            );
            table.row(name, aim, &figure);
        }
        let flood = Load { rate: FLOOD, time: Duration::from_secs(2), ..load };
        let costs = measure(flood);
        for ((name, ..), cost) in cases.iter().zip(&costs) {
            let figure = format!(
                "{:.0} µs of CPU per request, {:.2} of bare",
                1e6 / cost.per_core_second,
                cost.per_core_second / costs[0].per_core_second,
            );
            table.row(&format!("{name}, as fast as it goes"), "", &figure);
        }
    }

    fn memory(&self, table: &mut Table) {
        let fresh = Contender::authbridge(
            &Settings { inbound: self.bridge.settings().inbound.clone(), ..Settings::default() },
            self.backend,
        );
        table.row(
            "resident memory, started and idle",
            "≤ 10 MiB",
            &format!("{:.1} MiB", fresh.resident() / 1024.0),
        );
        let before = fresh.resident();
        let idle = load::idle_connections(fresh.addresses().inbound, IDLE);
        // Connections give their buffers up after a second or two.
        std::thread::sleep(Duration::from_secs(4));
        let each = (fresh.resident() - before) / f64::from(u32::try_from(IDLE).unwrap());
        drop(idle);
        table.row(
            &format!("resident memory of {IDLE} connections that wait for their next request, each"),
            "≤ 5 KiB",
            &format!("{each:.1} KiB"),
        );
        let size = std::fs::metadata(countersign_sidecar_tests::authbridge::program()).unwrap().len();
        let mib = f64::from(u32::try_from(size).unwrap()) / f64::from(1 << 20);
        table.row("program, stripped", "≤ 10 MiB", &format!("{mib:.1} MiB"));
    }

    fn herd(&self, table: &mut Table) {
        let before = self.calls.load(Ordering::Relaxed);
        let url = format!("http://{}/x", self.backend);
        let request =
            Request::new("GET", &url).header("Host", &self.backend.to_string()).bearer("another-subject");
        let address = self.bridge.addresses().outbound.to_string();
        std::thread::scope(|threads| {
            for _ in 0..HERD {
                threads.spawn(|| assert_eq!(request.send(&address).unwrap().status, 200));
            }
        });
        let calls = self.calls.load(Ordering::Relaxed) - before;
        table.row(
            &format!("{HERD} requests at once without a kept token: token calls"),
            "1",
            &calls.to_string(),
        );
    }
}

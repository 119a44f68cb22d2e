//! Identities that change while requests run: new authorities, short lives, an agent that is away, and mirrored files.

use countersign_sidecar_tests::authbridge::Options;
use countersign_sidecar_tests::backend::{Answer, Backend};
use countersign_sidecar_tests::certificates::Certificate;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::http::{Connection, Reply, Request, Tls};
use countersign_sidecar_tests::jwks::JwksServer;
use countersign_sidecar_tests::jwt::SigningKey;
use countersign_sidecar_tests::process::until;
use countersign_sidecar_tests::scene::{Scene, Settings, jwt_validation};
use countersign_sidecar_tests::spire::{self, Spire, X509Files};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// A path for which no token is needed, so that only the connection is judged.
const OPEN: &str = "/healthz";
const DOMAIN: &str = "example.org";

static JWKS: OnceLock<JwksServer> = OnceLock::new();

fn id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/ns/team/sa/{name}")
}

/// A SPIRE whose SVIDs live for so long. The server dates them back by ten seconds, and the agent renews them when
/// half is over.
fn start_spire(ttl: &str) -> Spire {
    Spire::start_with(spire::Options { x509_ttl: ttl.to_owned(), ..spire::Options::new(DOMAIN) }).unwrap()
}

/// A workload with a strict sidecar; `more` are members of `spiffe`.
fn workload(spire: &Spire, name: &str, user: u32, more: &str) -> Scene {
    spire.register(&id(name), user).unwrap();
    let jwks = JWKS.get_or_init(|| JwksServer::start(&[&SigningKey::p256("k").unwrap()]).unwrap());
    let settings = Settings {
        inbound: jwt_validation("https://id.example", &jwks.url(), "agent"),
        blocks: format!("mtls: {{mode: strict}}\nspiffe: {{socket: \"{}\"{more}}}", spire.address()),
        ..Settings::default()
    };
    Scene::start(&settings, &Options { user: Some(user), ..Options::default() }).unwrap()
}

fn mint(spire: &Spire, name: &str) -> X509Files {
    spire.mint_x509(&id(name), "1h").unwrap()
}

fn tls(files: &X509Files) -> Tls {
    Tls::with_certificate(&files.bundle, &files.chain, &files.key).unwrap()
}

fn open(scene: &Scene, tls: &Tls) -> anyhow::Result<Connection> {
    Connection::open_tls(&scene.at.inbound.to_string(), tls)
}

fn get(scene: &Scene, tls: &Tls) -> anyhow::Result<Reply> {
    open(scene, tls)?.send(&Request::new("GET", OPEN))
}

/// The certificate that a sidecar shows.
fn shown(scene: &Scene, tls: &Tls) -> anyhow::Result<Vec<u8>> {
    Ok(open(scene, tls)?.server_certificate().unwrap())
}

/// Requests of one agent to another, without a pause, until it is dropped.
struct Load<'a> {
    from: &'a Scene,
    to: &'a Scene,
    stop: AtomicBool,
    good: AtomicUsize,
}

impl<'a> Load<'a> {
    fn new(from: &'a Scene, to: &'a Scene) -> Self {
        Self { from, to, stop: AtomicBool::new(false), good: AtomicUsize::new(0) }
    }

    /// Requests until the end; the first that fails is a failure.
    fn run(&self) {
        let url = format!("http://{}{OPEN}", self.to.at.inbound);
        while !self.stop.load(Ordering::Relaxed) {
            let reply = self.from.call_out(&url, None).unwrap();
            assert_eq!(reply.status, 200, "after {:?} good ones: {}", self.good, reply.text());
            self.good.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does `work` while two run; how many requests there were.
    fn during(&self, work: impl FnOnce()) -> usize {
        /// Also if the work fails.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        std::thread::scope(|threads| {
            let running = [threads.spawn(|| self.run()), threads.spawn(|| self.run())];
            let stop = Stop(&self.stop);
            work();
            drop(stop);
            for one in running {
                one.join().unwrap();
            }
        });
        self.good.load(Ordering::Relaxed)
    }
}

#[test]
fn a_new_authority_is_trusted_and_a_revoked_one_is_not_in_both_directions_and_without_a_restart() {
    let spire = start_spire("1h");
    let (a, b) = (workload(&spire, "a", 13_001, ""), workload(&spire, "b", 13_002, ""));
    let (running, old) = ([a.bridge.pid(), b.bridge.pid()], mint(&spire, "old"));
    let old_server = Certificate { chain: old.chain.clone(), key: old.key.clone() };
    let old_server =
        Backend::start_tls(old_server.server_config().unwrap(), |_| Answer::text("served")).unwrap();
    let call_old_server = || a.call_out(&format!("http://{}/", old_server.address()), None).unwrap();

    let mut kept = open(&b, &tls(&old)).unwrap();
    assert_eq!(kept.send(&Request::new("GET", OPEN)).unwrap().status, 200);
    assert_eq!(call_old_server().text(), "served");
    let load = Load::new(&a, &b);
    let good = load.during(|| {
        let authority = spire.x509_authority();
        let replaced = authority.show().unwrap().active.unwrap();
        let prepared = authority.prepare().unwrap();
        let before = [&a, &b].map(|scene| shown(scene, &tls(&old)).unwrap());
        authority.activate(&prepared).unwrap();
        let new = mint(&spire, "new");
        for scene in [&a, &b] {
            until("trust in the new authority", SOON, || Ok(get(scene, &tls(&new))?.status == 200)).unwrap();
        }
        // Both authorities count, and who is connected stays connected.
        assert_eq!(get(&b, &tls(&old)).unwrap().status, 200);
        assert_eq!(kept.send(&Request::new("GET", OPEN)).unwrap().status, 200);
        assert_eq!(call_old_server().text(), "served");

        authority.taint(&replaced).unwrap();
        for (scene, before) in [&a, &b].into_iter().zip(before) {
            until("an SVID of the new authority", SOON, || Ok(shown(scene, &tls(&new))? != before)).unwrap();
        }
        authority.revoke(&replaced).unwrap();
        until("the refusal of an old client", SOON, || Ok(get(&b, &tls(&old)).is_err())).unwrap();
        assert_eq!(get(&b, &tls(&new)).unwrap().status, 200);
        until("the refusal of an old server", SOON, || Ok(call_old_server().status == 502)).unwrap();
        assert_eq!(call_old_server().json().unwrap()["error"], json!("upstream.wrong-peer"));
    });
    assert!(kept.is_closed_within(SOON).unwrap(), "a connection of the revoked authority stays open");
    assert!(good > 0);
    assert_eq!([a.bridge.pid(), b.bridge.pid()], running);
}

#[test]
fn short_lived_identities_are_replaced_under_load_and_while_the_agent_is_away_for_a_moment() {
    let mut spire = start_spire("20s");
    let (a, b) = (workload(&spire, "a", 13_011, ""), workload(&spire, "b", 13_012, ""));
    let client = tls(&mint(&spire, "client"));
    let renewed = |before: &[u8]| {
        until("the next SVID", SOON, || Ok(shown(&b, &client)? != before)).unwrap();
        shown(&b, &client).unwrap()
    };
    let load = Load::new(&a, &b);
    let good = load.during(|| {
        let first = shown(&b, &client).unwrap();
        let second = renewed(&first);
        spire.stop_agent().unwrap();
        let good = load.good.load(Ordering::Relaxed);
        until("requests without an agent", SOON, || Ok(load.good.load(Ordering::Relaxed) > good + 100))
            .unwrap();
        assert_eq!(get(&b, &client).unwrap().status, 200);
        assert_eq!([a.readiness().unwrap().0, b.readiness().unwrap().0], [200, 200]);
        spire.start_agent().unwrap();
        renewed(&renewed(&second));
    });
    assert!(good > 100);
}

/// The folder where mirrored files really are, and their contents: certificate, key, bundle. `None` if another set
/// came meanwhile.
fn mirrored(folder: &Path) -> Option<(PathBuf, [Vec<u8>; 3])> {
    let names = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];
    let target = || Some(std::fs::canonicalize(folder.join(names[0])).ok()?.parent()?.to_owned());
    let before = target()?;
    let [chain, key, bundle] = names.map(|name| std::fs::read(folder.join(name)).ok());
    (before == target()?).then_some((before, [chain?, key?, bundle?]))
}

#[test]
fn mirrored_files_are_one_set_at_any_time_and_only_there_if_wanted() {
    let spire = start_spire("1h");
    let folder = Folder::new("mirror").unwrap();
    let (wanted, unwanted) = (folder.join("wanted"), folder.join("unwanted"));
    let start = |name: &str, user: u32, mirror: &str| {
        let into = folder.folder_of(name, Some(user)).unwrap();
        workload(&spire, name, user, &format!("{mirror}, mirror_dir: \"{}\"", into.display()))
    };
    let mut mirroring = start("wanted", 13_021, ", mirror_files: true");
    let _plain = start("unwanted", 13_022, "");

    until("the files", SOON, || Ok(wanted.join("svid_bundle.pem").exists())).unwrap();
    for (name, mode) in [("svid.pem", 0o644), ("svid_key.pem", 0o600), ("svid_bundle.pem", 0o644)] {
        let found = std::fs::metadata(wanted.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let stop = AtomicBool::new(false);
    let sets = std::thread::scope(|threads| {
        let watcher = threads.spawn(|| {
            let mut sets: BTreeMap<PathBuf, [Vec<u8>; 3]> = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                let Some((target, set)) = mirrored(&wanted) else { continue };
                let known = sets.entry(target).or_insert_with(|| set.clone());
                assert!(*known == set, "files were changed in place");
                std::thread::sleep(Duration::from_millis(1));
            }
            sets
        });
        let now = || loop {
            if let Some((_, set)) = mirrored(&wanted) {
                return set;
            }
        };
        // Another bundle beside the same SVID, then another SVID, then the bundle without what signed the first.
        let before = now();
        let authority = spire.x509_authority();
        let (active, prepared) = (authority.show().unwrap().active.unwrap(), authority.prepare().unwrap());
        until("the bundle", SOON, || Ok(now()[2] != before[2])).unwrap();
        assert!(now()[0] == before[0], "the SVID changed with the bundle");
        let inode = || std::fs::metadata(wanted.join("svid.pem")).unwrap().ino();
        let written = inode();
        mirroring.bridge.kill().unwrap();
        mirroring.bridge.start_again(mirroring.at.health).unwrap();
        assert_eq!(inode(), written, "a set that is there was written again");
        authority.activate(&prepared).unwrap();
        authority.taint(&active).unwrap();
        until("the SVID", SOON, || Ok(now()[0] != before[0])).unwrap();
        authority.revoke(&active).unwrap();
        let bundle = |set: &[Vec<u8>; 3]| CertificateDer::pem_slice_iter(&set[2]).count();
        until("the last bundle", SOON, || Ok(bundle(&now()) == 1)).unwrap();
        assert!(now()[2] != before[2]);
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(sets.len() >= 3, "{} sets", sets.len());
    for [chain, key, _] in sets.values() {
        let chain = CertificateDer::pem_slice_iter(chain).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).unwrap();
    }
    // Folders of earlier sets, with their keys, are removed once nothing leads there.
    let folders = || -> std::io::Result<usize> {
        let paths = std::fs::read_dir(&wanted)?.map(|entry| entry.map(|entry| entry.path()));
        let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
        Ok(paths.iter().filter(|path| path.is_dir() && !path.is_symlink()).count())
    };
    until("one set", SOON, || Ok(folders()? == 1)).unwrap();
    assert_eq!(std::fs::read_dir(&unwanted).unwrap().count(), 0);
}

//! A proxy under measurement: its process on a core of its own, what it used of that core, and how much memory it has.

use countersign_sidecar_tests::authbridge::{AuthBridge, Options};
use countersign_sidecar_tests::envoy::Envoy;
use countersign_sidecar_tests::ports;
use countersign_sidecar_tests::scene::{Addresses, Settings};
use rustix::process::{Pid, RawPid};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The core of the proxies.
const CORE: usize = 0;

/// A running proxy.
pub(crate) struct Contender {
    pid: u32,
    /// Where it takes requests to the agent.
    pub(crate) plain: SocketAddr,
    /// Where it takes them over TLS.
    pub(crate) tls: SocketAddr,
    /// Its other servers, which only AuthBridge has.
    pub(crate) others: Option<Addresses>,
    _runs: Runs,
}

/// What ends with it.
enum Runs {
    Bare(Child),
    AuthBridge(AuthBridge),
    #[expect(dead_code, reason = "it ends when it is dropped")]
    Envoy(Envoy),
}

impl Contender {
    /// The bare proxy, which knows no TLS.
    pub(crate) fn bare(backend: SocketAddr) -> Self {
        let listen = local();
        let program = std::env::current_exe().unwrap();
        let arguments = ["bare-proxy".to_owned(), listen.to_string(), backend.to_string()];
        let child = Command::new(program).args(arguments).spawn().unwrap();
        let pid = child.id();
        pin(pid, CORE);
        let begin = Instant::now();
        while std::net::TcpStream::connect(listen).is_err() && begin.elapsed().as_secs() < 10 {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { pid, plain: listen, tls: listen, others: None, _runs: Runs::Bare(child) }
    }

    /// AuthBridge as it is released.
    pub(crate) fn authbridge(settings: &Settings, backend: SocketAddr) -> Self {
        let addresses = Addresses::free().unwrap();
        let yaml = settings.yaml(&addresses, &format!("http://{backend}"));
        let bridge = AuthBridge::start(&yaml, addresses.health, &Options::default()).unwrap();
        let pid = bridge.pid().unwrap();
        pin(pid, CORE);
        let inbound = addresses.inbound;
        Self { pid, plain: inbound, tls: inbound, others: Some(addresses), _runs: Runs::AuthBridge(bridge) }
    }

    /// Envoy with one worker; `settings` is given its two ports.
    pub(crate) fn envoy(settings: impl Fn(u16, u16) -> String) -> Self {
        let (plain, tls) = (local(), local());
        let envoy = Envoy::start(&settings(plain.port(), tls.port())).unwrap();
        let pid = envoy.pid().unwrap();
        pin(pid, CORE);
        Self { pid, plain, tls, others: None, _runs: Runs::Envoy(envoy) }
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The time that it has run on a core, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let nanoseconds = |thread: std::fs::DirEntry| -> u64 {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
        };
        Duration::from_nanos(threads.map(|thread| nanoseconds(thread.unwrap())).sum())
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        match self {
            Self::Bare(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            // Asked to end, it would serve the agent's requests for as long as the backend listens.
            Self::AuthBridge(bridge) => drop(bridge.kill()),
            Self::Envoy(_) => {}
        }
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free().unwrap()))
}

/// Keeps this process on one core.
pub(crate) fn pin_self(core: usize) {
    pin(std::process::id(), core);
}

/// Keeps all threads of a process on one core; later ones follow the thread that starts them.
fn pin(pid: u32, core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let id: RawPid = thread.unwrap().file_name().to_string_lossy().parse().unwrap();
        let _ = sched_setaffinity(Pid::from_raw(id), &set);
    }
}

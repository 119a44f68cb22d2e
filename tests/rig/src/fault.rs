//! Faults between a client and the API server: a proxy in the rig that answers wrongly when told to.
//! It speaks HTTP/1.1 over TLS on both sides, and passes on everything that no rule matches.

mod body;
mod proxy;

use crate::rig::Rig;
use anyhow::{Context, Result};
use proxy::State;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is answered with this HTTP status and the `Status` object that the API server would send (409, 410,
    /// 429 with `Retry-After: 1`, 500, …); the API server does not see it.
    Status(u16),
    /// A watch is answered with 200 and one event of type `ERROR` that carries this code, such as 410.
    WatchError(u16),
    /// The connection is closed without an answer; the API server does not see the request.
    HangUp,
    /// The API server acts, and the connection is closed after so many bytes of the answer's body.
    Truncate(usize),
    /// The request waits for so long, and then passes.
    Delay(Duration),
}

/// Which requests a fault meets, and how often. The rule that was added first and matches wins.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    path: String,
    watch: Option<bool>,
    left: Option<usize>,
}

impl Rule {
    /// A rule for every request.
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, path: String::new(), watch: None, left: None }
    }

    /// Only for this HTTP method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only for paths (with their query) that contain `part`, such as `/agentcards`.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        part.clone_into(&mut self.path);
        self
    }

    /// Only for watches (`true`), or for all but watches (`false`).
    #[must_use]
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Only for the next `count` requests that match.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.left = Some(count);
        self
    }

    fn matches(&self, method: &str, path: &str, watch: bool) -> bool {
        self.left != Some(0)
            && self.method.as_deref().is_none_or(|wanted| wanted == method)
            && path.contains(&self.path)
            && self.watch.is_none_or(|wanted| wanted == watch)
    }
}

/// A running proxy; it ends when it is dropped.
pub struct FaultProxy {
    outside: SocketAddr,
    inside: SocketAddr,
    kubeconfig: PathBuf,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    /// Opens a proxy before the API server. Requests with a bearer token keep it; others act as `user` in
    /// `group` (such as `system:masters`), whatever certificate their client has.
    pub fn fault_proxy(&self, user: &str, group: Option<&str>) -> Result<FaultProxy> {
        let kubeconfig = self.folder().join(format!("{}.faults.kubeconfig", user.replace([':', '/'], "-")));
        let (name, pki) = (user.replace(':', "-"), self.pki());
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
        let outside = listener.local_addr()?;
        pki.kubeconfig(&kubeconfig, &format!("https://{outside}"), user, group)?;
        let state = Arc::new(State::new(pki, &name)?);
        let (network, serving) = (self.network()?, Arc::clone(&state));
        let (stop, stopped) = oneshot::channel();
        let (report, entered) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // Connections to the API server and the second listener belong to the rig's network.
            let listeners = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(std::io::Error::from)
                .and_then(|()| TcpListener::bind((crate::control_plane::NODE, 0)))
                .and_then(|inside| Ok((inside.local_addr()?, [listener, inside])));
            // The opener waits for the message, so it is there to receive it.
            match listeners {
                Ok((inside, listeners)) => {
                    let _ = report.send(Ok(inside));
                    proxy::run(&serving, listeners, stopped);
                }
                Err(error) => drop(report.send(Err(error))),
            }
        });
        let inside =
            entered.recv().context("the proxy ended early")?.context("the proxy could not enter the rig")?;
        Ok(FaultProxy { outside, inside, kubeconfig, state, stop: Some(stop), thread: Some(thread) })
    }
}

impl FaultProxy {
    /// A kubeconfig for callers outside that leads through the proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Where it listens outside.
    pub fn address(&self) -> SocketAddr {
        self.outside
    }

    /// Where it listens inside the rig, for pods (`KUBERNETES_SERVICE_HOST` and `…_PORT`).
    pub fn address_inside(&self) -> SocketAddr {
        self.inside
    }

    /// Adds a rule.
    pub fn inject(&self, rule: Rule) {
        self.state.rules().push(rule);
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.state.rules().clear();
    }

    /// How many faults have met a request so far.
    pub fn injected(&self) -> usize {
        self.state.injected()
    }

    /// How many watches pass through now.
    pub fn open_watches(&self) -> usize {
        self.state.cut.receiver_count()
    }

    /// Breaks every watch that passes through now.
    pub fn drop_watches(&self) {
        self.state.cut.send_modify(|times| *times += 1);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // A proxy that ended by itself does not listen any more.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

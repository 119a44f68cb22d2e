//! Hypercorn, an ASGI server that speaks HTTP/1.1, HTTP/2 and WebSocket at one port and changes from the first to both
//! others when it is asked to: an agent as frameworks run it.

use crate::asgi::Server;
use anyhow::Result;
use std::net::SocketAddr;

const AGENT: &str = include_str!("hypercorn/agent.py");

/// A Hypercorn, which ends when it is dropped.
pub struct Hypercorn(Server);

impl Hypercorn {
    /// Starts one and waits until it answers.
    pub fn start() -> Result<Self> {
        Server::start("hypercorn", &[("agent.py", AGENT)], &[]).map(Self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Its `http://` URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// What it has served so far, such as `GET /x by HTTP/1.1`, without the questions whether it is there.
    pub fn served(&self) -> Vec<String> {
        let log = self.0.process.log();
        let served = log.lines().filter_map(|line| line.strip_prefix("served "));
        served.filter(|line| !line.contains(" /ready ")).map(str::to_owned).collect()
    }
}

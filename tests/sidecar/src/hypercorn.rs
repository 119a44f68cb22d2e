//! Hypercorn, an ASGI server that speaks HTTP/1.1, HTTP/2 and WebSocket at one port and changes from the first to both
//! others when it is asked to: an agent as frameworks run it.

use crate::folder::Folder;
use crate::http;
use crate::ports;
use crate::process::{Launch, Process};
use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;

const AGENT: &str = include_str!("hypercorn/agent.py");

/// A Hypercorn, which ends when it is dropped.
pub struct Hypercorn {
    process: Process,
    address: SocketAddr,
    _folder: Folder,
}

impl Hypercorn {
    /// Starts one and waits until it answers.
    pub fn start() -> Result<Self> {
        let folder = Folder::new("hypercorn")?;
        folder.write("agent.py", AGENT)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let installed = countersign_rig::parts::folder("hypercorn")?;
        let path = format!("{}:{}", installed.display(), folder.path().display());
        let bind = address.to_string();
        let arguments = ["-m", "hypercorn", "--worker-class", "asyncio", "--bind", &bind, "agent:app"];
        let launch = Launch {
            name: "hypercorn".to_owned(),
            program: "python3".into(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: vec![
                ("PYTHONPATH".to_owned(), path),
                // The cache is not written to by those who use it.
                ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
            ],
            ..Launch::default()
        };
        let mut process = Process::start(launch, folder.path())?;
        let ready = || http::get(&format!("http://{address}/ready")).is_ok_and(|reply| reply.status == 200);
        process.until("readiness", Duration::from_mins(1), ready)?;
        Ok(Self { process, address, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its `http://` URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has served so far, such as `GET /x by HTTP/1.1`, without the questions whether it is there.
    pub fn served(&self) -> Vec<String> {
        let log = self.process.log();
        let served = log.lines().filter_map(|line| line.strip_prefix("served "));
        served.filter(|line| !line.contains(" /ready ")).map(str::to_owned).collect()
    }
}

//! The A2A SDK for Python: an agent that speaks 0.3 and 1.0 by JSON-RPC, HTTP+JSON and gRPC, and its client.

use crate::folder::Folder;
use crate::http;
use crate::ports;
use crate::process::{Launch, Process};
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// An agent, which ends when it is dropped.
pub struct Agent {
    _process: Process,
    http: SocketAddr,
    grpc: SocketAddr,
    folder: Folder,
    path: String,
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Version of A2A, as cards name it.
    pub version: String,
    /// True if the answer was a stream.
    pub streams: bool,
    /// Context that the agent gave.
    pub context: String,
    /// Last state of the task.
    pub state: String,
}

impl Agent {
    /// Starts one and waits until it answers.
    pub fn start() -> Result<Self> {
        let folder = Folder::new("a2a")?;
        folder.write("agent.py", include_str!("a2a/agent.py"))?;
        folder.write("client.py", include_str!("a2a/client.py"))?;
        let address = || -> Result<SocketAddr> { Ok(SocketAddr::from(([127, 0, 0, 1], ports::free()?))) };
        let (http, grpc) = (address()?, address()?);
        let installed = countersign_rig::parts::folder("a2a")?;
        let path = format!("{}:{}", installed.display(), folder.path().display());
        let bind = http.to_string();
        let arguments = ["-m", "hypercorn", "--worker-class", "asyncio", "--bind", &bind, "agent:app"];
        let launch = Launch {
            name: "agent".to_owned(),
            program: "python3".into(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: vec![
                ("PYTHONPATH".to_owned(), path.clone()),
                ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
                ("GRPC_ADDRESS".to_owned(), grpc.to_string()),
            ],
            ..Launch::default()
        };
        let mut process = Process::start(launch, folder.path())?;
        let ready = || http::get(&format!("http://{http}/ready")).is_ok_and(|reply| reply.status == 200);
        process.until("readiness", Duration::from_mins(1), ready)?;
        Ok(Self { _process: process, http, grpc, folder, path })
    }

    /// URL of a binding, `GRPC` or another one, without a slash at the end.
    pub fn url(&self, binding: &str) -> String {
        format!("http://{}", if binding == "GRPC" { self.grpc } else { self.http })
    }

    /// Sends messages to an agent at `address` by the SDK's client, in each version, in one piece and as a stream,
    /// and asks for a task that is not there.
    pub fn send(&self, address: SocketAddr, binding: &str, token: &str) -> Result<Vec<Got>> {
        let output = Command::new("python3")
            .arg(self.folder.join("client.py"))
            .args([&address.to_string(), binding, token])
            .env("PYTHONPATH", &self.path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let got = |line: &str| -> Result<Got> {
            let words: Vec<&str> = line.split(' ').collect();
            let [version, kind, context, state] = words.as_slice() else { bail!("the client said {line:?}") };
            let (version, context, state) =
                ((*version).to_owned(), (*context).to_owned(), (*state).to_owned());
            Ok(Got { version, streams: *kind == "stream", context, state })
        };
        String::from_utf8(output.stdout)?.lines().map(got).collect()
    }
}

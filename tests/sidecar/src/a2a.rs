//! The A2A SDK for Python: an agent that speaks 0.3 and 1.0 by JSON-RPC, HTTP+JSON and gRPC, and its client.

use crate::asgi::Server;
use crate::ports;
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::process::Command;

/// An agent, which ends when it is dropped.
pub struct Agent {
    server: Server,
    grpc: SocketAddr,
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
        let grpc = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let files =
            [("agent.py", include_str!("a2a/agent.py")), ("client.py", include_str!("a2a/client.py"))];
        let server = Server::start("a2a", &files, &[("GRPC_ADDRESS", grpc.to_string())])?;
        Ok(Self { server, grpc })
    }

    /// URL of a binding, `GRPC` or another one, without a slash at the end.
    pub fn url(&self, binding: &str) -> String {
        format!("http://{}", if binding == "GRPC" { self.grpc } else { self.server.address })
    }

    /// Sends messages to an agent at `address` by the SDK's client, in each version, in one piece and as a stream,
    /// and asks for a task that is not there.
    pub fn send(&self, address: SocketAddr, binding: &str, token: &str) -> Result<Vec<Got>> {
        let output = Command::new("python3")
            .arg(self.server.folder.join("client.py"))
            .args([&address.to_string(), binding, token])
            .envs(self.server.environment.iter().map(|(variable, value)| (variable, value)))
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

//! A quick way to ask the API server many times a second, which a kubectl for each question is not: one `kubectl
//! proxy` inside the rig, and plain HTTP to it. It goes beside every proxy of faults.

use crate::relay::Relay;
use crate::rig::Rig;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Where the way begins inside the rig.
const INSIDE: &str = "127.0.0.1:18089";
/// How long an answer to a question may take: what waits longer asks again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(30);

/// The way, as the administrator.
pub(crate) struct Look {
    proxy: Child,
    api: Api,
    _way: Relay,
}

/// The API server of a rig, asked as quickly as it answers. It does not keep the rig.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    address: SocketAddr,
}

impl Look {
    /// Opens the way.
    pub(crate) fn open(rig: &Rig) -> Result<Self> {
        let (address, port) = INSIDE.split_once(':').context("a port")?;
        let proxy = rig
            .command(rig.kubectl_program())
            .arg("proxy")
            .arg("--kubeconfig")
            .arg(rig.kubeconfig_inside())
            .args(["--address", address, "--port", port])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let way = rig.relay(INSIDE.parse()?)?;
        let look = Self { proxy, api: Api { address: way.address() }, _way: way };
        rig.wait("the direct way", || Ok(look.api.get("/version").is_ok()))?;
        Ok(look)
    }

    /// The API server.
    pub(crate) const fn api(&self) -> Api {
        self.api
    }
}

impl Api {
    /// What is at `path`; `None` if nothing is.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        self.ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"), PATIENCE)
    }

    /// Creates an object in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<()> {
        self.send(&format!("POST {path}"), "application/json", object)?
            .map(drop)
            .with_context(|| format!("nothing at {path}"))
    }

    /// Changes the object at `path` by a merge patch; false if there is none.
    pub fn patch(&self, path: &str, change: &Value) -> Result<bool> {
        Ok(self.send(&format!("PATCH {path}"), "application/merge-patch+json", change)?.is_some())
    }

    fn send(&self, what: &str, content_type: &str, body: &Value) -> Result<Option<Value>> {
        let body = body.to_string();
        let head = format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len());
        self.ask(&format!("{what} HTTP/1.0\r\nHost: localhost\r\n{head}\r\n\r\n{body}"), WRITE)
    }

    fn ask(&self, request: &str, patience: Duration) -> Result<Option<Value>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(patience))?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        match head.split(' ').nth(1).unwrap_or_default() {
            "200" | "201" => Ok(Some(serde_json::from_str(body)?)),
            "404" => Ok(None),
            _ => bail!("{head}"),
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

//! A quick way to look at the API server many times a second, which a process for each look is not.

use anyhow::{Context, Result, bail};
use countersign_rig::{Relay, Rig};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Where the way begins inside the rig.
const INSIDE: &str = "127.0.0.1:18089";

/// A client that acts as the administrator, beside every proxy of faults.
pub struct Direct {
    proxy: Child,
    way: Relay,
}

impl Direct {
    /// Opens the way.
    pub fn open(rig: &Rig) -> Result<Self> {
        let (address, port) = INSIDE.split_once(':').context("a port")?;
        let proxy = rig
            .command(rig.kubectl_program())
            .arg("proxy")
            .arg("--kubeconfig")
            .arg(rig.kubeconfig_inside())
            .args(["--address", address, "--port", port])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let direct = Self { proxy, way: rig.relay(INSIDE.parse()?)? };
        rig.wait("the direct way", || Ok(direct.get("/version").is_ok()))?;
        Ok(direct)
    }

    /// What the API server answers, or an error if that takes two seconds.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"), Duration::from_secs(2))
    }

    /// Creates an object in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let body = object.to_string();
        let head =
            format!("Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
        self.ask(&format!("POST {path} HTTP/1.0\r\n{head}\r\n\r\n{body}"), Duration::from_secs(30))
    }

    fn ask(&self, request: &str, patience: Duration) -> Result<Value> {
        let mut stream = TcpStream::connect(self.way.address())?;
        stream.set_read_timeout(Some(patience))?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        if !["200", "201"].contains(&head.split(' ').nth(1).unwrap_or_default()) {
            bail!("{head}");
        }
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

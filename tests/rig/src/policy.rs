//! The stand-in that enforces `NetworkPolicy` objects on the node, and what it has put into force.
//! It is a program of its own (`tests/rig/netpol`), so that no code is shared with what it judges.

use crate::component::Launch;
use crate::node::NAME;
use crate::parts;
use crate::rig::Rig;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

const ADDRESS: &str = "127.0.0.1:10300";

/// How it is started.
pub(crate) fn launch(folder: &Path) -> Result<Launch> {
    let program = parts::program("netpol", "netpol")?;
    let arguments = vec![
        "--kubeconfig".into(),
        folder.join("inside.kubeconfig").display().to_string(),
        "--node".into(),
        NAME.into(),
        "--healthz".into(),
        ADDRESS.into(),
    ];
    Ok(Launch::new("netpol", program, arguments))
}

impl Rig {
    /// What the node's packets obey now: a JSON object with `generation` (counts the tables written) and
    /// `applied` (namespace/name of each policy, to its resource version) among others.
    pub fn policies_in_force(&self) -> Result<Value> {
        let relay = self.relay(ADDRESS.parse()?)?;
        Ok(serde_json::from_str(&get(relay.address(), "/generation")?)?)
    }
}

/// The body of a small answer over HTTP.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: rig\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the policy engine gave no answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the policy engine answered {status}: {}", body.trim());
    }
    Ok(body.to_owned())
}

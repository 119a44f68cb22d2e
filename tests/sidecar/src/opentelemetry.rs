//! OpenTelemetry's exporter of traces, and a collector: gRPC without TLS, which is HTTP/2 by prior knowledge.

use crate::folder::Folder;
use crate::process::{Launch, Process};
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// A collector, which ends when it is dropped.
pub struct Collector {
    process: Process,
    address: SocketAddr,
    folder: Folder,
}

impl Collector {
    /// Starts one at `address`, and waits until it listens.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let folder = Folder::new("opentelemetry")?;
        folder.write("collector.py", include_str!("opentelemetry/collector.py"))?;
        folder.write("agent.py", include_str!("opentelemetry/agent.py"))?;
        // Where the user of an agent can read it.
        let path = folder.part("opentelemetry")?.display().to_string();
        let launch = Launch {
            name: "collector".to_owned(),
            program: "python3".into(),
            arguments: vec![folder.join("collector.py").display().to_string(), address.to_string()],
            environment: vec![("PYTHONPATH".to_owned(), path)],
            ..Launch::default()
        };
        let mut process = Process::start(launch, folder.path())?;
        let log = folder.join("collector.log");
        let ready = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("ready"));
        process.until("readiness", Duration::from_mins(1), ready)?;
        Ok(Self { process, address, folder })
    }

    /// Exports a span of this name, from the network and as the user of this thread; an error if that failed.
    pub fn export(&self, name: &str) -> Result<()> {
        let mut command = Command::new("/usr/bin/env");
        command
            .arg("python3")
            .arg(self.folder.join("agent.py"))
            .arg(format!("http://{}", self.address))
            .arg(name);
        command.env("PYTHONPATH", self.folder.join("opentelemetry")).env("PYTHONDONTWRITEBYTECODE", "1");
        let done = command.output()?;
        if !done.status.success() {
            bail!("{}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }

    /// True if a span of this name came.
    pub fn got(&self, name: &str) -> bool {
        self.process.log().lines().any(|line| line == format!("got {name}"))
    }
}

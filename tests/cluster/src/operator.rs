//! The operator as a process inside the rig, with its log, and the waits that scenarios need.

use crate::scene::find;
use anyhow::{Context, Result, bail};
use countersign_rig::Rig;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The trust domain of the scenarios.
pub const TRUST_DOMAIN: &str = "rig.example";

/// A running operator.
pub struct Operator<'r> {
    rig: &'r Rig,
    child: Child,
    log: PathBuf,
    /// Where its own part of the log begins: those before it wrote to the same file.
    begins: usize,
    health: String,
}

impl<'r> Operator<'r> {
    /// Starts the operator with the flags that every scenario needs, and these.
    pub fn start(rig: &'r Rig, flags: &[&str]) -> Result<Self> {
        Self::start_with(rig, &rig.kubeconfig_inside(), "127.0.0.1:18081", flags)
    }

    /// Starts it with another way to the API server, and another address for probes.
    pub fn start_with(rig: &'r Rig, kubeconfig: &Path, health: &str, flags: &[&str]) -> Result<Self> {
        let log = rig.logs().join(format!("operator-{}.log", health.replace(':', "-")));
        let file = File::options().create(true).append(true).open(&log)?;
        let begins = usize::try_from(file.metadata()?.len())?;
        let mut command: Command = rig.command(program()?);
        command
            .args(["operator", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--spire-trust-domain", TRUST_DOMAIN])
            .arg("--enforce-network-policies=true")
            .args(["--spire-trust-bundle-configmap", "spire-bundle"])
            .args(["--spire-trust-bundle-configmap-namespace", "spire"])
            .args(["--health-probe-bind-address", health, "--metrics-bind-address", "0"])
            .args(["--webhook-bind-address", "0"])
            // Cards of scenarios are looked at every second.
            .args(["--min-sync-period", "1s"])
            .args(flags)
            .env("POD_NAMESPACE", "countersign-system")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.spawn().context("starting the operator")?;
        Ok(Self { rig, child, log, begins, health: health.to_owned() })
    }

    /// Waits until it says that it is ready.
    pub fn wait_ready(&self) -> Result<()> {
        let waited = self.rig.wait("the operator to be ready", || self.answers("/readyz"));
        waited.with_context(|| self.log())
    }

    /// Whether it answers a probe with success.
    pub fn answers(&self, path: &str) -> Result<bool> {
        let url = format!("http://{}{path}", self.health);
        Ok(self.rig.command(program()?).args(["probe", &url]).stdin(Stdio::null()).output()?.status.success())
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.begins..).unwrap_or_default()).into_owned()
    }

    /// The operator itself: what was started is the program that enters the rig and waits for it. Killing that program
    /// before it has begun to wait would leave an operator that nobody ends.
    pub fn pid(&self) -> Result<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let mut pid = None;
        self.rig.wait("the operator to be started", || {
            let children = std::fs::read_to_string(&path)?;
            pid = children.split_whitespace().next().map(str::parse).transpose()?;
            Ok(pid.is_some())
        })?;
        pid.context("an operator without a process")
    }

    /// Kills it without warning.
    pub fn kill(mut self) -> Result<()> {
        self.kill_now()
    }

    /// The same, for an owner that keeps it.
    pub fn kill_now(&mut self) -> Result<()> {
        Command::new("kill").args(["-9", &self.pid()?.to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.pid()?.to_string()).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the operator ended with {status}: {}", self.log());
        }
        Ok(())
    }

    /// Waits until `done` says so about the AgentCard, and returns it.
    pub fn wait_card(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let waited = self.rig.wait(what, || {
            let Ok(Some(card)) = find(self.rig, "agentcard", namespace, name) else { return Ok(false) };
            last = card;
            Ok(done(&last))
        });
        waited.with_context(|| format!("{last:#}\n{}", self.log()))?;
        Ok(last)
    }
}

impl Drop for Operator<'_> {
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), self.pid()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            let _ = self.child.wait();
        }
    }
}

/// The binary under test: the one of `COUNTERSIGN`, else the one beside this test.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("COUNTERSIGN") {
        return Ok(named.into());
    }
    let folder = std::env::current_exe()?.parent().and_then(Path::parent).context("a folder")?.to_owned();
    let program = folder.join("countersign");
    if !program.exists() {
        bail!("{} is missing; build it with `cargo build --features operator`", program.display());
    }
    Ok(program)
}

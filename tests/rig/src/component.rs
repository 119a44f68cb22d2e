//! One long-running part of a rig: how it is started, signalled, and what it said last.

use crate::namespace::Namespaces;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a part may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much the memory of a part may grow, in percent, before Go collects what is unused: parts live for minutes, and
/// at the usual 100 a fifth of their time goes into that.
pub(crate) const COLLECTION: &str = "400";

/// How a part is started.
pub(crate) struct Launch {
    /// The part's name, also that of its log.
    pub(crate) name: &'static str,
    /// Its binary.
    pub(crate) program: PathBuf,
    /// What it is called with.
    pub(crate) arguments: Vec<String>,
    /// What its environment has besides ours.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Launch {
    /// A part without an environment of its own.
    pub(crate) fn new(name: &'static str, program: PathBuf, arguments: Vec<String>) -> Self {
        Self { name, program, arguments, environment: Vec::new() }
    }
}

/// A part with its process, which may have been stopped.
pub(crate) struct Component {
    launch: Launch,
    log: PathBuf,
    child: Option<Child>,
}

impl Component {
    /// Starts a part; what it says goes to `NAME.log` in `logs`.
    pub(crate) fn start(launch: Launch, namespaces: &Namespaces, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{}.log", launch.name));
        let mut component = Self { launch, log, child: None };
        component.start_again(namespaces)?;
        Ok(component)
    }

    /// Starts a part that does not run.
    pub(crate) fn start_again(&mut self, namespaces: &Namespaces) -> Result<()> {
        if self.child.is_some() {
            bail!("{} runs already", self.launch.name);
        }
        let log = self.open_log()?;
        let errors = log.try_clone()?;
        let launch = &self.launch;
        let child = namespaces.spawn(&launch.program, |command| {
            // A pipe or terminal of the caller must not be held open by a part.
            command.args(&launch.arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
            command.env("GOGC", COLLECTION);
            command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        })?;
        self.child = Some(child);
        Ok(())
    }

    fn open_log(&self) -> Result<File> {
        let open = OpenOptions::new().create(true).append(true).open(&self.log);
        open.with_context(|| format!("{} could not be opened", self.log.display()))
    }

    /// How it ended, if it has ended without being asked to.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?))
        else {
            bail!("{} does not run", self.launch.name);
        };
        kill_process(pid, signal).with_context(|| format!("{} could not be signalled", self.launch.name))
    }

    /// The process number as the machine counts it; none if it was stopped.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Asks it to end, and ends it if it does not.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let begin = Instant::now();
        while self.ended()?.is_none() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill()
    }

    /// Ends it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The last lines of its log, for an error.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}

//! A program that a test starts, under any user, with a log that can be read meanwhile.
//! It is asked to end and then made to, at the latest when it is dropped.

use crate::reaper;
use anyhow::{Context, Result, bail};
use countersign_rig::until_unless;
use rustix::process::{Pid, kill_process};
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use countersign_rig::until;
pub use rustix::process::Signal;

/// How long a program may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a program is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// What it is called here, also its log.
    pub name: String,
    /// Its path.
    pub program: PathBuf,
    /// What it is called with.
    pub arguments: Vec<String>,
    /// What its environment has besides ours.
    pub environment: Vec<(String, String)>,
    /// The user and group it runs as; ours if there is none.
    pub user: Option<u32>,
}

/// A program that was started and may have ended.
pub struct Process {
    launch: Launch,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts it; what it says goes to `NAME.log` in the folder `logs`.
    pub fn start(launch: Launch, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{}.log", launch.name));
        let mut process = Self { launch, log, child: None };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it as before, once it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        if self.ended()?.is_none() && self.child.is_some() {
            bail!("{} runs already", self.launch.name);
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let launch = &self.launch;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).envs(launch.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(user) = launch.user {
            command.uid(user).gid(user);
        }
        let mut start = command.spawn();
        // A copy of a program may still be open for writing in a process that another thread is just starting.
        for _ in 0..50 {
            if !start.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ExecutableFileBusy) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            start = command.spawn();
        }
        let child = start.with_context(|| format!("{} could not be started", launch.program.display()))?;
        reaper::tell("process", &child.id().to_string())?;
        self.child = Some(child);
        Ok(())
    }

    /// Its number; none after it was stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} does not run", self.launch.name))?;
        kill_process(pid, signal).with_context(|| format!("{} could not be signalled", self.launch.name))
    }

    /// Asks it to end, and ends it if it does not; how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        // One that is paused could not obey.
        self.signal(Signal::CONT)?;
        let begin = Instant::now();
        while self.ended()?.is_none() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill()
    }

    /// Ends it at once; how it ended.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.launch.name))?;
        // Before its number can be another's.
        reaper::tell("ended", &child.id().to_string())?;
        child.kill()?;
        Ok(child.wait()?)
    }

    /// What it has said so far, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `condition` holds; an error with its last words if it ends or that takes too long.
    pub fn until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
        let name = self.launch.name.clone();
        let state = RefCell::new(self);
        let waited = until_unless(
            what,
            limit,
            || Ok(condition()),
            || match state.borrow_mut().ended()? {
                Some(status) => bail!("it ended with {status}"),
                None => Ok(()),
            },
        );
        let said = state.borrow().last_words();
        waited.map(drop).with_context(|| format!("{name}: no {what}:\n{said}"))
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.is_some() && self.stop().is_err() {
            let _ = self.kill();
        }
    }
}

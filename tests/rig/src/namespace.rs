//! The namespaces of one rig: processes, mounts and network apart from the machine's.
//! Their process 1 is `init.sh`; when it ends, the kernel ends every process in them and drops every mount.

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

const INIT: &str = include_str!("init.sh");

/// A command that runs `program` in the namespaces of the rig whose process 1 is `init`, whoever owns it, and ends when it
/// is killed or its caller forgets it.
pub(crate) fn enter(init: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(init.to_string()).args(["--mount", "--net", "--pid", "--"]);
    // The inner process is a child of nsenter and must not outlive it.
    command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A running process 1 and the way into its namespaces.
pub(crate) struct Namespaces {
    init: Child,
    /// Closing it ends the rig, also when the kernel closes it because this process was killed.
    life: Option<ChildStdin>,
    pid: u32,
    processes: File,
    network: File,
}

impl Namespaces {
    /// Makes the namespaces; `folder` becomes the rig's, and `cgroup` is the name of its group of processes
    /// in each hierarchy (none for a rig without containers).
    pub(crate) fn create(folder: &Path, cgroup: Option<&str>) -> Result<Self> {
        let mut init = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--propagation",
                "private",
                "bash",
                "-c",
                INIT,
                "rig",
            ])
            .arg(folder)
            .arg(cgroup.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt at the terminal is for the owner; the rig then ends in order.
            .process_group(0)
            .spawn()
            .context("unshare (package util-linux) could not be started")?;
        let life = init.stdin.take();
        let mut answer = String::new();
        if let Some(output) = init.stdout.take() {
            BufReader::new(output).read_line(&mut answer)?;
        }
        let Some(pid) = answer.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok()) else {
            let mut said = String::new();
            if let Some(mut errors) = init.stderr.take() {
                errors.read_to_string(&mut said)?;
            }
            init.wait()?;
            bail!("the namespaces of the rig could not be set up: {}", said.trim());
        };
        let open = |kind: &str| {
            File::open(format!("/proc/{pid}/ns/{kind}"))
                .with_context(|| format!("namespace {kind} of the rig"))
        };
        Ok(Self { processes: open("pid")?, network: open("net")?, init, life, pid })
    }

    /// Process 1 as the outside numbers it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The network namespace, to move a thread into.
    pub(crate) fn network(&self) -> std::io::Result<File> {
        self.network.try_clone()
    }

    /// A command that runs `program` inside and ends when it is killed or its caller forgets it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        enter(self.pid, program)
    }

    /// Starts `program` inside as a direct child, so that its number, signals and end are ours to see.
    pub(crate) fn spawn(&self, program: &Path, prepare: impl FnOnce(&mut Command) + Send) -> Result<Child> {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.pid.to_string()).args(["--mount", "--net", "--"]).arg(program);
        command.process_group(0);
        prepare(&mut command);
        // Where children are numbered is a property of a thread, so one that ends at once does it.
        let started = std::thread::scope(|scope| {
            let thread = scope.spawn(|| -> std::io::Result<Child> {
                move_into_link_name_space(self.processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
                command.spawn()
            });
            thread.join()
        });
        match started {
            Ok(child) => {
                child.with_context(|| format!("{} could not be started in the rig", program.display()))
            }
            Err(_) => bail!("the thread that starts {} ended early", program.display()),
        }
    }

    /// Ends every process inside. `keep` leaves the rig's folder for the reader of its logs.
    pub(crate) fn end(&mut self, keep: bool) {
        if let Some(mut life) = self.life.take() {
            // An init that is gone already has ended everything by itself.
            let _ = if keep { life.write_all(b"keep\n") } else { Ok(()) };
        }
    }

    /// Waits until nothing is left. Children started inside must have been waited for before.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let status = self.init.wait()?;
        if !status.success() {
            bail!("process 1 of the rig ended with {status}");
        }
        Ok(())
    }
}

//! The program under test as a process, with its settings in a file that can be replaced while it runs.
//! It is run from a folder that every user can read, as an image would have it.

use crate::folder::Folder;
use crate::http;
use crate::process::{Launch, Process, Signal, until};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

const START: Duration = Duration::from_mins(1);

/// How it is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The user and group it runs as; ours if there is none. The user is also what SPIRE sees.
    pub user: Option<u32>,
    /// What its environment has besides ours.
    pub environment: Vec<(String, String)>,
    /// What it is called with after `--config FILE`.
    pub arguments: Vec<String>,
    /// What `/etc/hosts` has for it, and for nobody else; needs root.
    pub hosts: Option<String>,
}

/// An AuthBridge, which ends when it is dropped.
pub struct AuthBridge {
    process: Process,
    folder: Folder,
}

impl AuthBridge {
    /// Starts it with these settings, and waits until `/readyz` at `health` says that it is ready.
    pub fn start(settings: &str, health: SocketAddr, options: &Options) -> Result<Self> {
        let mut started = Self::start_unready(settings, options)?;
        started.wait_ready(health)?;
        Ok(started)
    }

    /// Starts it with these settings, and does not wait: it may refuse them, or never be ready.
    pub fn start_unready(settings: &str, options: &Options) -> Result<Self> {
        let folder = Folder::new("authbridge")?;
        let config = folder.write("authbridge.yaml", settings)?;
        let mut arguments = vec!["--config".to_owned(), config.display().to_string()];
        arguments.extend(options.arguments.iter().cloned());
        let mut program = folder.program(&program())?;
        if let Some(hosts) = &options.hosts {
            let hosts = folder.write("hosts", hosts)?.display().to_string();
            let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
            let shell = ["--mount", "sh", "-c", script].map(str::to_owned);
            arguments = [&shell[..], &[hosts, program.display().to_string()], &arguments].concat();
            program = "unshare".into();
        }
        let launch = Launch {
            name: "authbridge".to_owned(),
            program,
            arguments,
            environment: options.environment.clone(),
            user: options.user,
        };
        let process = Process::start(launch, folder.path())?;
        Ok(Self { process, folder })
    }

    /// Waits until it says that it is ready.
    pub fn wait_ready(&mut self, health: SocketAddr) -> Result<()> {
        self.process.until("readiness", START, || readiness(health).is_ok_and(|status| status == 200))
    }

    /// Waits until its log, which is all it said since its first start, contains `text`.
    pub fn wait_log(&mut self, text: &str) -> Result<()> {
        let log = self.folder.join("authbridge.log");
        let said = || std::fs::read(&log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(text));
        self.process.until(&format!("{text:?} in its log"), START, said)
    }

    /// Waits until it has ended by itself; how.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        until("end of AuthBridge", limit, || Ok(self.process.ended()?.is_some()))?;
        self.process.ended()?.context("AuthBridge was stopped before")
    }

    /// Replaces its settings by others, whole.
    pub fn rewrite_config(&self, settings: &str) -> Result<()> {
        self.folder.write("authbridge.yaml", settings).map(drop)
    }

    /// Asks it to end (SIGTERM) and waits; how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.stop()
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Starts it again with the settings of now.
    pub fn start_again(&mut self, health: SocketAddr) -> Result<()> {
        self.process.start_again()?;
        self.wait_ready(health)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Its number, for `/proc`.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The folder with its settings and its log, which other files may join.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What it has said.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// The status with which `/readyz` answers at `health`.
pub fn readiness(health: SocketAddr) -> Result<u16> {
    Ok(http::get(&format!("http://{health}/readyz"))?.status)
}

/// The program: what `AUTHBRIDGE` names, or else what `cargo build` made.
pub fn program() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/authbridge");
    std::env::var_os("AUTHBRIDGE").map_or_else(built, PathBuf::from)
}

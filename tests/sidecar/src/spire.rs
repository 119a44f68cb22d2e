//! A SPIRE server and agent as plain processes on loopback, which tell workloads apart by their user.
//! Keys and data lie on disk, so both can be stopped and started again.

mod bundle;
mod settings;
mod svid;

pub use settings::Options;
pub use svid::X509Files;

use crate::backend::Backend;
use crate::folder::Folder;
use crate::ports;
use crate::process::{Launch, Process, Signal, until};
use anyhow::{Context, Result};
use countersign_rig::{LocalAuthority, SpireParts, parts, spire_server};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

const START: Duration = Duration::from_mins(1);

/// A SPIRE with one agent; both end when it is dropped.
pub struct Spire {
    agent: Process,
    server: Process,
    bundle: Mutex<Option<Backend>>,
    options: Options,
    folder: Folder,
}

impl Spire {
    /// Starts both for a trust domain (`example.org`), and waits until they serve.
    pub fn start(trust_domain: &str) -> Result<Self> {
        Self::start_with(Options::new(trust_domain))
    }

    /// Starts both with these options.
    pub fn start_with(options: Options) -> Result<Self> {
        let folder = Folder::new("spire")?;
        let port = ports::free()?;
        // Also for workloads of other users, which fetch with it.
        let agent = folder.program(&parts::program("spire", "spire-agent")?)?;
        for name in ["server", "agent", "socket"] {
            folder.folder_of(name, None)?;
        }
        let both = settings::parts(folder.path(), port, &options);
        let file = folder.write("server.conf", both.server())?;
        let program = parts::program("spire", "spire-server")?;
        let mut server = Process::start(launch("spire-server", program, &file, &[]), folder.path())?;
        let socket = folder.join("server.sock");
        server.until("readiness", START, || run_server(&socket, &["healthcheck"]).is_ok())?;

        let (token, trusted) = SpireParts::join(&options.node(), |arguments| run_server(&socket, arguments))?;
        let bundle = folder.write("bundle.pem", trusted)?;
        let file = folder.write("agent.conf", both.agent(&bundle))?;
        let launch = launch("spire-agent", agent, &file, &["-joinToken", &token]);
        let agent = Process::start(launch, folder.path())?;
        let mut spire = Self { agent, server, bundle: Mutex::new(None), options, folder };
        spire.wait_agent()?;
        Ok(spire)
    }

    /// The agent's socket, which every user can reach.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket/agent.sock")
    }

    /// The socket as an address of the Workload API.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.options.trust_domain
    }

    /// Runs a command of `spire-server`; what it printed.
    pub fn server(&self, arguments: &[&str]) -> Result<String> {
        run_server(&self.folder.join("server.sock"), arguments)
    }

    /// Lets processes of `user` have this SPIFFE ID; the ID of the entry. The agent learns it within about a
    /// second.
    pub fn register(&self, spiffe_id: &str, user: u32) -> Result<String> {
        let (parent, selector) = (self.options.node(), format!("unix:uid:{user}"));
        let entry = ["entry", "create", "-output", "json", "-parentID", &parent, "-spiffeID", spiffe_id];
        let made = self.server(&[entry.as_slice(), &["-selector", &selector]].concat())?;
        let made: Value = serde_json::from_str(&made)?;
        let id = made["results"][0]["entry"]["id"].as_str();
        id.map(str::to_owned).with_context(|| format!("no entry was made: {made}"))
    }

    /// Removes an entry.
    pub fn unregister(&self, entry: &str) -> Result<()> {
        self.server(&["entry", "delete", "-entryID", entry]).map(drop)
    }

    /// The authorities that sign X.509 SVIDs.
    pub fn x509_authority(&self) -> LocalAuthority<'_> {
        LocalAuthority::x509(|arguments| self.server(arguments))
    }

    /// The authorities that sign JWT SVIDs.
    pub fn jwt_authority(&self) -> LocalAuthority<'_> {
        LocalAuthority::jwt(|arguments| self.server(arguments))
    }

    /// Ends the agent; its socket answers nobody.
    pub fn stop_agent(&mut self) -> Result<()> {
        self.agent.stop().map(drop)
    }

    /// Freezes the agent: whoever asks it waits.
    pub fn freeze_agent(&self) -> Result<()> {
        self.agent.signal(Signal::STOP)
    }

    /// Lets a frozen agent go on.
    pub fn thaw_agent(&self) -> Result<()> {
        self.agent.signal(Signal::CONT)
    }

    /// Starts the agent after it was stopped, and waits until it serves.
    pub fn start_agent(&mut self) -> Result<()> {
        self.agent.start_again()?;
        self.wait_agent()
    }

    /// Ends the agent and starts it again.
    pub fn restart_agent(&mut self) -> Result<()> {
        self.stop_agent()?;
        self.start_agent()
    }

    /// Ends the server; the agent goes on with what it has.
    pub fn stop_server(&mut self) -> Result<()> {
        self.server.stop().map(drop)
    }

    /// Starts the server after it was stopped, and waits until it serves.
    pub fn start_server(&mut self) -> Result<()> {
        self.server.start_again()?;
        until("SPIRE server", START, || self.server(&["healthcheck"]).map(|_| true)).map(drop)
    }

    /// What the server and the agent have said.
    pub fn log(&self) -> String {
        self.server.log() + &self.agent.log()
    }

    fn wait_agent(&mut self) -> Result<()> {
        let (program, socket) = (self.folder.join("spire-agent"), self.socket());
        self.agent.until("readiness", START, || {
            let mut command = Command::new(&program);
            command.args(["healthcheck", "-socketPath"]).arg(&socket);
            countersign_rig::output(command, b"").is_ok()
        })
    }
}

fn run_server(socket: &Path, arguments: &[&str]) -> Result<String> {
    spire_server(Command::new(parts::program("spire", "spire-server")?), socket, arguments)
}

fn launch(name: &str, program: PathBuf, settings: &Path, more: &[&str]) -> Launch {
    let mut arguments = SpireParts::run(settings);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    Launch { name: name.to_owned(), program, arguments, ..Launch::default() }
}

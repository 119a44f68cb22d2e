//! What a test does with the signing authorities of a SPIRE server: prepare, activate, taint, revoke.
//! It is the same for X.509 and JWT, and however `spire-server` is reached.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a command of `spire-server` (`program`) at `socket`; what it printed.
pub fn spire_server(mut program: Command, socket: &Path, arguments: &[&str]) -> Result<String> {
    // Sub-commands of up to three words come before the first flag.
    let words = arguments.iter().take_while(|word| !word.starts_with('-')).count();
    let (words, flags) = arguments.split_at(words);
    program.args(words).arg("-socketPath").arg(socket).args(flags);
    crate::rig::output(program, b"")
}

/// Runs a command of `spire-server`; what it printed.
type Server<'a> = dyn Fn(&[&str]) -> Result<String> + 'a;

/// The authorities of one kind.
pub struct LocalAuthority<'a> {
    kind: &'static str,
    server: Box<Server<'a>>,
}

impl<'a> LocalAuthority<'a> {
    /// Those that sign X.509 SVIDs; `server` runs the program.
    pub fn x509(server: impl Fn(&[&str]) -> Result<String> + 'a) -> Self {
        Self { kind: "x509", server: Box::new(server) }
    }

    /// Those that sign JWT SVIDs.
    pub fn jwt(server: impl Fn(&[&str]) -> Result<String> + 'a) -> Self {
        Self { kind: "jwt", server: Box::new(server) }
    }

    /// Which one signs, is prepared, and was active before.
    pub fn show(&self) -> Result<Authorities> {
        let shown = self.run("show", &[])?;
        let id = |state: &str| shown[state]["authority_id"].as_str().map(str::to_owned);
        Ok(Authorities { active: id("active"), prepared: id("prepared"), old: id("old") })
    }

    /// Makes a new one and publishes it beside the active one; its ID.
    pub fn prepare(&self) -> Result<String> {
        self.run("prepare", &[])?;
        self.show()?.prepared.context("the SPIRE server prepared no authority")
    }

    /// Lets the prepared one sign from now on.
    pub fn activate(&self, id: &str) -> Result<()> {
        self.run("activate", &["-authorityID", id]).map(drop)
    }

    /// Marks an old one as not to be trusted: agents replace what it signed.
    pub fn taint(&self, id: &str) -> Result<()> {
        self.run("taint", &["-authorityID", id]).map(drop)
    }

    /// Removes a tainted one from the bundle.
    pub fn revoke(&self, id: &str) -> Result<()> {
        self.run("revoke", &["-authorityID", id]).map(drop)
    }

    fn run(&self, what: &str, flags: &[&str]) -> Result<Value> {
        let arguments = [&["localauthority", self.kind, what, "-output", "json"], flags].concat();
        Ok(serde_json::from_str(&(self.server)(&arguments)?)?)
    }
}

/// The authorities of the server, by ID.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authorities {
    /// The one that signs.
    pub active: Option<String>,
    /// The one that is published to sign later.
    pub prepared: Option<String>,
    /// The one that signed before.
    pub old: Option<String>,
}

//! PostgreSQL: a server whose clients speak first, in a protocol that is neither HTTP nor TLS, and its own client `psql`.

use crate::folder::Folder;
use crate::process::{Launch, Process, until};
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// `nobody`: the server refuses to run as root, and as a user without a name.
const USER: u32 = 65_534;
const LIMIT: Duration = Duration::from_mins(1);

/// A PostgreSQL, which ends when it is dropped.
pub struct Postgres {
    _server: Process,
    address: SocketAddr,
    folder: Folder,
}

impl Postgres {
    /// Starts one at `address` with an empty database, and waits until it answers there.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let folder = Folder::new("postgres")?;
        // Where its user and those of clients can read it.
        folder.part("postgresql")?;
        let data = folder.folder_of("data", Some(USER))?;
        let launch = |name: &str, arguments: &[&str]| Launch {
            name: name.to_owned(),
            program: program(folder.path(), name),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            user: Some(USER),
            ..Launch::default()
        };
        let path = data.display().to_string();
        let settings = ["-D", &path, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C"];
        let mut made = Process::start(launch("initdb", &settings), folder.path())?;
        let mut status = None;
        until("database", LIMIT, || {
            status = made.ended()?;
            Ok(status.is_some())
        })?;
        if !status.is_some_and(|status| status.success()) {
            bail!("there is no database:\n{}", made.log());
        }
        std::fs::write(data.join("pg_hba.conf"), "host all all 0.0.0.0/0 trust\n")?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let sockets = format!("unix_socket_directories={path}");
        let arguments = ["-D", &path, "-h", &host, "-p", &port, "-c", &sockets, "-c", "fsync=off"];
        let server = Process::start(launch("postgres", &arguments), folder.path())?;
        let postgres = Self { _server: server, address, folder };
        until("PostgreSQL", LIMIT, || Ok(postgres.query("select 1").is_ok()))?;
        Ok(postgres)
    }

    /// Asks it by `psql`, from the network and as the user of this thread; the answer without decoration.
    pub fn query(&self, sql: &str) -> Result<String> {
        let mut command = Command::new(program(self.folder.path(), "psql"));
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        command.args(["-X", "-A", "-t", "-h", &host, "-p", &port, "-U", "postgres", "-c", sql]);
        command.env("PGCONNECT_TIMEOUT", "10");
        let done = command.output().context("psql could not be started")?;
        if !done.status.success() {
            bail!("{}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }
}

fn program(folder: &Path, name: &str) -> PathBuf {
    folder.join("postgresql/pgserver/pginstall/bin").join(name)
}

//! A Keycloak of its own for a test: the built tree from the cache, and a copy of the seeded database.
//! Java is run without `kc.sh`, whose child it would be, so that signals reach it.

use crate::admin::Admin;
use crate::folder::Folder;
use crate::http;
use crate::ports;
use crate::process::{Launch, Process, Signal};
use anyhow::{Context, Result};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The administrator of the seed.
pub const ADMIN: (&str, &str) = ("admin", "admin-pw");

/// A start takes 12 s on a quiet machine, and minutes on a busy one.
const START: Duration = Duration::from_mins(5);

/// What `kc.sh` passes to Java and a server needs.
const JAVA: [&str; 14] = [
    "-Xms64m",
    "-Xmx384m",
    "-XX:MaxMetaspaceSize=256m",
    "-XX:+ExitOnOutOfMemoryError",
    // Half the time to start: a test does not live to see what the second compiler is for.
    "-XX:TieredStopAtLevel=1",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=\
     io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    "-Dpicocli.disable.closures=true",
    "-Dfile.encoding=UTF-8",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
];

/// A Keycloak, which ends when it is dropped.
pub struct Keycloak {
    process: Mutex<Process>,
    port: u16,
    management: u16,
    _folder: Folder,
}

impl Keycloak {
    /// Starts one with realm `master` only, and waits until it is ready.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, such as `--truststore-paths=FILE`.
    pub fn start_with(more: &[&str]) -> Result<Self> {
        let built = countersign_rig::parts::folder("keycloak")?;
        let folder = Folder::new("keycloak")?;
        // A home of its own, with nothing but the data in it that is not shared.
        for shared in ["conf", "lib", "providers", "themes", "version.txt"] {
            symlink(built.join(shared), folder.join(shared))?;
        }
        let database = "keycloakdb.mv.db";
        let data = folder.folder_of("data/h2", None)?;
        std::fs::copy(built.join("seed").join(database), data.join(database))
            .context("Keycloak is not there: run `scripts/rig-parts keycloak`")?;

        let (port, management) = (ports::free()?, ports::free()?);
        let mut arguments: Vec<String> = JAVA.iter().map(|&option| option.to_owned()).collect();
        arguments.extend(server_arguments(folder.path(), port, management));
        arguments.extend(more.iter().map(|&option| option.to_owned()));
        let launch =
            Launch { name: "keycloak".to_owned(), program: "java".into(), arguments, ..Launch::default() };
        let process = Process::start(launch, folder.path())?;
        let process = Mutex::new(process);
        let keycloak = Self { process, port, management, _folder: folder };
        keycloak.wait_ready()?;
        Ok(keycloak)
    }

    /// `HOST:PORT`, for a connection.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The issuer of a realm's tokens.
    pub fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.url())
    }

    /// Where a realm gives tokens.
    pub fn token_url(&self, realm: &str) -> String {
        format!("{}/protocol/openid-connect/token", self.issuer(realm))
    }

    /// Where a realm publishes its keys.
    pub fn jwks_url(&self, realm: &str) -> String {
        format!("{}/protocol/openid-connect/certs", self.issuer(realm))
    }

    /// Acts as its administrator.
    pub fn admin(&self) -> Admin<'_> {
        Admin::new(self)
    }

    /// Ends it; its data stay.
    pub fn stop(&self) -> Result<()> {
        self.process().stop().map(drop)
    }

    /// Starts it again at the same port with the same data, and waits until it is ready.
    pub fn start_again(&self) -> Result<()> {
        self.process().start_again()?;
        self.wait_ready()
    }

    /// Lets it keep its connections and answer nothing.
    pub fn pause(&self) -> Result<()> {
        self.process().signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.process().signal(Signal::CONT)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        self.process().log()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        // A panic of another thread does not make it another process.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_ready(&self) -> Result<()> {
        // It listens long before it is ready, and logs a line for each question before that.
        let url = format!("http://127.0.0.1:{}/health/ready", self.management);
        self.process().until("readiness", START, || {
            std::thread::sleep(Duration::from_millis(200));
            http::get(&url).is_ok_and(|reply| reply.status == 200)
        })
    }
}

fn server_arguments(home: &Path, port: u16, management: u16) -> Vec<String> {
    let home = home.display();
    let mut arguments = vec![
        format!("-Dkc.home.dir={home}"),
        format!("-Djboss.server.config.dir={home}/conf"),
        "-cp".to_owned(),
        format!("{home}/lib/quarkus-run.jar"),
        "io.quarkus.bootstrap.runner.QuarkusEntryPoint".to_owned(),
    ];
    let settings = [
        "start",
        "--optimized",
        // Without a cluster, which would listen at other addresses.
        "--cache=local",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
    ];
    arguments.extend(settings.map(str::to_owned));
    arguments.push(format!("--http-port={port}"));
    arguments.push(format!("--http-management-port={management}"));
    // Decides the issuer of all tokens.
    arguments.push(format!("--hostname=http://127.0.0.1:{port}"));
    arguments
}

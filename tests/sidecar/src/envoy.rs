//! An Envoy with the settings of a test.
//! Its administration interface is added here, for that says when it is ready.

use crate::folder::Folder;
use crate::http::{self, Reply};
use crate::ports;
use crate::process::{Launch, Process};
use anyhow::Result;
use std::time::Duration;

/// An Envoy, which ends when it is dropped.
pub struct Envoy {
    process: Process,
    admin: u16,
    _folder: Folder,
}

impl Envoy {
    /// Starts one with these settings (YAML without `admin`), and waits until it is ready.
    pub fn start(settings: &str) -> Result<Self> {
        let folder = Folder::new("envoy")?;
        let admin = ports::free()?;
        let file = folder.write("envoy.yaml", settings)?;
        let program = countersign_rig::parts::program("envoy", "envoy")?;
        let address = format!("{{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}");
        let arguments = vec![
            "--config-path".to_owned(),
            file.display().to_string(),
            "--config-yaml".to_owned(),
            format!("admin: {{address: {address}}}"),
            "--concurrency".to_owned(),
            "1".to_owned(),
            // Names its shared memory: no two on a machine may have the same.
            "--base-id".to_owned(),
            admin.to_string(),
            "--log-level".to_owned(),
            "info".to_owned(),
        ];
        let launch = Launch { name: "envoy".to_owned(), program, arguments, ..Launch::default() };
        let mut envoy = Self { process: Process::start(launch, folder.path())?, admin, _folder: folder };
        let url = format!("http://127.0.0.1:{admin}/ready");
        let ready = || http::get(&url).is_ok_and(|reply| reply.status == 200);
        envoy.process.until("readiness", Duration::from_mins(1), ready)?;
        Ok(envoy)
    }

    /// Asks its administration interface, such as for `/stats?filter=ext_proc`.
    pub fn admin(&self, path: &str) -> Result<Reply> {
        http::get(&format!("http://127.0.0.1:{}{path}", self.admin))
    }

    /// Its number, for `/proc`.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

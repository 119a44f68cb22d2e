//! Hypercorn with an application in Python: an ASGI server, as frameworks run agents.

use crate::folder::Folder;
use crate::http;
use crate::ports;
use crate::process::{Launch, Process};
use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;

/// A server, which ends when it is dropped.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) folder: Folder,
    /// Where Python finds the application and what it needs.
    pub(crate) environment: Vec<(String, String)>,
}

impl Server {
    /// Starts `agent.py` of these files by what is installed as the part `name`, and waits until it answers.
    pub(crate) fn start(name: &str, files: &[(&str, &str)], more: &[(&str, String)]) -> Result<Self> {
        let folder = Folder::new(name)?;
        for (file, content) in files {
            folder.write(file, content)?;
        }
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let installed = countersign_rig::parts::folder(name)?;
        let path = format!("{}:{}", installed.display(), folder.path().display());
        let environment = vec![
            ("PYTHONPATH".to_owned(), path),
            // The cache is not written to by those who use it.
            ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ];
        let more = more.iter().map(|(variable, value)| ((*variable).to_owned(), value.clone()));
        let bind = address.to_string();
        let arguments = ["-m", "hypercorn", "--worker-class", "asyncio", "--bind", &bind, "agent:app"];
        let launch = Launch {
            name: name.to_owned(),
            program: "python3".into(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: environment.iter().cloned().chain(more).collect(),
            ..Launch::default()
        };
        let mut process = Process::start(launch, folder.path())?;
        let ready = || http::get(&format!("http://{address}/ready")).is_ok_and(|reply| reply.status == 200);
        process.until("readiness", Duration::from_mins(1), ready)?;
        Ok(Self { process, address, folder, environment })
    }
}

//! One running rig: the type with which tests start it, use it, break it and end it.

use crate::component::{COLLECTION, Component, Launch};
use crate::control_plane;
use crate::hold;
use crate::look::{Api, Look};
use crate::namespace::Namespaces;
use crate::parts;
use crate::pki::Pki;
use crate::relay::Relay;
use crate::support;
use crate::wait::until_unless;
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How long a rig may take to come up, on a machine that is busy with other work.
const UP: Duration = Duration::from_mins(2);

/// How a rig is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The work folder, made anew; without it one is made in `RIG_DIR`, or in `countersign-rig` of the
    /// machine's folder for temporary files. It must not lie in `/var` or `/run`, which a rig covers.
    pub folder: Option<PathBuf>,
    /// Run a node without any NetworkPolicy enforcement.
    pub without_policy: bool,
    /// Run a node without SPIRE.
    pub without_spire: bool,
}

/// A running rig. Dropping it ends everything in it and removes its folder; if that happens in a panic, the
/// folder with the logs stays and its path is printed.
pub struct Rig {
    folder: PathBuf,
    pki: Pki,
    cgroup: Option<String>,
    namespaces: Namespaces,
    components: Mutex<BTreeMap<&'static str, Component>>,
    relay: Option<Relay>,
    kubectl: PathBuf,
    look: OnceLock<Look>,
    opening: Mutex<()>,
    ended: bool,
}

impl Rig {
    /// Says in one line why a rig cannot run on this machine, if it cannot.
    pub fn is_supported() -> Result<(), String> {
        support::check(true)
    }

    /// etcd, the API server and the controller manager: for tests of controllers. Up in seconds.
    pub fn control_plane() -> Result<Self> {
        Self::control_plane_with(&Options::default())
    }

    /// The same with options.
    pub fn control_plane_with(options: &Options) -> Result<Self> {
        support::check(false).map_err(|why| anyhow!(why))?;
        let mut rig = Self::empty(options, false)?;
        let up = rig.start_control_plane();
        rig.report(up)
    }

    /// Namespaces, keys and nothing that runs.
    pub(crate) fn empty(options: &Options, containers: bool) -> Result<Self> {
        let kubectl = parts::program("client-tools", "kubectl")?;
        let (folder, id) = make_folder(options.folder.as_deref())?;
        let cgroup = containers.then(|| format!("countersign-rig-{id}"));
        let pki = Pki::create(&folder.join("pki"))?;
        std::fs::create_dir(folder.join("logs"))?;
        let namespaces = Namespaces::create(&folder, cgroup.as_deref())?;
        hold::on_failure(folder.join("kubeconfig"));
        let components = Mutex::new(BTreeMap::new());
        Ok(Self {
            folder,
            pki,
            cgroup,
            namespaces,
            components,
            relay: None,
            kubectl,
            look: OnceLock::new(),
            opening: Mutex::new(()),
            ended: false,
        })
    }

    pub(crate) fn start_control_plane(&mut self) -> Result<()> {
        control_plane::issue(&self.pki, &self.folder)?;
        self.run(control_plane::etcd(&self.folder)?)?;
        self.run(control_plane::apiserver(&self.folder, &self.pki)?)?;
        let relay = self.relay(control_plane::API.parse()?)?;
        let server = format!("https://{}", relay.address());
        self.pki.kubeconfig(&self.kubeconfig(), &server, "rig:admin", Some("system:masters"))?;
        self.relay = Some(relay);
        self.wait_ready()?;
        self.run(control_plane::controller_manager(&self.folder, &self.pki)?)?;
        self.wait("the default service account", || {
            Ok(self.get("/api/v1/namespaces/default/serviceaccounts/default")?.is_some())
        })
    }

    /// Adds to a failure what is needed to understand it, and keeps the logs.
    pub(crate) fn report(mut self, up: Result<()>) -> Result<Self> {
        match up {
            Ok(()) => Ok(self),
            Err(error) => {
                self.close(true)?;
                Err(error.context(format!("the rig did not come up; its logs: {}", self.logs().display())))
            }
        }
    }

    /// The work folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The name of the group of processes of pods; empty for a rig without containers.
    pub(crate) fn cgroup(&self) -> &str {
        self.cgroup.as_deref().unwrap_or_default()
    }

    /// The folder of the logs, one file for each part.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The kubeconfig of the administrator for callers outside, by a loopback port of the machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The kubeconfig of the administrator for callers inside the rig's network.
    pub fn kubeconfig_inside(&self) -> PathBuf {
        self.folder.join("inside.kubeconfig")
    }

    /// Writes a kubeconfig for `user` in `group`, to act with that user's rights from outside.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let relay = self.relay.as_ref().context("the rig has no API server")?;
        let file = self.folder.join(format!("{}.outside.kubeconfig", user.replace([':', '/'], "-")));
        self.pki.kubeconfig(&file, &format!("https://{}", relay.address()), user, group)?;
        Ok(file)
    }

    /// The audit log: one JSON object a line, level Metadata, all stages but `RequestReceived`.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// Runs kubectl as the administrator; its output, or an error with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.client(&self.kubectl);
        command.args(arguments);
        output(command, b"")
    }

    /// Runs helm as the administrator; its output, or an error with what it said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.client(&parts::program("client-tools", "helm")?);
        command.args(arguments);
        output(command, b"")
    }

    /// Applies a manifest: an object or a list as JSON quickly, and YAML of one or many documents by kubectl.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        if let Ok(object) = serde_json::from_str(manifest) {
            return self.look()?.apply(&object);
        }
        let mut command = self.client(&self.kubectl);
        command.args(["apply", "-f", "-"]);
        output(command, manifest.as_bytes()).map(drop)
    }

    /// What the API server has at `path`, such as `/api/v1/namespaces/team/pods`; `None` if nothing is there. Quick
    /// enough to be asked many times a second.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        self.api()?.get(path)
    }

    /// Creates an object in the collection at `path`, as quickly.
    pub fn create(&self, path: &str, object: &Value) -> Result<()> {
        self.api()?.create(path, object)
    }

    /// The way to ask as quickly from another thread; it ends with the rig.
    pub fn api(&self) -> Result<Api> {
        Ok(self.look()?.api())
    }

    /// Changes the object at `path` by a merge patch, as quickly.
    pub fn patch(&self, path: &str, change: &Value) -> Result<()> {
        self.api()?.patch(path, change).map(drop)
    }

    /// Deletes the object at `path`, which must be there, and waits until it is gone; as quickly.
    pub fn delete(&self, path: &str) -> Result<()> {
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let before = self.get(path)?.with_context(|| format!("nothing is at {path}"))?;
        self.api()?.delete(path)?;
        // Another one of the same name may be there at once.
        let gone = || self.get(path).is_ok_and(|found| found.is_none_or(|found| uid(&found) != uid(&before)));
        self.wait("the end of what was deleted", || Ok(gone()))
    }

    fn look(&self) -> Result<&Look> {
        // One at a time: a second proxy would find its port taken, and be the one that is kept.
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.look.get().is_none() {
            let _ = self.look.set(Look::open(self)?);
        }
        self.look.get().context("the direct way")
    }

    /// The program kubectl, for tests that keep it running.
    pub fn kubectl_program(&self) -> &Path {
        &self.kubectl
    }

    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("KUBECACHEDIR", self.folder.join("cache"));
        command.env("GOGC", COLLECTION);
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, self.folder.join("helm"));
        }
        command
    }

    /// A command that runs `program` inside the rig, with its network, mounts and processes. Killing it
    /// kills the program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespaces.command(program)
    }

    pub(crate) fn network(&self) -> Result<std::fs::File> {
        Ok(self.namespaces.network()?)
    }

    /// Opens a loopback port of the machine that leads to `target` inside the rig.
    pub fn relay(&self, target: SocketAddr) -> Result<Relay> {
        Relay::open(self.network()?, target)
    }

    /// Listens at an address inside the rig: what connects there reaches this process.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        let network = self.network()?;
        let listening = std::thread::spawn(move || -> Result<TcpListener> {
            // Of this thread alone, which then ends; the socket stays where it was made.
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(TcpListener::bind(address)?)
        });
        let listener = listening.join().map_err(|_| anyhow!("the thread that listens ended"))?;
        listener.with_context(|| format!("nothing can listen at {address} inside the rig"))
    }

    /// Starts a part and keeps it until the rig ends.
    pub(crate) fn run(&self, launch: Launch) -> Result<()> {
        let name = launch.name;
        let component = Component::start(launch, &self.namespaces, &self.logs())?;
        self.components().insert(name, component);
        Ok(())
    }

    fn components(&self) -> MutexGuard<'_, BTreeMap<&'static str, Component>> {
        // A panic of another thread does not make the list wrong.
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Component) -> Result<T>) -> Result<T> {
        let mut components = self.components();
        let names = components.keys().copied().collect::<Vec<_>>().join(", ");
        act(components
            .get_mut(name)
            .with_context(|| format!("the rig has no part {name}; it has {names}"))?)
    }

    /// Asks a part (such as `apiserver`) to end and waits until it has.
    pub fn stop_component(&self, name: &str) -> Result<()> {
        self.with(name, Component::stop)
    }

    /// Ends a part without warning.
    pub fn kill_component(&self, name: &str) -> Result<()> {
        self.with(name, Component::kill)
    }

    /// Starts a part that was stopped, with the same settings; it may not be ready yet.
    pub fn start_component(&self, name: &str) -> Result<()> {
        self.with(name, |component| component.start_again(&self.namespaces))
    }

    /// Makes a part stand still, as a machine that hangs does.
    pub fn pause_component(&self, name: &str) -> Result<()> {
        self.with(name, |component| component.signal(Signal::STOP))
    }

    /// Lets a part go on that stands still.
    pub fn resume_component(&self, name: &str) -> Result<()> {
        self.with(name, |component| component.signal(Signal::CONT))
    }

    /// The process number of a part as the machine counts it; none while it is stopped.
    pub fn component_pid(&self, name: &str) -> Result<Option<u32>> {
        self.with(name, |component| Ok(component.pid()))
    }

    /// Waits until the API server says that it is ready.
    pub fn wait_ready(&self) -> Result<()> {
        self.wait("the API server", || Ok(self.api()?.answers("/readyz")))
    }

    /// Waits until `done`; an error if a part ends meanwhile, if a question fails, or if it takes too long.
    pub fn wait(&self, what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let mut failure = None;
        let asked = || {
            let result = done();
            // A question that fails here is a fault of the test or of a part that it did not break itself.
            Ok(result.unwrap_or_else(|error| {
                failure = Some(error);
                true
            }))
        };
        let waited = until_unless(what, UP, asked, || {
            for (name, component) in self.components().iter_mut() {
                if let Some(status) = component.ended()? {
                    let said = component.last_words();
                    bail!("{name} ended with {status} while the rig waited for {what}:\n{said}");
                }
            }
            Ok(())
        });
        failure.map_or(waited.map(drop), Err)
    }

    /// Where the machine sees a path that is one inside the rig.
    pub fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/proc")
            .join(self.init_pid().to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The number of the rig's process 1 as the machine counts it.
    pub fn init_pid(&self) -> u32 {
        self.namespaces.pid()
    }

    /// Ends everything and removes the folder; the same as dropping it, with the error.
    pub fn down(mut self) -> Result<()> {
        self.close(false)
    }

    fn close(&mut self, keep: bool) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.relay = None;
        // Ours to bury: process 1 ends only when no child of ours is left in its namespace.
        for component in self.components().values_mut() {
            component.kill()?;
        }
        self.namespaces.end(keep);
        self.namespaces.wait()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let keep = std::thread::panicking() && !self.ended;
        if let Err(error) = self.close(keep) {
            eprintln!("the rig did not end in order: {error:#}");
        }
        if keep {
            eprintln!("the logs of the rig: {}", self.logs().display());
        }
    }
}

/// Makes the work folder; its last name is unique among the rigs of the machine.
fn make_folder(wanted: Option<&Path>) -> Result<(PathBuf, String)> {
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700);
    let base = match wanted {
        Some(folder) => folder.parent().context("the work folder has no parent")?.to_owned(),
        None => std::env::var_os("RIG_DIR")
            .map_or_else(|| std::env::temp_dir().join("countersign-rig"), PathBuf::from),
    };
    std::fs::create_dir_all(&base).with_context(|| format!("{} could not be made", base.display()))?;
    let base = base.canonicalize()?;
    if base.starts_with("/var") || base.starts_with("/run") {
        bail!("the work folder {} lies in /var or /run, which a rig covers: set RIG_DIR", base.display());
    }
    let process = std::process::id();
    if let Some(name) = wanted.and_then(Path::file_name) {
        let folder = base.join(name);
        let made = private.create(&folder);
        made.with_context(|| format!("{} could not be made (is a rig running there?)", folder.display()))?;
        return Ok((folder, format!("{process}-{}", name.to_string_lossy())));
    }
    for count in 0..1000 {
        let id = format!("{process}-{count}");
        let folder = base.join(&id);
        match private.create(&folder) {
            Ok(()) => return Ok((folder, id)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).context(format!("{} could not be made", folder.display())),
        }
    }
    bail!("{} is full of old rigs: remove them", base.display())
}

/// Runs a command with `input`; what it printed, or an error with what it complained about.
pub fn output(mut command: Command, input: &[u8]) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("{} could not be started", command.get_program().display()))?;
    let stdin = child.stdin.take();
    let result = std::thread::scope(|scope| {
        // Writing beside reading: a program may answer before it has read everything.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })?;
    if !result.status.success() {
        let said = String::from_utf8_lossy(&result.stderr);
        let called: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("{} {} failed: {}", command.get_program().display(), called.join(" "), said.trim());
    }
    Ok(String::from_utf8(result.stdout)?)
}

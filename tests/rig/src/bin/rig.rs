//! `rig up [control-plane|node]` brings a rig up and leaves it running; `rig down` ends it. On a rig that runs already, `rig
//! up` registers the accounts that it names, and changes nothing else.
//! A process in the background owns the rig: ending that process ends the rig, whatever ended it.

use anyhow::{Context, Result, anyhow, bail};
use countersign_rig::{Entry, Image, Options, Rig, libraries, register_on};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// The images of the operator and of the sidecar in a rig that people use.
const OPERATOR: &str = "countersign.test/countersign:dev";
const SIDECAR: &str = "countersign.test/authbridge:dev";

/// Programs of which images are made.
#[derive(Default)]
struct Images {
    operator: Option<PathBuf>,
    sidecar: Option<PathBuf>,
}

const USAGE: &str = "usage: rig up [control-plane|node] [--folder DIR] [--without-policy] [--without-spire]
              [--operator PROGRAM] [--sidecar PROGRAM] [--register NAMESPACE/ACCOUNT]…
       rig down [--folder DIR]";

fn main() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let action = arguments.next().context(USAGE)?;
    let mut options = Options::default();
    let mut size = "node".to_owned();
    let (mut images, mut accounts) = (Images::default(), Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "control-plane" | "node" => size = argument,
            "--folder" => options.folder = Some(arguments.next().context(USAGE)?.into()),
            "--without-policy" => options.without_policy = true,
            "--without-spire" => options.without_spire = true,
            "--register" => accounts.push(arguments.next().context(USAGE)?),
            "--operator" => images.operator = Some(arguments.next().context(USAGE)?.into()),
            "--sidecar" => images.sidecar = Some(arguments.next().context(USAGE)?.into()),
            _ => bail!("{argument:?} is not understood; {USAGE}"),
        }
    }
    let base = std::env::var_os("RIG_DIR")
        .map_or_else(|| std::env::temp_dir().join("countersign-rig"), PathBuf::from);
    let folder = options.folder.get_or_insert(base.join("cluster")).clone();
    match action.as_str() {
        "up" => up(&size, &folder, &accounts),
        "down" => down(&folder),
        "hold" => hold(&size, &options, &folder, &images, &accounts),
        _ => bail!("{action:?} is not understood; {USAGE}"),
    }
}

/// Starts the owner in the background and waits until it says that the rig is up.
fn up(size: &str, folder: &Path, accounts: &[String]) -> Result<()> {
    Rig::is_supported().map_err(|why| anyhow!(why))?;
    if let Some((_, init)) = running(folder)? {
        println!("a rig runs in {} already, with the images that it began with", folder.display());
        return register(init, accounts);
    }
    std::fs::create_dir_all(folder.parent().context("the folder has no parent")?)?;
    let messages = folder.with_extension("up");
    let file = std::fs::File::create(&messages)?;
    let mut owner = Command::new(std::env::current_exe()?)
        .arg("hold")
        .args(std::env::args_os().skip(2))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // The interrupt that ends this command must not end the rig.
        .process_group(0)
        .spawn()?;
    let ready = folder.join("ready");
    let said = loop {
        if let Some(status) = owner.try_wait()? {
            break Err(status);
        }
        if ready.exists() {
            break Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let messages_text = std::fs::read_to_string(&messages).unwrap_or_default();
    std::fs::remove_file(&messages)?;
    if let Err(status) = said {
        bail!("{} ({status})", messages_text.trim());
    }
    println!("the {size} rig runs; use it, and end it with `make cluster-down`:");
    println!("export KUBECONFIG={}/kubeconfig", folder.display());
    Ok(())
}

/// Owns a rig until it is killed.
fn hold(size: &str, options: &Options, folder: &Path, images: &Images, accounts: &[String]) -> Result<()> {
    let rig = if size == "node" { Rig::node(options)? } else { Rig::control_plane_with(options)? };
    if let Some(program) = &images.operator {
        import(&rig, OPERATOR, program, ("/countersign", Some("/manager")))?;
    }
    if let Some(program) = &images.sidecar {
        import(&rig, SIDECAR, program, ("/authbridge", None))?;
    }
    for account in accounts {
        let (namespace, account) = parted(account)?;
        rig.spire().register(namespace, account)?;
    }
    let ready = rig.folder().join("ready.new");
    std::fs::write(&ready, format!("{} {}", std::process::id(), rig.init_pid()))?;
    std::fs::rename(&ready, folder.join("ready"))?;
    loop {
        std::thread::park();
    }
}

/// Namespace and name of an account.
fn parted(account: &str) -> Result<(&str, &str)> {
    account.split_once('/').with_context(|| format!("{account:?} is not NAMESPACE/ACCOUNT; {USAGE}"))
}

/// Registers accounts on a rig that runs.
fn register(init: Pid, accounts: &[String]) -> Result<()> {
    let init = u32::try_from(init.as_raw_nonzero().get())?;
    for account in accounts {
        let (namespace, name) = parted(account)?;
        if register_on(init, namespace, name)? {
            println!("SPIRE gives SVIDs to {account} from now on");
        }
    }
    Ok(())
}

/// Owner and process 1 of the rig that runs in a folder; `None` without one.
fn running(folder: &Path) -> Result<Option<(Pid, Pid)>> {
    let Ok(ready) = std::fs::read_to_string(folder.join("ready")) else { return Ok(None) };
    let pids: Vec<Pid> = ready.split(' ').filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    let [owner, init] = *pids.as_slice() else { bail!("{}/ready is damaged", folder.display()) };
    Ok(test_kill_process(init).is_ok().then_some((owner, init)))
}

/// Makes an image as its Dockerfile does, but for the libraries of a program that is linked dynamically.
fn import(rig: &Rig, name: &str, program: &Path, (path, link): (&str, Option<&str>)) -> Result<()> {
    let shared = libraries(program)?;
    let mut files = vec![Entry::File(program, path)];
    files.extend(link.map(|link| Entry::Link(link, path)));
    files.extend(shared.iter().filter_map(|file| Some(Entry::File(file, file.to_str()?))));
    rig.import_image(&Image { name, files, entrypoint: vec![path], user: "65532:65532" })
}

/// Ends the owner of the rig, and waits until the rig is gone.
fn down(folder: &Path) -> Result<()> {
    let Some((owner, init)) = running(folder)? else {
        println!("no rig runs in {}", folder.display());
        return Ok(());
    };
    if test_kill_process(owner).is_ok() {
        kill_process(owner, Signal::TERM)?;
    }
    for _ in 0..300 {
        if test_kill_process(init).is_err() && !folder.exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the rig in {} did not end within 30 s: process {} is left", folder.display(), init.as_raw_pid())
}

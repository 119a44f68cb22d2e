//! The commands of README.md, docs/ and the other documents, run as they stand there. Each block says how it is held
//! (`tests/support/commands.rs`); one that says nothing fails. Blocks for a cluster are those of docs/install.md, which
//! `tests/cluster/tests/walk.rs` runs.
//!
//! They run in a folder that looks like a checkout, with a release profile that builds fast; `countersign` is the
//! program that the README's own `cargo install` puts there, `authbridge` the one that it builds.
#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the files and the clock of the machine it runs on"
)]

#[path = "../support/commands.rs"]
mod commands;

use crate::authority::{Authority, card};
use crate::run::Folder;
use commands::{Block, How, blocks, missing};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const README: &str = include_str!("../../README.md");
const MAKEFILE: &str = include_str!("../../Makefile");

/// What a newcomer runs first.
const DEMO: &str = "cargo run --release -- demo";
/// The only document with blocks for a cluster.
const WALK: &str = "docs/install.md";
/// Where documents are, besides the top.
const FOLDERS: [&str; 6] = ["docs", "docs/adr", "examples", "charts/countersign", "fuzz", "policies"];

/// Serves on loopback alone, and needs no identity provider to start.
const CONFIG: &str = r#"
mode: proxy-sidecar
listener:
  reverse_proxy_addr: "127.0.0.1:18000"
  reverse_proxy_backend: "http://127.0.0.1:18001"
  forward_proxy_addr: "127.0.0.1:18081"
health: {address: "127.0.0.1:19091"}
stats: {address: "127.0.0.1:19093"}
session: {enabled: false}
pipeline:
  inbound:
    plugins:
      - name: jwt-validation
        config: {issuer: "http://127.0.0.1:18080/realms/agents", audience: weather}
"#;

#[test]
fn every_block_of_commands_does_what_it_says() {
    let checkout = Checkout::new("documents");
    // The two lines on top of the README; whoever runs this test has run the second.
    assert_eq!(spans(README).into_iter().take(2).collect::<Vec<_>>(), [DEMO, "make test"]);
    let shown = checkout.runs(DEMO);
    assert!(shown.contains("verified"), "{shown}");
    let (mut run, mut left) = (0, Vec::new());
    for (name, text) in documents() {
        for Block { line, how, script, prints } in blocks(&text).unwrap_or_else(|why| panic!("{name}: {why}"))
        {
            match how {
                How::Run => {
                    let printed = checkout.runs(&script);
                    let missing = missing(&prints, &printed);
                    assert!(missing.is_none(), "{name}:{line} does not print {missing:?}:\n{printed}");
                }
                How::Serve(address) => checkout.serves(&script, address),
                How::Cluster => assert_eq!(name, WALK, "line {line}: nobody runs this"),
                How::NotRun(why) => left.push(format!("{name}:{line}: {why}")),
            }
            run += usize::from(matches!(how, How::Run | How::Serve(_)));
        }
    }
    println!("{run} blocks; not run: {left:#?}");
    assert!(run >= 8, "the documents were not found");
}

#[test]
fn every_target_that_a_document_names_is_one_of_the_makefile() {
    let targets = targets();
    for (name, text) in documents() {
        let named = spans(&text).into_iter().filter_map(|span| span.strip_prefix("make ").map(str::to_owned));
        let named = named.filter_map(|rest| rest.split_whitespace().next().map(str::to_owned));
        let unknown: BTreeSet<String> = named.filter(|name| !targets.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

/// The name and text of every document for users.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
        names.sort();
        names.into_iter().map(move |name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    // The README comes first: it installs what the others run.
    let names = ["README.md", "SECURITY.md"]
        .map(str::to_owned)
        .into_iter()
        .chain(FOLDERS.into_iter().flat_map(pages));
    names.map(|name| (name.clone(), fs::read_to_string(root.join(&name)).unwrap())).collect()
}

fn targets() -> BTreeSet<&'static str> {
    let rules = MAKEFILE.lines().filter(|line| !line.starts_with(['\t', ' ', '#']));
    rules.filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect()
}

/// The texts between single backticks, outside code blocks.
fn spans(text: &str) -> Vec<&str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

/// A folder with everything that the documents take for granted: the tree, a bundle, a card, a configuration.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Self {
        let (root, folder) =
            (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(root).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            // The build of the tests is in use.
            if name == "target" || name == ".git" {
                continue;
            }
            let link = folder.join(name);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(path, link).unwrap();
        }
        let (files, authority) = (Folder::new(name), Authority::new("example.org"));
        files.write("card.json", card().to_string());
        authority.issue(&files, "svid", "spiffe://example.org/ns/agents/sa/weather", 10);
        let signed = files.run(&["sign", "card.json", "--key", "svid.key", "--chain", "svid.pem"]);
        fs::write(folder.join("bundle.json"), authority.spiffe_json()).unwrap();
        fs::write(folder.join("card.json"), signed.stdout).unwrap();
        fs::write(folder.join("config.yaml"), CONFIG).unwrap();
        Self(folder)
    }

    /// The command in a shell of its own, with what `cargo install` installs first on the path.
    fn shell(&self, command: &str) -> Command {
        let path = env::var("PATH").unwrap();
        let installed = self.0.join("installed");
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).current_dir(&self.0).stdin(Stdio::null());
        shell.env("PATH", format!("{}/bin:{}/target/release:{path}", installed.display(), self.0.display()));
        shell.env("CARGO_INSTALL_ROOT", installed).env_remove("CARGO_TARGET_DIR");
        let fast = [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "0"), ("STRIP", "false")];
        shell.envs(fast.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)));
        shell
    }

    /// What it prints.
    #[track_caller]
    fn runs(&self, command: &str) -> String {
        let Output { status, stdout, stderr } = self.shell(command).output().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(status.success(), "{command}: {status}\n{stdout}{stderr}");
        stdout
    }

    #[track_caller]
    fn serves(&self, command: &str, address: &str) {
        // `exec`, so that the process to end is the program and not its shell.
        let mut shell = self.shell(&format!("exec {command}"));
        let mut server = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        let answers = loop {
            let ended = server.try_wait().unwrap().is_some();
            let answers = std::net::TcpStream::connect(address).is_ok();
            if answers || ended || began.elapsed() > Duration::from_mins(1) {
                break answers && !ended;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let _ = server.kill();
        let output = server.wait_with_output().unwrap();
        assert!(answers, "{command} does not answer:\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

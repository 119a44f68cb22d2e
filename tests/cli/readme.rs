//! The commands of README.md, run as they stand there. Each has an entry in a table: what runs it, or why nothing
//! here can. A command without an entry fails, and so does an entry without its command.
//!
//! They run in a folder that looks like a checkout, with a release profile that builds fast; `countersign` is the
//! program that the README's own `cargo install` puts there.
#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the files and the clock of the machine it runs on"
)]

use crate::authority::{Authority, card};
use crate::run::Folder;
use How::{Elsewhere, NeedsCluster, Run, Serves};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const README: &str = include_str!("../../README.md");
const MAKEFILE: &str = include_str!("../../Makefile");

/// How a command of the README is held.
enum How {
    /// It ends with exit code 0 and prints this.
    Run(&'static str),
    /// It runs until it is ended, and answers at this address.
    Serves(&'static str),
    /// It needs a cluster that already has SPIRE.
    NeedsCluster,
    /// It is run by this target of the Makefile instead.
    Elsewhere(&'static str),
}

/// In the order of the README: later commands use what earlier ones made.
const COMMANDS: [(&str, How); 11] = [
    ("cargo run --release -- demo", Run("verified")),
    ("make test", Elsewhere("test")),
    ("cargo install --locked --path .", Run("")),
    (
        "helm install countersign charts/countersign --namespace countersign-system --create-namespace \
         --set signatureVerification.enabled=true --set signatureVerification.enforceNetworkPolicies=true \
         --set signatureVerification.spireTrustDomain=example.org \
         --set signatureVerification.spireTrustBundle.configMapNamespace=spire-system",
        NeedsCluster,
    ),
    ("kubectl get agentcards -A", NeedsCluster),
    ("cargo build --release --locked --no-default-features --features sidecar --bin authbridge", Run("")),
    ("target/release/authbridge check --config config.yaml", Run("jwt-validation")),
    ("target/release/authbridge --config config.yaml", Serves("127.0.0.1:19091")),
    ("spire-server bundle show -format spiffe > bundle.json", NeedsCluster),
    (
        "countersign verify card.json --bundle bundle.json --trust-domain example.org \
         --expect-id spiffe://example.org/ns/agents/sa/weather",
        Run("verified"),
    ),
    (
        "countersign verify card.json --bundle bundle.json --trust-domain example.org \
         --expect-id spiffe://example.org/ns/agents/sa/weather -o json | jq -r .verdict",
        Run("verified"),
    ),
];

/// Runs until it finds something, with a nightly toolchain.
const FUZZ: (&str, How) = ("cargo +nightly fuzz run verify", Elsewhere("fuzz-smoke"));

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
fn every_command_of_the_readme_does_what_it_says() {
    let written = commands();
    let table: Vec<&(&str, How)> = COMMANDS.iter().chain([&FUZZ]).collect();
    let names: Vec<&str> = table.iter().map(|(command, _)| *command).collect();
    assert_eq!(written, names, "README.md and the table of this test name different commands");
    let checkout = Checkout::new();
    for (command, how) in table {
        match how {
            Run(prints) => checkout.runs(command, prints),
            Serves(address) => checkout.serves(command, address),
            NeedsCluster => {}
            Elsewhere(target) => assert!(targets().contains(target), "{command}: no target {target}"),
        }
    }
}

#[test]
fn every_target_that_the_readme_names_is_one_of_the_makefile() {
    let named = spans(README).into_iter().filter_map(|span| span.strip_prefix("make "));
    let named: BTreeSet<&str> = named.filter_map(|rest| rest.split_whitespace().next()).collect();
    assert!(named.contains("test"));
    let targets = targets();
    let unknown: Vec<_> = named.iter().filter(|name| !targets.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn targets() -> BTreeSet<&'static str> {
    let rules = MAKEFILE.lines().filter(|line| !line.starts_with(['\t', ' ', '#']));
    rules.filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect()
}

/// The texts between single backticks, outside code blocks.
fn spans(text: &str) -> Vec<&str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

/// Every command, in the order of the text: of the two lines on top, and of all `sh` blocks.
fn commands() -> Vec<String> {
    let on_top = spans(README).into_iter().take(2).map(str::to_owned);
    let blocks = README.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let joined: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
    let lines = joined.iter().flat_map(|block| block.lines());
    let without_comment = lines.map(|line| line.split(" #").next().unwrap_or_default());
    let words = without_comment.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    on_top.chain(words.filter(|line| !line.is_empty())).collect()
}

/// A folder with everything that the README takes for granted: the tree, a bundle, a card, a configuration.
struct Checkout(PathBuf);

impl Checkout {
    fn new() -> Self {
        let (root, folder) =
            (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme"));
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
        let (files, authority) = (Folder::new("readme"), Authority::new("example.org"));
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
        shell.env("PATH", format!("{}/bin:{path}", installed.display()));
        shell.env("CARGO_INSTALL_ROOT", installed).env_remove("CARGO_TARGET_DIR");
        let fast = [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "0"), ("STRIP", "false")];
        shell.envs(fast.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)));
        shell
    }

    #[track_caller]
    fn runs(&self, command: &str, prints: &str) {
        let Output { status, stdout, stderr } = self.shell(command).output().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(status.success(), "{command}: {status}\n{stdout}{stderr}");
        assert!(stdout.contains(prints), "{command} did not print {prints:?}:\n{stdout}{stderr}");
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

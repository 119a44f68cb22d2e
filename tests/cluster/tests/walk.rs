//! docs/install.md on a node of the rig, word for word: from nothing to agents that talk because they are verified, and
//! back to nothing.

#[path = "../../support/commands.rs"]
mod commands;

use commands::{Block, How, blocks, missing};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a walker reads.
const PAGE: &str = include_str!("../../../docs/install.md");

/// Stands between the outputs of two blocks.
const BETWEEN: &str = "=== the block of line";

#[test]
fn who_follows_the_page_sees_what_it_says() {
    let blocks: Vec<Block<'_>> =
        blocks(PAGE).unwrap().into_iter().filter(|block| block.how == How::Cluster).collect();
    assert!(blocks.first().is_some_and(|block| block.script.contains("make cluster")));
    // Paths of sockets must be short.
    let folder = std::env::temp_dir().join(format!("countersign-walk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();

    // One shell for the whole page: what a block sets, the next ones use.
    let begin = "set -euo pipefail\ntrap 'make cluster-down >/dev/null' EXIT\n".to_owned();
    let script = blocks.iter().fold(begin, |script, Block { line, script: more, .. }| {
        script + &format!("echo '{BETWEEN} {line}'\n{more}\n")
    });
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(root).stdin(Stdio::null());
    // Beside a cluster that somebody uses.
    let output = shell.env("RIG_DIR", &folder).env_remove("MAKEFLAGS").output().unwrap();
    let _ = std::fs::remove_dir_all(&folder);

    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let everything = format!("{stdout}\n--- standard error\n{stderr}");
    assert!(output.status.success(), "{}\n{everything}", output.status);
    for block in &blocks {
        let printed = stdout.split_once(&format!("{BETWEEN} {}\n", block.line)).map(|(_, after)| after);
        let printed = printed.and_then(|after| after.split(BETWEEN).next()).unwrap_or_default();
        let missing = missing(&block.prints, printed);
        assert!(missing.is_none(), "line {} does not print {missing:?}\n{everything}", block.line);
    }
}

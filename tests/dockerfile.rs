//! The Dockerfile for people with a container engine: it cannot run in the tests, so it is held to its promises.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

const DOCKERFILE: &str = include_str!("../Dockerfile");

#[test]
fn a_linter_finds_nothing_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let linter =
        Command::new(root.join("scripts/hadolint")).arg("Dockerfile").current_dir(root).output().unwrap();
    let said =
        [linter.stdout, linter.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(linter.status.success(), "{said}");
}

#[test]
fn the_image_has_no_shell_and_runs_as_nobody() {
    let (_, last) = DOCKERFILE.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("scratch\n"));
    assert!(last.contains("\nUSER 65532:65532\n"));
    assert!(!last.contains("\nRUN "), "the last stage has nothing that could run a command");
}

#[test]
fn it_is_given_every_file_that_the_build_names() {
    let allowed: Vec<&str> =
        include_str!("../.dockerignore").lines().filter_map(|line| line.strip_prefix('!')).collect();
    let manifest: toml::Table = toml::from_str(include_str!("../Cargo.toml")).unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let mut needed = vec!["Cargo.lock".to_owned(), "Cargo.toml".to_owned(), "src".to_owned()];
    for member in members {
        needed.extend(["Cargo.toml", "src"].map(|file| format!("{}/{file}", member.as_str().unwrap())));
    }
    if manifest.contains_key("bench") {
        needed.push("benches".to_owned());
    }
    for path in &needed {
        assert!(allowed.contains(&path.as_str()), "{path} is missing in .dockerignore");
    }
}

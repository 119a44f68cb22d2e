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
fn the_sidecar_and_netinit_are_one_image_without_a_shell() {
    let (_, stage) = DOCKERFILE.split_once("\nFROM scratch AS authbridge\n").unwrap();
    let (stage, _) = stage.split_once("\nFROM ").unwrap();
    assert!(stage.contains("\nUSER 1337:1337\n"), "netinit lets out this user's traffic: {stage}");
    assert!(
        stage.contains("\nCOPY --from=build-sidecar /sidecar/ /\n") && !stage.contains("\nRUN "),
        "{stage}"
    );
    assert!(DOCKERFILE.contains("install -D /usr/sbin/nft /sidecar/bin/nft"));
}

#[test]
fn documents_say_how_each_image_is_built_and_name_its_stage() {
    let is_stage = |name: &str| DOCKERFILE.contains(&format!(" AS {name}\n"));
    let authbridge = include_str!("../docs/authbridge.md");
    for (page, text) in [
        ("README.md", include_str!("../README.md")),
        ("docs/authbridge.md", authbridge),
        ("docs/install.md", include_str!("../docs/install.md")),
        ("docs/netinit.md", include_str!("../docs/netinit.md")),
    ] {
        let stages: Vec<&str> = text
            .split("docker build --target ")
            .skip(1)
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        assert_eq!(stages, ["authbridge"], "{page}");
        assert!(stages.into_iter().all(is_stage), "{page}");
    }
    let (_, stage) = DOCKERFILE.split_once("FROM scratch AS authbridge\n").unwrap();
    assert!(
        stage.contains("ENTRYPOINT [\"/authbridge\"]\nCMD [\"--config\", \"/etc/authbridge/config.yaml\"]")
    );
    assert!(authbridge.contains("`--config /etc/authbridge/config.yaml`"));
}

#[test]
fn builds_that_run_at_once_share_no_cache_that_they_write() {
    let stages = DOCKERFILE.split("\nFROM ").filter(|stage| stage.contains("--mount=type=cache"));
    let mut ids = Vec::new();
    for stage in stages {
        let mounts: Vec<&str> = stage.split("--mount=type=cache,").skip(1).collect();
        let mounts = mounts.into_iter().map(|mount| mount.split_whitespace().next().unwrap());
        for options in mounts.map(|mount| mount.split(',').collect::<Vec<_>>()) {
            if options.contains(&"target=/source/target") {
                let id = options.iter().find_map(|option| option.strip_prefix("id=")).unwrap();
                assert!(id.ends_with("-$TARGETARCH") && stage.contains("\nARG TARGETARCH\n"), "{stage}");
                ids.push(id);
            } else {
                assert!(options.contains(&"sharing=locked"), "{options:?}");
            }
        }
    }
    assert_eq!(ids, ["target-musl-$TARGETARCH", "target-glibc-$TARGETARCH"]);
}

#[test]
fn it_is_given_every_file_that_the_build_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker-context");
    drop(std::fs::remove_dir_all(&context));
    for path in include_str!("../.dockerignore").lines().filter_map(|line| line.strip_prefix('!')) {
        copy(&root.join(path), &context.join(path));
    }
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(&context)
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    if from.is_dir() {
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

//! Completions and manual pages that are checked in are those of the command line.

use crate::run::Folder;
use std::collections::BTreeMap;
use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "a test reads the files of its own source tree")]
fn files(folder: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), text)
        })
        .collect()
}

#[test]
fn completions_are_current() {
    let folder = Folder::new("completions");
    let mut kept = files("completions");
    for shell in ["bash", "zsh", "fish"] {
        let run = folder.run(&["completions", shell]);
        assert_eq!(run.code, 0);
        let name = format!("countersign.{shell}");
        assert_eq!(kept.remove(&name).as_ref(), Some(&run.stdout), "{name} is out of date: run `make docs`");
    }
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn the_schema_of_results_is_current_and_knows_its_version() {
    let run = Folder::new("schema").run(&["schema"]);
    let kept = files("schemas").remove("report.schema.json");
    assert_eq!(kept, Some(run.stdout.clone()), "schemas/report.schema.json is out of date: run `make docs`");
    let schema = jsonschema::draft202012::new(&run.json()).unwrap();
    assert!(!schema.is_valid(&serde_json::json!({ "verdict": "verified" })), "members may be left out");
}

#[cfg(feature = "check")]
#[test]
fn the_schema_of_checks_is_current() {
    let run = Folder::new("schema-check").run(&["schema", "check"]);
    let kept = files("schemas").remove("check.schema.json");
    assert_eq!(kept, Some(run.stdout.clone()), "schemas/check.schema.json is out of date: run `make docs`");
    let schema = jsonschema::draft202012::new(&run.json()).unwrap();
    assert!(!schema.is_valid(&serde_json::json!({ "findings": [] })), "members may be left out");
}

#[test]
fn what_writes_completions_and_manual_pages_is_in_the_help() {
    let help = Folder::new("help").run(&["--help"]).stdout;
    for command in ["completions", "man", "schema"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
    }
}

#[test]
fn manual_pages_are_current() {
    let folder = Folder::new("man");
    assert_eq!(folder.run(&["man", "."]).code, 0);
    let made: BTreeMap<_, _> =
        folder.files().into_iter().map(|name| (name.clone(), folder.read(&name))).collect();
    assert!(made.len() > 7, "one page per command: {:?}", made.keys());
    assert!(made == files("man"), "man/ is out of date: run `make docs`");
    folder.run(&["man", "absent"]).assert_unusable("cannot write");
}

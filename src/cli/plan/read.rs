//! Manifest files as documents: YAML or JSON, several per file, lists taken apart.

use crate::exit::Unusable;
use countersign_api::yaml::{Diagnostic, Place, syntax_problem};
use countersign_core::text::Quoted;
use countersign_io::files::{is_stdin, read_text};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Largest manifest file, in bytes; a stored object is at most 1.5 MiB.
const FILE_BYTES: usize = 8 * 1024 * 1024;
/// Most files read from one directory.
const FILES: usize = 10_000;

/// One object and the file that it came from.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) file: String,
    pub(super) object: Value,
}

/// All objects of these files and directories, in order.
pub(super) fn documents(paths: &[PathBuf]) -> Result<Vec<Manifest>, Unusable> {
    let mut documents = Vec::new();
    for path in paths {
        for file in files(path)? {
            read(&file, &mut documents)?;
        }
    }
    Ok(documents)
}

/// The file itself, or the manifests directly in a directory, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Unusable> {
    if is_stdin(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let shown = Quoted(&path.to_string_lossy()).to_string();
    let unreadable =
        |error: std::io::Error| Unusable::new(format!("cannot list {shown}: {error}; check its permissions"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let manifest = file.extension().and_then(|extension| extension.to_str());
        if matches!(manifest, Some("yaml" | "yml" | "json")) && !file.is_dir() {
            found.push(file);
        }
        if found.len() > FILES {
            return Err(Unusable::new(format!(
                "{shown} holds more than {FILES} manifests; name a smaller one"
            )));
        }
    }
    if found.is_empty() {
        return Err(Unusable::new(format!(
            "{shown} holds no manifests; name a directory with *.yaml, *.yml or *.json files in it"
        )));
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path, documents: &mut Vec<Manifest>) -> Result<(), Unusable> {
    let text = read_text(path, FILE_BYTES)?;
    let file = path.to_string_lossy().into_owned();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| {
        let Diagnostic { place: Place { line, column }, problem, .. } = syntax_problem(&error);
        Unusable::new(format!("{} line {line} column {column}: {problem}", Quoted(&file)))
    })?;
    for object in objects {
        add(&file, object, documents);
    }
    Ok(())
}

/// Adds an object, or the items of a list.
fn add(file: &str, mut object: Value, documents: &mut Vec<Manifest>) {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    if let Some(Value::Array(items)) = object.get_mut("items").filter(|_| is_list) {
        for item in std::mem::take(items) {
            add(file, item, documents);
        }
    } else if !object.is_null() {
        documents.push(Manifest { file: file.to_owned(), object });
    }
}

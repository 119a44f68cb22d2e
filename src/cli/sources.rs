//! Cards that the arguments of `verify` name: files, URLs, directories and patterns, in the order of the arguments.

use super::exit::Unusable;
use countersign_core::text::Quoted;
use countersign_io::fetch::CardUrl;
use countersign_io::files::is_stdin;
use glob::{MatchOptions, Pattern};
use std::path::{Path, PathBuf};

/// Most cards of one run: a pattern that leads further is most likely a mistake, and a report of more is read by nobody.
const CARDS: usize = 10_000;
/// Most directories below one another, which bounds the depth of a walk.
const DEPTH: usize = 64;

/// Expands the arguments to single cards. A directory stands for its `*.json` files and those below it; `*` and `?` match
/// within a name, and `**` any directories. Symbolic links to directories are not followed.
pub(super) fn expand(arguments: &[String]) -> Result<Vec<String>, Unusable> {
    let mut found = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if CardUrl::looks_like(argument) || is_stdin(path) || path.is_file() {
            found.push(argument.clone());
            continue;
        }
        let mut walk = Walk::default();
        if path.is_dir() {
            walk.below(path, &["**", "*.json"], 0)?;
        } else if argument.contains(['*', '?']) {
            let (root, pattern) = match argument.strip_prefix('/') {
                Some(rest) => (Path::new("/"), rest),
                None => (Path::new(""), argument.as_str()),
            };
            let segments: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
            walk.below(root, &segments, 0)?;
        } else {
            // Reading it says why it cannot be read.
            found.push(argument.clone());
            continue;
        }
        if walk.files.is_empty() {
            return Err(Unusable::new(format!(
                "{} holds no cards; name files, a directory with *.json files, or a pattern that matches some",
                Quoted(argument)
            )));
        }
        walk.files.sort();
        walk.files.dedup();
        found.extend(walk.files.into_iter().map(|file| file.to_string_lossy().into_owned()));
        if found.len() > CARDS {
            return Err(too_many());
        }
    }
    Ok(found)
}

fn too_many() -> Unusable {
    Unusable::new(format!("the arguments name more than {CARDS} cards; verify them in several runs"))
}

/// Files that a pattern matches.
#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
}

impl Walk {
    fn below(&mut self, folder: &Path, segments: &[&str], depth: usize) -> Result<(), Unusable> {
        let Some((segment, rest)) = segments.split_first() else { return Ok(()) };
        if depth > DEPTH {
            return Err(Unusable::new(format!(
                "{} lies more than {DEPTH} directories deep; name a directory further down",
                Quoted(&folder.to_string_lossy())
            )));
        }
        if !segment.contains(['*', '?']) {
            let path = folder.join(segment);
            return if rest.is_empty() {
                self.add(path)
            } else {
                self.below(&path, rest, depth.saturating_add(1))
            };
        }
        if *segment == "**" {
            self.below(folder, rest, depth.saturating_add(1))?;
        }
        let pattern = pattern(segment)?;
        for (path, name, is_folder) in entries(folder)? {
            if *segment == "**" {
                if is_folder {
                    self.below(&path, segments, depth.saturating_add(1))?;
                }
            } else if pattern.matches_with(&name, AS_IN_A_SHELL) {
                if rest.is_empty() {
                    self.add(path)?;
                } else if is_folder {
                    self.below(&path, rest, depth.saturating_add(1))?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf) -> Result<(), Unusable> {
        if path.is_file() {
            self.files.push(path);
        }
        if self.files.len() > CARDS { Err(too_many()) } else { Ok(()) }
    }
}

/// Entries of a directory: path, name, and whether it is a directory itself. What is no directory has none.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String, bool)>, Unusable> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !listed.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = |error: std::io::Error| {
        let shown = Quoted(&listed.to_string_lossy()).to_string();
        Unusable::new(format!("cannot list {shown}: {error}; check its permissions"))
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(listed).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        all.push((folder.join(entry.file_name()), name, is_folder));
    }
    Ok(all)
}

/// Pattern of one name, in which `*` matches any text and `?` one character; a `[` is a letter like others.
fn pattern(segment: &str) -> Result<Pattern, Unusable> {
    // Two stars inside of a name match what one does, and the library takes them for the start of `**`.
    let mut single = segment.replace('[', "[[]");
    while single.contains("**") {
        single = single.replace("**", "*");
    }
    Pattern::new(&single)
        .map_err(|error| Unusable::new(format!("{} is no pattern: {}", Quoted(segment), error.msg)))
}

/// A name that begins with a dot is matched only by a pattern that does, as in a shell.
const AS_IN_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        for (pattern, name, expected) in [
            ("*.json", "card.json", true),
            ("*.json", ".hidden.json", false),
            (".*.json", ".hidden.json", true),
            ("*.json", "card.json.bak", false),
            ("card?.json", "card1.json", true),
            ("card?.json", "card.json", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*", "", true),
            ("a**b", "axb", true),
            ("card?.json", "cardü.json", true),
            ("[a]*.json", "[a]1.json", true),
            ("[a]*.json", "a1.json", false),
            ("*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            let found = super::pattern(pattern).unwrap().matches_with(name, AS_IN_A_SHELL);
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }
}

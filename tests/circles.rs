//! No circle of imports between the files of a layer: a file can be read once what it imports is understood.
//! Cargo refuses circles between crates; inside one, only this test does.

#[expect(dead_code, reason = "other tests use more of it")]
mod source_tree;

use proc_macro2::{Delimiter, TokenTree};
use source_tree::{File, is_rust, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Path of a module in its crate; empty for `lib.rs`.
type Module = Vec<String>;
/// Segments of an imported path, from its root.
type Path = Vec<String>;

/// Longest chain of re-exports that is followed to the file that defines a name.
const REEXPORTS: usize = 5;

/// What one file imports, and what it offers again under its own path.
#[derive(Debug, Default)]
struct Imports {
    uses: Vec<Path>,
    reexports: Vec<Path>,
}

fn module_of(layer: &str, file: &str) -> Option<Module> {
    let inside = file.strip_prefix(layer)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let mut parts: Module = inside.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    Some(parts)
}

fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Appends the paths of a use tree, such as `super::{a::B, c}`, to `all`. A rename keeps the original name.
fn expand(prefix: &Path, tree: &[TokenTree], all: &mut Vec<Path>) {
    for branch in tree.split(|token| is(Some(token), ',')) {
        let mut path = prefix.clone();
        let mut is_leaf = true;
        for token in branch {
            match token {
                TokenTree::Ident(ident) if *ident == "as" => break,
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    expand(&path, &group.stream().into_iter().collect::<Vec<_>>(), all);
                    is_leaf = false;
                }
                _ => {}
            }
        }
        if is_leaf && !path.is_empty() {
            all.push(path);
        }
    }
}

/// Adds the imports in `list`, and in its groups, to `found`. Inline test modules are left out.
fn collect(list: &[TokenTree], found: &mut Imports) {
    let at = |index: usize| list.get(index);
    let mut index = 0_usize;
    while let Some(token) = at(index) {
        let next = index.saturating_add(1);
        match token {
            TokenTree::Ident(ident) if *ident == "mod" && word(at(next)).as_deref() == Some("tests") => {
                return;
            }
            TokenTree::Ident(ident) if *ident == "use" => {
                let rest = list.get(next..).unwrap_or_default();
                let end = rest.iter().position(|token| is(Some(token), ';')).unwrap_or(rest.len());
                let is_public = index.checked_sub(1).is_some_and(|last| match at(last) {
                    Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
                    before => word(before).as_deref() == Some("pub"),
                });
                let paths = if is_public { &mut found.reexports } else { &mut found.uses };
                expand(&Path::new(), rest.get(..end).unwrap_or_default(), paths);
                index = next.saturating_add(end);
                continue;
            }
            TokenTree::Ident(ident) if (*ident == "crate" || *ident == "super") && is(at(next), ':') => {
                // A path in an expression or a type, which ends at the first token that is no `::name`.
                let mut path = vec![ident.to_string()];
                while is(at(index.saturating_add(1)), ':') && is(at(index.saturating_add(2)), ':') {
                    let Some(name) = word(at(index.saturating_add(3))) else { break };
                    path.push(name);
                    index = index.saturating_add(3);
                }
                found.uses.push(path);
            }
            TokenTree::Group(group) => collect(&group.stream().into_iter().collect::<Vec<_>>(), found),
            _ => {}
        }
        index = index.saturating_add(1);
    }
}

/// The files of one crate, and who imports whom.
struct Crate {
    files: BTreeMap<Module, Imports>,
}

impl Crate {
    fn read(layer: &str, files: &[File]) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for file in files.iter().filter(|file| is_rust(file)) {
            let Some(module) = module_of(layer, &file.path) else { continue };
            let mut found = Imports::default();
            collect(&tokens(file)?.into_iter().collect::<Vec<_>>(), &mut found);
            all.insert(module, found);
        }
        Ok(Self { files: all })
    }

    /// The file of this crate in which the last name of `path`, written in `from`, is defined.
    fn target(&self, from: &Module, path: &Path, depth: usize) -> Option<Module> {
        let mut module = from.clone();
        let mut rest = path.as_slice();
        match rest.split_first() {
            Some((first, tail)) if first == "crate" => (module, rest) = (Module::new(), tail),
            Some((first, tail)) if first == "self" => rest = tail,
            Some((first, _)) if first == "super" => {
                while let Some((_, tail)) = rest.split_first().filter(|(first, _)| *first == "super") {
                    module.pop();
                    rest = tail;
                }
            }
            Some((first, _)) => {
                module.push(first.clone());
                self.files.get(&module)?;
                rest = rest.get(1..).unwrap_or_default();
            }
            None => return None,
        }
        while let Some((first, tail)) = rest.split_first() {
            module.push(first.clone());
            if !self.files.contains_key(&module) {
                module.pop();
                break;
            }
            rest = tail;
        }
        let offered = self.files.get(&module)?;
        let again =
            offered.reexports.iter().find(|path| path.last().is_some() && path.last() == rest.first());
        match again.filter(|_| depth < REEXPORTS) {
            Some(path) => self.target(&module, path, depth.saturating_add(1)).or(Some(module)),
            None => Some(module),
        }
    }

    fn imports(&self, from: &Module) -> BTreeSet<Module> {
        let paths = self.files.get(from).map(|found| found.uses.as_slice()).unwrap_or_default();
        paths.iter().filter_map(|path| self.target(from, path, 0)).filter(|to| to != from).collect()
    }

    /// A shortest circle of files, if there is one.
    fn circle(&self) -> Option<Vec<Module>> {
        let edges: BTreeMap<&Module, BTreeSet<Module>> =
            self.files.keys().map(|from| (from, self.imports(from))).collect();
        let mut shortest: Option<Vec<Module>> = None;
        for start in self.files.keys() {
            let mut seen = BTreeSet::new();
            let mut ways: Vec<Vec<Module>> = vec![vec![start.clone()]];
            'search: while !ways.is_empty() {
                let mut longer = Vec::new();
                for way in ways {
                    for to in way.last().and_then(|last| edges.get(last)).into_iter().flatten() {
                        if to == start {
                            if shortest.as_ref().is_none_or(|best| way.len() < best.len()) {
                                shortest = Some(way);
                            }
                            break 'search;
                        }
                        if seen.insert(to.clone()) {
                            longer.push([way.as_slice(), std::slice::from_ref(to)].concat());
                        }
                    }
                }
                ways = longer;
            }
        }
        shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use source_tree::text_files;

    const LAYERS: [&str; 8] = ["core", "api", "plan", "io", "controller", "operator", "authbridge", "cli"];

    fn circle(files: &[(&str, &str)]) -> Option<Vec<String>> {
        let files: Vec<File> = files
            .iter()
            .map(|(path, text)| File { path: format!("src/x/{path}"), text: (*text).to_owned() })
            .collect();
        let found = Crate::read("src/x", &files).unwrap().circle()?;
        Some(found.iter().map(|module| module.join("::")).collect())
    }

    #[test]
    fn files_of_a_layer_do_not_import_each_other_in_a_circle() {
        for layer in LAYERS {
            let folder = format!("src/{layer}");
            let read = Crate::read(&folder, &text_files(&folder).unwrap()).unwrap();
            assert!(read.files.len() > 5, "{layer} has files");
            let found: Option<Vec<String>> =
                read.circle().map(|circle| circle.iter().map(|module| module.join("::")).collect());
            assert_eq!(
                found, None,
                "files of {layer} that import each other; take what both need into a third"
            );
        }
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let lib = ("lib.rs", "mod a; mod b;");
        for (a, b) in [
            ("use super::b::B;", "use crate::a::A;"),
            ("use crate::b::{self, B};", "fn f() { super::a::f(); }"),
            ("use crate::{b::B as C};", "use super::a;"),
        ] {
            let found = circle(&[lib, ("a.rs", a), ("b.rs", b)]);
            assert_eq!(found, Some(vec!["a".to_owned(), "b".to_owned()]), "{a} {b}");
        }
        let again = [
            ("lib.rs", "mod a; mod b; pub use b::B;"),
            ("a.rs", "use crate::B;"),
            ("b.rs", "use super::a::A;"),
        ];
        assert!(circle(&again).is_some(), "a re-export hides no file");
        let three =
            [("lib.rs", ""), ("a.rs", "use super::b;"), ("b.rs", "use super::c;"), ("c.rs", "use super::a;")];
        assert_eq!(circle(&three).map(|found| found.len()), Some(3));
    }

    #[test]
    fn what_is_no_circle_is_none() {
        let lib = ("lib.rs", "mod a; mod b;");
        for (a, b) in [
            ("use super::b::B;", "use std::fmt; use serde::a;"),
            ("use super::b::B;", "struct B; mod tests { use crate::a::A; }"),
            ("// use super::b;", "use super::a::A;"),
        ] {
            assert_eq!(circle(&[lib, ("a.rs", a), ("b.rs", b)]), None, "{a} {b}");
        }
    }
}

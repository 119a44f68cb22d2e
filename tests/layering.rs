//! The frame of the source: which layer may use which, how long a file may be, what may not be written,
//! and which dependencies the core and the shipped binaries do not have.

mod source_tree;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use source_tree::{File, is_rust, text_files, tokens, walk};
use std::collections::BTreeSet;
use std::process::Command;

/// What each top module may name besides itself. `bin` and `lib` are the files of those names.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("api", &["core"]),
    ("plan", &["core", "api"]),
    ("io", &["core", "api"]),
    ("operator", &["core", "api", "plan", "io"]),
    ("sidecar", &["core", "api", "plan", "io"]),
    ("cli", &["core", "api", "plan", "io"]),
    ("lib", &["core", "api", "plan", "io", "operator", "sidecar", "cli"]),
    ("bin", &["operator", "sidecar", "cli"]),
];

/// Longest source file, in lines without its inline tests.
const LONGEST_FILE: usize = 500;
/// Largest median length of a source file, in lines without its inline tests.
const LARGEST_MEDIAN: usize = 150;

/// The direct dependencies of the core; one more is a decision with an ADR.
const CORE_DEPENDENCIES: [&str; 6] =
    ["base64", "ring", "rustls-pki-types", "rustls-webpki", "ryu-js", "x509-parser"];

/// The modules that a file lies in: `src/core/json/read.rs` is `core`, `json`, `read`.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let stem = inside.strip_suffix(".rs").unwrap_or(inside);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.split('/').map(str::to_owned).collect()
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => {
            let text = ident.to_string();
            Some(text.strip_prefix("r#").map(str::to_owned).unwrap_or(text))
        }
        _ => None,
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<TokenStream> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group.stream()),
        _ => None,
    }
}

/// The top modules named by what follows `crate::`, which may be one name or a group of paths.
fn heads(rest: &[TokenTree], found: &mut BTreeSet<String>) {
    if let Some(name) = ident(rest.first()) {
        found.insert(name);
    } else if is_punct(rest.first(), '*') {
        found.insert("*".to_owned());
    } else if let Some(stream) = group(rest.first(), Delimiter::Brace) {
        let list: Vec<TokenTree> = stream.into_iter().collect();
        for path in list.split(|token| is_punct(Some(token), ',')) {
            heads(path, found);
        }
    }
}

/// Collects every top module that `stream` names by `crate::`, `countersign::` or enough `super::`.
/// `depth` is how many modules deep the stream lies.
fn named_modules(stream: TokenStream, depth: usize, found: &mut BTreeSet<String>) {
    let list: Vec<TokenTree> = stream.into_iter().collect();
    let mut next_depth = depth;
    for (at, token) in list.iter().enumerate() {
        let rest = list.get(at..).unwrap_or_default();
        match token {
            TokenTree::Group(group) => {
                named_modules(group.stream(), next_depth, found);
                next_depth = depth;
            }
            TokenTree::Ident(word) if *word == "mod" => next_depth = depth.saturating_add(1),
            TokenTree::Punct(punct) if punct.as_char() == ';' => next_depth = depth,
            TokenTree::Ident(word) if *word == "crate" || *word == "countersign" => {
                if let Some(after) = after_colons(rest) {
                    heads(after, found);
                }
            }
            // A chain is read from its first `super`; the ones after it are shorter chains of themselves.
            TokenTree::Ident(word) if *word == "super" => {
                let mut climbed = 1_usize;
                let mut path = after_colons(rest);
                while let Some(after) = path {
                    if ident(after.first()).as_deref() != Some("super") {
                        break;
                    }
                    climbed = climbed.saturating_add(1);
                    path = after_colons(after);
                }
                if climbed == depth
                    && let Some(after) = path
                {
                    heads(after, found);
                }
            }
            _ => {}
        }
    }
}

/// What follows `word ::`, if colons do.
fn after_colons(rest: &[TokenTree]) -> Option<&[TokenTree]> {
    (is_punct(rest.get(1), ':') && is_punct(rest.get(2), ':')).then(|| rest.get(3..).unwrap_or_default())
}

/// Every use of a layer that `file` may not use, as sentences.
fn layering_violations(file: &File) -> Result<Vec<String>, String> {
    let modules = module_path(&file.path);
    let top = modules.first().map_or("", String::as_str);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == top) else {
        return Ok(vec![format!("{}: `{top}` is no layer; place it in LAYERS", file.path)]);
    };
    let depth = if top == "lib" { 0 } else { modules.len() };
    let mut named = BTreeSet::new();
    named_modules(tokens(file)?, depth, &mut named);
    named.remove(top);
    // Items of the crate root itself, such as a macro, are not modules; modules start a layer.
    Ok(named
        .iter()
        .filter(|name| name.as_str() == "*" || LAYERS.iter().any(|(layer, _)| layer == name))
        .filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| format!("{}: `{top}` may not use `{name}`", file.path))
        .collect())
}

/// Lines of a file without its top-level `#[cfg(test)] mod … { … }`.
fn lines_without_tests(file: &File) -> Result<usize, String> {
    let all: Vec<TokenTree> = tokens(file)?.into_iter().collect();
    let mut lines = file.text.lines().count();
    for window in all.windows(5) {
        let [hash, attribute, module, _, body] = window else { continue };
        let is_test = is_punct(Some(hash), '#')
            && group(Some(attribute), Delimiter::Bracket)
                .is_some_and(|a| a.to_string().replace(' ', "") == "cfg(test)")
            && ident(Some(module)).as_deref() == Some("mod");
        if is_test && group(Some(body), Delimiter::Brace).is_some() {
            let (first, last) = (hash.span().start().line, body.span().end().line);
            lines = lines.saturating_sub(last.saturating_sub(first).saturating_add(1));
        }
    }
    Ok(lines)
}

/// Unfinished or silenced code in `file`, as sentences.
fn forbidden_code(file: &File) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    walk(tokens(file)?, &mut |list, attribute| {
        for (at, token) in list.iter().enumerate() {
            let Some(word) = ident(Some(token)) else { continue };
            let next = list.get(at.saturating_add(1));
            let called = group(next, Delimiter::Parenthesis).is_some();
            let wrong = match word.as_str() {
                "allow" => attribute && called,
                "ignore" => attribute && !called,
                "todo" | "unimplemented" => is_punct(next, '!'),
                _ => false,
            };
            if wrong {
                found.push(format!("{}:{}: `{word}`", file.path, token.span().start().line));
            }
        }
    });
    Ok(found)
}

fn rust_files() -> Result<Vec<File>, String> {
    let mut all = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        all.extend(text_files(folder).map_err(|error| format!("{folder}: {error}"))?);
    }
    all.retain(is_rust);
    Ok(all)
}

/// The package names in the normal dependency tree of this package under `arguments`.
fn dependencies(arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn violations(path: &str, text: &str) -> Vec<String> {
        layering_violations(&file(path, text)).unwrap()
    }

    #[test]
    fn layers_use_only_what_lies_below_them() {
        let files = rust_files().unwrap();
        let sources: Vec<&File> = files.iter().filter(|file| file.path.starts_with("src/")).collect();
        assert!(sources.len() > 5, "the scan found only {} files", sources.len());
        let found: Vec<String> = sources.iter().flat_map(|file| layering_violations(file).unwrap()).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn every_way_to_name_a_higher_layer_is_found() {
        for text in [
            "use crate::plan::Plan;",
            "use crate::{limits, plan::Plan};",
            "use crate::{core::{self, json}, plan};",
            "fn f() -> crate :: plan :: Plan { x }",
            "fn f() { let g = |x: u8| crate::plan::g(x); }",
            "mod tests { fn f() { crate::r#plan::g() } }",
            "use super::super::plan::Plan;",
            "mod tests { use super::super::super::plan; }",
            "macro_rules! m { () => { $crate::plan::f() } }",
            "use countersign::plan;",
            "#[doc(hidden)] pub use crate::plan;",
        ] {
            assert_eq!(
                violations("src/core/card.rs", text),
                ["src/core/card.rs: `core` may not use `plan`"],
                "{text}"
            );
        }
        assert_eq!(violations("src/core/mod.rs", "use super::plan;").len(), 1);
        assert_eq!(violations("src/core/card.rs", "use crate::*;").len(), 1);
        assert_eq!(violations("src/cli/mod.rs", "use crate::operator::run;").len(), 1);
        assert_eq!(violations("src/operator/mod.rs", "use crate::cli::run;").len(), 1);
        assert_eq!(violations("src/bin/x.rs", "use countersign::core::card;").len(), 1);
        assert_eq!(violations("src/helpers/mod.rs", "").len(), 1, "a module outside the layers");
    }

    #[test]
    fn comments_strings_and_neighbours_are_no_violation() {
        for text in [
            "// use crate::plan::Plan;\n/* crate::plan /* nested */ */ /// crate::plan\nfn f() {}",
            "const A: &str = \"crate::plan\"; const B: &str = r#\"use crate::plan;\"#; const C: char = '\"';",
            "use super::plan::Local; use super::super::core::limits; use crate::core::plan;",
            "fn f<'plan>(crate_plan: &'plan str) {}",
            "mod inner { use super::super::limits; }",
        ] {
            assert_eq!(violations("src/core/card.rs", text), [""; 0], "{text}");
        }
        assert_eq!(violations("src/plan/mod.rs", "use crate::core::verdict::Verdict;"), [""; 0]);
    }

    #[test]
    fn files_stay_short() {
        let files = rust_files().unwrap();
        let sources = files.iter().filter(|file| !file.path.starts_with("tests/"));
        let mut lengths: Vec<(usize, &str)> =
            sources.map(|file| (lines_without_tests(file).unwrap(), file.path.as_str())).collect();
        lengths.sort_unstable();
        let median = lengths[lengths.len() / 2].0;
        println!("{} files, median {median} lines, longest {:?}", lengths.len(), lengths.last());
        let long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > LONGEST_FILE).collect();
        assert!(long.is_empty(), "longer than {LONGEST_FILE} lines: {long:?}");
        assert!(median <= LARGEST_MEDIAN, "the median file has {median} lines");
    }

    #[test]
    fn inline_tests_do_not_count_as_length() {
        let text = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        assert_eq!(lines_without_tests(&file("src/x.rs", text)).unwrap(), 2);
        assert_eq!(lines_without_tests(&file("src/x.rs", "#[cfg(test)]\nuse a;\nfn f() {}\n")).unwrap(), 3);
    }

    #[test]
    fn nothing_is_unfinished_or_silenced() {
        let files = rust_files().unwrap();
        let found: Vec<String> = files.iter().flat_map(|file| forbidden_code(file).unwrap()).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn unfinished_and_silenced_code_is_found() {
        for text in [
            "#[allow(dead_code)] fn f() {}",
            "#![allow(dead_code)]",
            "#[cfg_attr(test, allow(dead_code))] fn f() {}",
            "fn f() { todo!() }",
            "fn f() { g(unimplemented!(\"later\")) }",
            "#[test] #[ignore] fn f() {}",
            "#[test] #[ignore = \"slow\"] fn f() {}",
        ] {
            assert_eq!(forbidden_code(&file("src/x.rs", text)).unwrap().len(), 1, "{text}");
        }
        let fine = "// #[allow(x)] todo!()\n#[expect(lint, reason = \"allow(ignore)\")] fn allow(ignore: u8) { allow(ignore) }";
        assert_eq!(forbidden_code(&file("src/x.rs", fine)).unwrap(), [""; 0]);
    }

    #[test]
    fn the_core_depends_on_parsers_and_cryptography_alone() {
        let mut direct = dependencies(&["--no-default-features", "--depth", "1"]).unwrap();
        assert!(direct.remove("countersign"));
        assert_eq!(direct.iter().map(String::as_str).collect::<Vec<_>>(), CORE_DEPENDENCIES);
        let all = dependencies(&["--no-default-features"]).unwrap();
        for absent in
            ["tokio", "kube", "hyper", "reqwest", "serde_json", "openssl", "aws-lc", "k8s-openapi", "rustls"]
        {
            let found: Vec<&String> = all
                .iter()
                .filter(|name| *name == absent || name.starts_with(&format!("{absent}-")))
                .filter(|name| !CORE_DEPENDENCIES.contains(&name.as_str()))
                .collect();
            assert!(found.is_empty(), "{absent} came into the core: {found:?}");
        }
    }

    #[test]
    fn the_sidecar_has_no_kubernetes() {
        let all = dependencies(&["--no-default-features", "--features", "sidecar"]).unwrap();
        assert!(all.contains("hyper") && all.contains("spiffe"), "the listing is incomplete");
        for absent in ["kube", "kube-client", "kube-core", "k8s-openapi", "openssl-sys", "aws-lc-rs"] {
            assert!(!all.contains(absent), "{absent} came into the sidecar");
        }
    }

    #[test]
    fn no_binary_links_a_second_crypto_provider() {
        let all = dependencies(&["--all-features"]).unwrap();
        assert!(all.contains("ring") && all.contains("rustls"), "the listing is incomplete");
        for absent in ["openssl", "openssl-sys", "aws-lc-rs", "aws-lc-sys", "native-tls", "josekit"] {
            assert!(!all.contains(absent), "{absent} came into the tree");
        }
    }

    #[test]
    fn the_tree_mentions_no_machine_path() {
        // Joined here, so that this file does not contain what it looks for.
        let marks = [
            ["/ro", "ot/"],
            ["/ho", "me/"],
            ["/Us", "ers/"],
            ["/work/sh", "ared"],
            ["../sh", "ared"],
            ["/tmp/ba", "sh_"],
        ];
        let files = text_files("").unwrap();
        assert!(files.iter().any(|file| file.path == "Cargo.toml"));
        for file in &files {
            for mark in marks.map(|parts| parts.concat()) {
                let line = file.text.lines().position(|line| line.contains(&mark));
                assert_eq!(line.map(|line| line + 1), None, "{} contains {mark}", file.path);
            }
        }
    }
}

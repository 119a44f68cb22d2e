//! The frame of the source: which layer may use which, how long a file may be, what may not be written,
//! and which dependencies the core and the shipped binaries do not have.

mod source_tree;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use source_tree::{File, is_rust, text_files, tokens, walk};
use std::collections::BTreeSet;
use std::process::Command;

/// Which crates of ours each layer may use. Cargo refuses circles; that neighbours stay apart is only said here.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("api", &["core"]),
    ("plan", &["core", "api"]),
    ("io", &["core", "api"]),
    ("controller", &["core", "api", "io"]),
    ("operator", &["core", "api", "plan", "io", "controller"]),
    ("authbridge", &["core", "api", "io"]),
    ("cli", &["core", "api", "plan", "io"]),
];

/// Longest source file, in lines without its inline tests.
const LONGEST_FILE: usize = 500;
/// Largest median length of a source file, in lines without its inline tests.
const LARGEST_MEDIAN: usize = 150;

/// The direct dependencies of the core; one more is a decision with an ADR.
const CORE_DEPENDENCIES: [&str; 6] =
    ["base64", "ring", "rustls-pki-types", "rustls-webpki", "ryu-js", "x509-parser"];

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
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// The layers that each layer depends on, also in its tests, as the manifests say.
    fn layers() -> Result<BTreeMap<String, BTreeSet<String>>, String> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .map_err(|error| format!("cargo metadata: {error}"))?;
        let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut found = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            let Ok(inside) = Path::new(manifest).strip_prefix(&root) else { continue };
            let layer = inside.parent().unwrap_or(inside).display().to_string();
            let names = list(&package["dependencies"]).into_iter();
            let ours =
                names.filter_map(|one| Some(one["name"].as_str()?.strip_prefix("countersign-")?.to_owned()));
            found.insert(layer, ours.collect());
        }
        Ok(found)
    }

    #[test]
    fn layers_use_only_what_lies_below_them() {
        let found = layers().unwrap();
        assert_eq!(
            found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            LAYERS.iter().map(|(layer, _)| *layer).collect(),
            "a crate below src/ that is no layer; place it in LAYERS"
        );
        for (layer, allowed) in LAYERS {
            let used = found[*layer].iter().map(String::as_str);
            let wrong: Vec<&str> = used.filter(|name| !allowed.contains(name)).collect();
            assert!(wrong.is_empty(), "`{layer}` may not use {wrong:?}");
        }
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
        let mut direct = dependencies(&["--package", "countersign-core", "--depth", "1"]).unwrap();
        assert!(direct.remove("countersign-core"));
        assert_eq!(direct.iter().map(String::as_str).collect::<Vec<_>>(), CORE_DEPENDENCIES);
        let all = dependencies(&["--package", "countersign-core"]).unwrap();
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
    fn what_asks_no_cluster_has_no_client_for_one() {
        let has_client = |features: &str| {
            let all = dependencies(&["--no-default-features", "--features", features]).unwrap();
            assert!(all.contains("countersign-cli"), "the listing is incomplete");
            all.contains("kube-client")
        };
        assert_eq!(["cli", "check", "operator"].map(has_client), [false, true, true]);
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
            ["/wo", "rk/shared"],
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

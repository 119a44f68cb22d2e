//! Reads the repository as text and as Rust tokens, for the tests that judge the tree itself.
//! Tokens, not lines: comments and strings can then neither hide a path nor pretend to be one.
#![expect(clippy::disallowed_methods, reason = "these tests read the source tree, which is their subject")]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::io;
use std::path::Path;

/// Folders that hold what tools made, not what people wrote.
const NOT_SOURCE: [&str; 7] =
    [".git", "target", "node_modules", "__pycache__", "artifacts", "corpus", "coverage"];

/// One text file of the repository.
pub(crate) struct File {
    /// Its path from the repository root, with `/` between the parts.
    pub(crate) path: String,
    /// Its text; files that are not UTF-8 are left out of the listing.
    pub(crate) text: String,
}

/// Every text file below `folder`, in path order; an absent folder is empty.
pub(crate) fn text_files(folder: &str) -> io::Result<Vec<File>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| NOT_SOURCE.contains(&name)) {
                    waiting.push(entry.path());
                }
            }
        } else if path.is_file() {
            match std::fs::read_to_string(&path) {
                Ok(text) => files.push(File { path: relative(root, &path), text }),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
}

/// True for a Rust source file.
pub(crate) fn is_rust(file: &File) -> bool {
    Path::new(&file.path).extension().is_some_and(|extension| extension == "rs")
}

/// The tokens of a Rust source text; what does not even lex is an error that names the file.
pub(crate) fn tokens(file: &File) -> Result<TokenStream, String> {
    file.text.parse().map_err(|error| format!("{}: {error}", file.path))
}

/// Calls `visit` with the token list of `stream` and of every group inside it, and says for each whether it
/// is the inside of an attribute.
pub(crate) fn walk(stream: TokenStream, visit: &mut impl FnMut(&[TokenTree], bool)) {
    fn inner(stream: TokenStream, attribute: bool, visit: &mut impl FnMut(&[TokenTree], bool)) {
        let list: Vec<TokenTree> = stream.into_iter().collect();
        visit(&list, attribute);
        let mut after_hash = false;
        for token in list {
            match token {
                TokenTree::Group(group) => {
                    let bracket = group.delimiter() == Delimiter::Bracket;
                    inner(group.stream(), attribute || (after_hash && bracket), visit);
                    after_hash = false;
                }
                TokenTree::Punct(punct) => {
                    after_hash = punct.as_char() == '#' || (after_hash && punct.as_char() == '!');
                }
                _ => after_hash = false,
            }
        }
    }
    inner(stream, false, visit);
}

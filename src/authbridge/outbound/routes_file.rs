//! The file of routes. One that vanishes or is empty leaves the routes that were read last: a volume is briefly empty while
//! it is replaced, and no route means that tokens go on unexchanged and nothing is denied. An explicit empty list has none.

use crate::config::{Diagnostic, Reading, Route, is_blank, parse_routes};
use crate::config_log::log_notices;
use countersign_core::text::Quoted;
use countersign_io::files::{FileError, read_text};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file of routes, in bytes.
const ROUTES_BYTES: usize = 1024 * 1024;

/// Routes of the file that was read last, with its path. They outlive a configuration, so that a reload at a moment
/// without the file keeps them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastRoutes(Arc<Mutex<Option<RoutesOf>>>);

/// Routes with the path of their file.
#[derive(Debug)]
struct RoutesOf {
    path: String,
    routes: Vec<Route>,
}

/// Contents of a file of routes.
struct RoutesFile {
    routes: Vec<Route>,
    notices: Vec<Diagnostic>,
}

impl LastRoutes {
    /// Routes of the file at `path`, and what is wrong with it if they are those of an earlier read. A file that was never
    /// there has none: it may appear later.
    pub(super) fn read(&self, path: &str, reading: Reading) -> Result<(Vec<Route>, Option<String>), String> {
        let found = read_routes(path, reading)?;
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (found, last.as_ref().filter(|last| last.path == path)) {
            (Some(RoutesFile { routes, notices }), before) => {
                if before.is_none_or(|before| before.routes != routes) {
                    log_notices(&notices);
                }
                *last = Some(RoutesOf { path: path.to_owned(), routes: routes.clone() });
                Ok((routes, None))
            }
            (None, Some(RoutesOf { routes, .. })) if !routes.is_empty() => {
                let problem = format!(
                    "{} is absent or empty, and its last {} routes count; write `[]` into it to have none",
                    Quoted(path),
                    routes.len()
                );
                Ok((routes.clone(), Some(problem)))
            }
            (None, _) => Ok((Vec::new(), None)),
        }
    }
}

/// Contents of a file; `None` if it is absent or empty.
fn read_routes(path: &str, reading: Reading) -> Result<Option<RoutesFile>, String> {
    let text = match read_text(Path::new(path), ROUTES_BYTES) {
        Ok(text) if is_blank(&text) => return Ok(None),
        Ok(text) => text,
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(FileError::Empty { .. }) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let parsed = parse_routes(&text, &|_| None, reading);
    parsed.map(|(routes, notices)| Some(RoutesFile { routes, notices })).map_err(|diagnostics| {
        let list: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        format!("{}: {}", Quoted(path), list.join("; "))
    })
}

//! The file of routes. One that vanishes or is empty leaves the routes that were read last: a volume is briefly empty while
//! it is replaced, and no route means that tokens go on unexchanged and nothing is denied. An explicit empty list has none.

use crate::config::{Config, Diagnostic, PluginSettings, Reading, Route, is_blank, parse_routes};
use crate::config_log::log_notices;
use countersign_core::text::Quoted;
use countersign_io::files::{FileError, read_text};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file of routes, in bytes.
const ROUTES_BYTES: usize = 1024 * 1024;

/// Routes of a file that were read last, by the configuration that names it. A reload hands them to the next configuration
/// only if that names the same file. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LastRoutes {
    path: String,
    routes: Arc<Mutex<Option<Vec<Route>>>>,
}

/// Contents of a file of routes.
struct RoutesFile {
    routes: Vec<Route>,
    notices: Vec<Diagnostic>,
}

/// Whether a file of routes that is absent from the start means that there are none: it may appear later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// At the start of the process, and for the default file, which nobody named.
    IsEmpty,
    /// When a reload names another file: its author counts on what it says.
    IsError,
}

impl LastRoutes {
    /// Nothing was read of the file at `path` yet.
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), routes: Arc::default() }
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Copy that the next configuration may change without a trace here if it is refused.
    pub(super) fn detached(&self) -> Self {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { path: self.path.clone(), routes: Arc::new(Mutex::new(routes)) }
    }

    /// Routes of the file, and what is wrong with it if they are those of an earlier read.
    pub(super) fn read(
        &self,
        reading: Reading,
        absence: Absence,
    ) -> Result<(Vec<Route>, Option<String>), String> {
        let found = read_routes(&self.path, reading)?;
        let mut last = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Quoted(&self.path);
        match (found, last.as_ref()) {
            (Some(RoutesFile { routes, notices }), before) => {
                if before.is_none_or(|before| *before != routes) {
                    log_notices(Path::new(&self.path), &notices);
                }
                *last = Some(routes.clone());
                Ok((routes, None))
            }
            (None, Some(routes)) if !routes.is_empty() => {
                let problem = format!(
                    "{path} is absent or empty, and its last {} routes count; write `[]` into it to have none",
                    routes.len()
                );
                Ok((routes.clone(), Some(problem)))
            }
            (None, None) if absence == Absence::IsError => Err(format!(
                "{path} is absent or empty, and was not read before; write the routes, or `[]` to have none"
            )),
            (None, _) => {
                // From now on its absence is known, and no reload that names it again is refused for that.
                *last = Some(Vec::new());
                Ok((Vec::new(), None))
            }
        }
    }
}

/// Reads the files of routes that a configuration names, as the start does; the list has notices.
pub(crate) fn check_routes_files(config: &Config, reading: Reading) -> Result<Vec<String>, String> {
    let mut notices = Vec::new();
    for plugin in &config.pipeline.outbound.plugins {
        let PluginSettings::TokenExchange(exchange) = &plugin.settings else { continue };
        let path = &exchange.routes.file;
        match read_routes(path, reading)? {
            Some(file) => notices.extend(file.notices.iter().map(|one| format!("{}: {one}", Quoted(path)))),
            None => notices.push(format!("{} is absent or empty: there are no routes from it", Quoted(path))),
        }
    }
    Ok(notices)
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

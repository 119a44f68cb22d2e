//! The file of routes. One that vanishes or is empty leaves the routes that were read last: a volume is briefly empty while
//! it is replaced, and no route means that tokens go on unexchanged and nothing is denied. An explicit empty list has none.

use crate::config::{Reading, Route, is_blank, parse_routes};
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
pub(crate) struct LastRoutes(Arc<Mutex<Option<(String, Vec<Route>)>>>);

impl LastRoutes {
    /// Routes of the file at `path`, and what is wrong with it if they are those of an earlier read. A file that was never
    /// there has none: it may appear later.
    pub(super) fn read(&self, path: &str) -> Result<(Vec<Route>, Option<String>), String> {
        let found = read_routes(path)?;
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (found, last.as_ref().filter(|(of, _)| of == path)) {
            (Some(routes), _) => {
                *last = Some((path.to_owned(), routes.clone()));
                Ok((routes, None))
            }
            (None, Some((_, routes))) if !routes.is_empty() => {
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

/// Routes of a file; `None` if it is absent or empty.
fn read_routes(path: &str) -> Result<Option<Vec<Route>>, String> {
    let text = match read_text(Path::new(path), ROUTES_BYTES) {
        Ok(text) if is_blank(&text) => return Ok(None),
        Ok(text) => text,
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(FileError::Empty { .. }) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let routes = parse_routes(&text, &|_| None, Reading::Strict);
    routes.map(|(routes, _)| Some(routes)).map_err(|diagnostics| {
        let list: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        format!("{}: {}", Quoted(path), list.join("; "))
    })
}

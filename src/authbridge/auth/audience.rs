//! Credential files of one line, such as the client ID that registration writes after the start.

use countersign_core::text::Quoted;
use countersign_io::files::read_text;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Largest credential file, in bytes.
const BYTES: usize = 16 * 1024;
/// Time between two reads of a credential file.
const LOOK: Duration = Duration::from_secs(2);
/// Failed reads between two warnings; with [`LOOK`] one warning per minute.
const WARN_EVERY: u32 = 30;

/// Reads a credential file, which must hold one line without control characters: the value is sent in headers and
/// forms.
pub(crate) fn read_line(path: &Path) -> Result<String, String> {
    let text = read_text(path, BYTES).map_err(|error| error.to_string())?;
    let line = text.trim();
    if line.is_empty() || line.contains(char::is_control) {
        return Err(format!("{} does not hold one line of text", Quoted(&path.to_string_lossy())));
    }
    Ok(line.to_owned())
}

/// Credential file that a task follows for as long as somebody has a copy of this. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LineFile {
    path: Arc<str>,
    line: watch::Receiver<Option<Arc<str>>>,
    /// Aborted when the last copy is dropped.
    _task: Arc<JoinSet<()>>,
}

impl LineFile {
    /// The file at `path`, read once and followed from now on; `previous` goes on if it is that file.
    pub(crate) fn follow(path: &str, previous: Option<&Self>) -> Self {
        if let Some(known) = previous.filter(|known| *known.path == *path) {
            return known.clone();
        }
        let (sender, line) = watch::channel(read_line(Path::new(path)).ok().map(Arc::from));
        let mut task = JoinSet::new();
        task.spawn(follow_line(path.to_owned(), sender));
        Self { path: path.into(), line, _task: Arc::new(task) }
    }

    /// What was read last; `None` until the file appears.
    pub(crate) fn get(&self) -> Option<Arc<str>> {
        self.line.borrow().clone()
    }
}

/// Follows a credential file. One that vanishes leaves the last value, since a volume is briefly empty while it is
/// replaced.
async fn follow_line(path: String, line: watch::Sender<Option<Arc<str>>>) {
    let mut failures = 0_u32;
    loop {
        match read_line(Path::new(&path)) {
            Ok(found) => {
                failures = 0;
                let changed = line.send_if_modified(|current| {
                    let differs = current.as_deref() != Some(found.as_str());
                    if differs {
                        *current = Some(found.into());
                    }
                    differs
                });
                if changed {
                    tracing::info!(path, "a credential file was read");
                }
            }
            Err(problem) => {
                if failures.checked_rem(WARN_EVERY) == Some(0) {
                    tracing::warn!("a credential is missing: {problem}");
                }
                failures = failures.saturating_add(1);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

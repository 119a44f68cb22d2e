//! Credential files of one line, such as the client ID that registration writes after the start.

use countersign_core::text::Quoted;
use countersign_io::files::read_text;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

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

/// Follows a credential file. One that vanishes leaves the last value, since a volume is briefly empty while it is
/// replaced.
pub(crate) async fn follow_line(path: String, line: watch::Sender<Option<Arc<str>>>) {
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

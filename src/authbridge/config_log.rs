//! Log lines about a configuration that is taken over.

use super::config::Diagnostic;
use countersign_core::text::Quoted;
use std::path::Path;

/// Logs what was ignored in a file, or is understood differently than by the existing AuthBridge.
pub(crate) fn log_notices(file: &Path, notices: &[Diagnostic]) {
    let file = file.to_string_lossy();
    for notice in notices {
        tracing::warn!("configuration {}: {notice}", Quoted(&file));
    }
}

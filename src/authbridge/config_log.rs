//! Log lines about a configuration that is taken over.

use super::config::Diagnostic;

/// Logs what was ignored, or is understood differently than by the existing AuthBridge.
pub(crate) fn log_notices(notices: &[Diagnostic]) {
    for notice in notices {
        tracing::warn!("configuration: {notice}");
    }
}

//! Texts from requests in events.

/// Longest text from a request in an event, in characters.
pub(super) const TEXT_CHARS: usize = 256;

/// Truncates a text from a request to [`TEXT_CHARS`], so that no caller decides how much memory an event takes.
pub(super) fn bounded(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

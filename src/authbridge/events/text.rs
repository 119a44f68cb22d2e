//! Texts from requests in events.

/// Longest text from a request in an event, in characters.
pub(super) const TEXT_CHARS: usize = 256;

/// Truncates a text from a request to [`TEXT_CHARS`], so that no caller decides how much memory an event takes.
pub(super) fn bounded(text: &str) -> String {
    // Of so few bytes there are not more characters, and most texts are short.
    if text.len() <= TEXT_CHARS {
        return text.to_owned();
    }
    text.chars().take(TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character() {
        let (short, long) = ("é".repeat(TEXT_CHARS), "é".repeat(TEXT_CHARS + 1));
        assert_eq!((bounded(&short), bounded(&long)), (short.clone(), short));
        assert_eq!(bounded(&"a".repeat(TEXT_CHARS + 1)).len(), TEXT_CHARS);
        assert_eq!(bounded(""), "");
    }
}

//! Words of `on_error` without quotes. The existing AuthBridge takes them as they are written, and a boolean of YAML 1.1 such
//! as `off` is one for it only where it reads a boolean.

use super::tree::{member_mut, plugins_mut};
use countersign_api::yaml::{Place, YamlNode, YamlValue};

/// Replaces booleans under `on_error` of plugins by their words in the file.
pub(super) fn take_words(root: &mut YamlNode, text: &str) {
    for direction in ["inbound", "outbound"] {
        for plugin in plugins_mut(root, direction).into_iter().flatten() {
            let Some(node) = member_mut(plugin, "on_error") else { continue };
            if matches!(node.value, YamlValue::Bool(_))
                && let Some(word) = word_at(text, node.place)
            {
                node.value = YamlValue::Text(word);
            }
        }
    }
}

/// The word that begins at a place.
fn word_at(text: &str, place: Place) -> Option<String> {
    let [line, column] = [place.line, place.column].map(|count| usize::try_from(count).ok()?.checked_sub(1));
    let letters = text.lines().nth(line?)?.chars().skip(column?);
    let word: String = letters.take_while(char::is_ascii_alphanumeric).collect();
    (!word.is_empty()).then_some(word)
}

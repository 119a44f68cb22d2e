//! Name and namespace of an object in a manifest.

use countersign_core::text::Quoted;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The namespace of an object; kubectl's default if it names none.
pub(super) fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().filter(|name| !name.is_empty()).unwrap_or("default")
}

/// The name of an object.
pub(super) fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// Longest name that is shown as it is, in characters: that of a DNS subdomain.
const NAME_CHARS: usize = 253;

/// Kind, namespace and name of an object, for lines and comments about it. A manifest may come from anybody, and a line break
/// in a name would begin a line of its own, or an object: what the API server takes for no name is quoted.
pub(super) fn shown(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind} {}/{}", shown_name(namespace), shown_name(name))
}

/// A name for lines and comments: as it is, or quoted if the API server takes it for none.
pub(super) fn shown_name(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if is_plain && name.len() <= NAME_CHARS { name.to_owned() } else { Quoted(name).to_string() }
}

/// Kind, namespace and name of an object with this metadata.
pub(super) fn shown_object(kind: &str, metadata: &ObjectMeta) -> String {
    shown(kind, namespace(metadata), name(metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_in_one_line_that_nobody_else_wrote() {
        for (name, expected) in [
            ("weather-2.example", "Pod demo/weather-2.example"),
            ("x\n---\nkind: Pod", "Pod demo/\"x\\u{a}---\\u{a}kind: Pod\""),
            ("x # y", "Pod demo/\"x # y\""),
            ("\u{1b}[2J\u{202e}", "Pod demo/\"\\u{1b}[2J\\u{202e}\""),
        ] {
            assert_eq!(shown("Pod", "demo", name), expected);
            assert_eq!(
                shown("Pod", name, "demo"),
                format!("Pod {}/demo", expected.trim_start_matches("Pod demo/"))
            );
        }
        assert!(shown("Pod", "demo", &"x".repeat(100_000)).len() < 1000);
    }
}

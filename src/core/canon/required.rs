//! Members that A2A 1.0 requires and a card lacks (`field_behavior` REQUIRED of `a2a.proto`).

use super::schema::{Presence, Shape};
use super::uncovered::push_token;
use super::v1;
use crate::json::Value;

/// The JSON Pointer of the first required member that `card` lacks, at any depth; `None` if it lacks none.
pub(crate) fn missing_member(card: Value<'_>) -> Option<String> {
    let mut pointer = String::new();
    is_missing(card, Shape::Object(&v1::CARD), &mut pointer).then_some(pointer)
}

/// True if a required member is missing at or below `value`; `pointer` then ends at this member.
fn is_missing(value: Value<'_>, shape: Shape, pointer: &mut String) -> bool {
    match shape {
        Shape::Object(message) => {
            let Some(object) = value.as_object() else { return false };
            message.fields.iter().any(|field| {
                // ProtoJSON reads null as absent.
                let member = object.get(field.name).filter(|value| value.kind() != crate::json::Kind::Null);
                within(pointer, field.name, |pointer| match member {
                    None => matches!(field.presence, Presence::Required),
                    Some(value) => is_missing(value, field.shape, pointer),
                })
            })
        }
        Shape::List(item) => value.as_array().is_some_and(|list| {
            list.iter().enumerate().any(|(index, value)| {
                within(pointer, &index.to_string(), |pointer| is_missing(value, *item, pointer))
            })
        }),
        Shape::Map(item) => value.as_object().is_some_and(|map| {
            map.iter().any(|(name, value)| within(pointer, name, |pointer| is_missing(value, *item, pointer)))
        }),
        Shape::Text | Shape::Flag | Shape::Typed(_) | Shape::Free => false,
    }
}

/// Runs `search` one level deeper, and comes back unless it found something.
fn within(pointer: &mut String, token: &str, search: impl FnOnce(&mut String) -> bool) -> bool {
    let before = pointer.len();
    push_token(pointer, token);
    let found = search(pointer);
    if !found {
        pointer.truncate(before);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Document, JsonLimits, Numbers};

    #[test]
    fn the_first_required_member_that_is_absent_or_null_is_named() {
        let head =
            r#""capabilities":{},"defaultInputModes":[],"defaultOutputModes":[],"description":"","name":"a""#;
        for (tail, missing) in [
            (r#""skills":[],"supportedInterfaces":[],"version":"1""#, None),
            (r#""skills":[],"supportedInterfaces":[],"version":null"#, Some("/version")),
            (
                r#""skills":[{"id":"x"}],"supportedInterfaces":[],"version":"1""#,
                Some("/skills/0/description"),
            ),
            (
                r#""skills":[],"supportedInterfaces":[],"version":"1","securitySchemes":{"a/b":{"openIdConnectSecurityScheme":{}}}"#,
                Some("/securitySchemes/a~1b/openIdConnectSecurityScheme/openIdConnectUrl"),
            ),
        ] {
            let text = format!("{{{head},{tail}}}");
            let card = Document::parse(text.into_bytes(), &JsonLimits::CARD, Numbers::Strict).unwrap();
            assert_eq!(missing_member(card.root()).as_deref(), missing, "{tail}");
        }
    }
}

//! Members of JSON objects that every reader finds alike. Readers differ in capitals and underscores: Go ignores the former,
//! protobuf's JSON takes `context_id` for `contextId`. What some would read and others not is not interpreted.

use super::text::bounded;
use countersign_core::json::{Document, JsonLimits, Numbers, Object, Value as Json};

/// A member that readers could find differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// Value of a member, or `None` if the object has none.
pub(super) type Found<T> = Result<Option<T>, Ambiguous>;

/// Parses a document for an event; `None` if it is no JSON, exceeds its limits, or names a member twice.
pub(super) fn parse(bytes: Vec<u8>, limits: &JsonLimits) -> Option<Document> {
    Document::parse(bytes, limits, Numbers::Binary64).ok()
}

/// The member with one of these names.
pub(super) fn member<'d>(object: Object<'d>, names: &[&str]) -> Found<Json<'d>> {
    let mut found = None;
    for (name, value) in object.iter() {
        if !names.iter().any(|wanted| is_alike(name, wanted)) {
            continue;
        }
        if found.is_some() || !names.contains(&name) {
            return Err(Ambiguous);
        }
        found = Some(value);
    }
    Ok(found)
}

/// The member with one of these names if it is an object.
pub(super) fn object<'d>(parent: Object<'d>, names: &[&str]) -> Found<Object<'d>> {
    Ok(member(parent, names)?.and_then(Json::as_object))
}

/// The member with one of these names if it is a text, truncated; an empty one counts as absent.
pub(super) fn text(parent: Object<'_>, names: &[&str]) -> Found<String> {
    let found = member(parent, names)?.and_then(Json::as_str);
    Ok(found.filter(|text| !text.is_empty()).map(bounded))
}

/// The text that several places of a message name; readers that look at different ones must find the same.
pub(super) fn agreed(places: impl IntoIterator<Item = Option<String>>) -> Found<String> {
    let mut places = places.into_iter().flatten();
    let first = places.next();
    if places.all(|other| first.as_ref() == Some(&other)) { Ok(first) } else { Err(Ambiguous) }
}

/// True if readers that ignore capitals and underscores take one name for the other.
fn is_alike(name: &str, wanted: &str) -> bool {
    name == wanted || plain(name).eq(plain(wanted))
}

/// Letters of a name as such readers compare them.
fn plain(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase).map(fold)
}

/// Letters that Go's reader of JSON takes for ASCII ones beside their capitals: the long s, and the sign of Kelvin in lower
/// case, which is `k` already.
fn fold(letter: char) -> char {
    if letter == 'ſ' { 's' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_readers_find_differently_is_not_taken() {
        let read = |json: &str| {
            let document = parse(json.as_bytes().to_vec(), &JsonLimits::CARD).unwrap();
            text(document.root().as_object().unwrap(), &["contextId", "context_id"])
        };
        for (json, expected) in [
            (r#"{"contextId":"a"}"#, Ok(Some("a"))),
            (r#"{"context_id":"a","other":1}"#, Ok(Some("a"))),
            (r#"{"contextId":""}"#, Ok(None)),
            (r#"{"contextId":1}"#, Ok(None)),
            ("{}", Ok(None)),
            (r#"{"contextId":"a","context_id":"b"}"#, Err(Ambiguous)),
            (r#"{"contextId":"a","contextid":"b"}"#, Err(Ambiguous)),
            (r#"{"contextId":"a","CONTEXTID":"b"}"#, Err(Ambiguous)),
            (r#"{"ContextID":"a"}"#, Err(Ambiguous)),
            (r#"{"_contextId_":"a"}"#, Err(Ambiguous)),
        ] {
            assert_eq!(read(json), expected.map(|found| found.map(str::to_owned)), "{json}");
        }
        for (name, wanted) in [("ſtatus", "status"), ("toKen", "token"), ("to\u{212a}en", "token")] {
            assert!(is_alike(name, wanted), "{name}");
        }
        assert!(!is_alike("state", "status") && !is_alike("", "id"));
    }

    #[test]
    fn what_names_a_member_twice_is_no_document() {
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"\u0062":1}}"#, "{", "", "\u{feff}{}"] {
            assert!(parse(bad.as_bytes().to_vec(), &JsonLimits::CARD).is_none(), "{bad}");
        }
    }
}

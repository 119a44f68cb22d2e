//! The inverse of `fold` for pointers: maps a location in the folded card to its origin in the received card.
//! The mapping depends on the pointer and the received card alone, so each pointer costs the same work.

use crate::json::{Object, Value};

/// Maps `folded`, a JSON Pointer into the folded card, to a JSON Pointer into the received card.
pub(crate) fn received_pointer(folded: &str, card: Object<'_>) -> String {
    let tokens: Vec<&str> = folded.split('/').skip(1).collect();
    match tokens.as_slice() {
        ["supportedInterfaces", tail @ ..] if card.get("supportedInterfaces").is_none() => interface(tail),
        ["securityRequirements", tail @ ..] if card.get("securityRequirements").is_none() => {
            requirement("/security", tail)
        }
        ["skills", index, "securityRequirements", tail @ ..] if has_legacy_security(card, index) => {
            requirement(&format!("/skills/{index}/security"), tail)
        }
        ["securitySchemes", name, wrapper, tail @ ..] if is_wrapped(card, name) => {
            let tail = match (*wrapper, tail) {
                ("apiKeySecurityScheme", ["location", inside @ ..]) => join("/in", inside),
                (_, tail) => join("", tail),
            };
            format!("/securitySchemes/{name}{tail}")
        }
        _ => folded.to_owned(),
    }
}

fn join(start: &str, tokens: &[&str]) -> String {
    tokens.iter().fold(start.to_owned(), |pointer, token| pointer + "/" + token)
}

/// Maps a pointer below `supportedInterfaces`: the first interface comes from `url` and `preferredTransport`, the
/// others from `additionalInterfaces`.
fn interface(tail: &[&str]) -> String {
    let (index, member) = match tail {
        [] => return "/url".to_owned(),
        [index, member @ ..] => (index.parse::<usize>().unwrap_or_default(), member),
    };
    let additional = index.checked_sub(1).map(|index| format!("/additionalInterfaces/{index}"));
    match (additional, member) {
        (_, ["protocolVersion", ..]) => "/protocolVersion".to_owned(),
        (None, ["protocolBinding", ..]) => "/preferredTransport".to_owned(),
        (None, _) => "/url".to_owned(),
        (Some(entry), ["protocolBinding", ..]) => entry + "/transport",
        (Some(entry), member) => join(&entry, member),
    }
}

/// Maps a pointer below `securityRequirements`: `{"schemes": {name: {"list": [..]}}}` comes from `{name: [..]}`.
fn requirement(list: &str, tail: &[&str]) -> String {
    match tail {
        [index, "schemes", name, "list", scope @ ..] => join(list, &[&[*index, *name], scope].concat()),
        [index, "schemes", name, ..] => join(list, &[index, name]),
        [index, ..] => join(list, &[index]),
        [] => list.to_owned(),
    }
}

fn has_legacy_security(card: Object<'_>, index: &str) -> bool {
    let skills = card.get("skills").and_then(Value::as_array);
    let skill = index.parse().ok().and_then(|index| skills?.iter().nth(index)).and_then(Value::as_object);
    skill.is_some_and(|skill| skill.get("securityRequirements").is_none())
}

fn is_wrapped(card: Object<'_>, token: &str) -> bool {
    let name = token.replace("~1", "/").replace("~0", "~");
    let scheme = card.get("securitySchemes").and_then(Value::as_object).and_then(|all| all.get(&name));
    let kind =
        scheme.and_then(Value::as_object).and_then(|scheme| scheme.get("type")).and_then(Value::as_str);
    kind.is_some_and(|kind| super::fold::wrapper(kind).is_some())
}

#[cfg(test)]
mod tests {
    use crate::canon::{Profile, uncovered};
    use crate::json::{Document, JsonLimits, Numbers};

    fn hidden(card: &str) -> Vec<String> {
        let card = Document::parse(card.into(), &JsonLimits::CARD, Numbers::Strict).unwrap();
        let found = uncovered(&card, Profile::ProtoFoldedJcs).unwrap().listed();
        found.iter().map(|member| member.pointer().to_owned()).collect()
    }

    #[test]
    fn uncovered_members_are_named_where_they_were_received() {
        let scopes =
            r#"{"security": [{"a": ["x"], "b": []}], "skills": [{"security": [{"c": [], "d": ["y", ""]}]}]}"#;
        assert_eq!(hidden(scopes), ["/security/0/b", "/skills/0/security/0/c", "/skills/0/security/0/d/1"]);
        let schemes = r#"{"securitySchemes": {"a/b": {"type": "http", "scheme": "x", "more": 1}}}"#;
        assert_eq!(hidden(schemes), ["/securitySchemes/a~1b/more"]);
        let interfaces =
            r#"{"url": "x", "protocolVersion": "", "additionalInterfaces": [{"url": "y"}, {"url": ""}]}"#;
        assert_eq!(hidden(interfaces), ["/additionalInterfaces/1"]);
    }

    #[test]
    fn nothing_is_dropped_without_being_named() {
        let interface =
            r#"{"url": "x", "additionalInterfaces": [{"url": "y", "transport": "GRPC", "more": 1}]}"#;
        assert_eq!(hidden(interface), ["/additionalInterfaces/0/more"]);
        let skill = r#"{"skills": [{"id": "x", "securityLevel": "high"}]}"#;
        assert_eq!(hidden(skill), ["/skills/0/securityLevel"]);
    }

    #[test]
    fn a_transport_that_is_not_text_is_refused() {
        for card in [
            r#"{"url": "x", "preferredTransport": 5}"#,
            r#"{"url": "x", "additionalInterfaces": [{"url": "y", "transport": ["GRPC"]}]}"#,
        ] {
            let card = Document::parse(card.into(), &JsonLimits::CARD, Numbers::Strict).unwrap();
            assert!(uncovered(&card, Profile::ProtoFoldedJcs).is_err());
        }
    }
}

//! The signed bytes, parsed as a card again: callers get the signed document and nothing else (rules 24 and 46).

use crate::json::{Document, JsonLimits, Kind, Numbers, Object, Value};
use crate::refusal::{Reason, Refusal};

/// Members of which an AgentCard of any version has at least one besides `name`.
const CARD_MEMBERS: [&str; 4] = ["supportedInterfaces", "url", "capabilities", "skills"];

/// Parses the signed bytes and refuses a document that is not a card: the key may have signed other JSON, too.
pub(crate) fn parse_payload(bytes: Vec<u8>) -> Result<Document, Refusal> {
    // Rule 8 was applied to the received numbers; the form holds the doubles that were signed.
    let document = Document::parse(bytes, &JsonLimits::DERIVED, Numbers::Binary64)?;
    let missing = match document.root().as_object() {
        None => Some("is not an object"),
        Some(card) if !has_name(card) => Some("has no `name`"),
        Some(card) if !CARD_MEMBERS.iter().any(|member| has_content(card, member)) => {
            Some("has none of `supportedInterfaces`, `url`, `capabilities`, `skills`")
        }
        Some(_) => None,
    };
    match missing {
        Some(missing) => Err(Refusal::new(Reason::PayloadNotCard, format!("the signed document {missing}"))),
        None => Ok(document),
    }
}

fn has_name(card: Object<'_>) -> bool {
    card.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

fn has_content(card: Object<'_>, member: &str) -> bool {
    card.get(member).is_some_and(|value| {
        matches!(value.kind(), Kind::Array | Kind::Object | Kind::String) && !value.is_empty()
    })
}

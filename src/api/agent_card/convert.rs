//! Conversion of a card's document to its copy in status. The conversion never fails: whatever an agent wrote, the copy
//! is small enough to store and safe to print, so that no card can make its own status write fail.

use super::data::{
    AgentCapabilities, AgentCardData, AgentExtension, AgentProvider, AgentSkill, CardSignature,
    CardSignatureHeader, SkillParameter,
};
use crate::limits::{STATUS_CARD_BYTES, STATUS_LIST_ITEMS, STATUS_TEXT_CHARS};
use countersign_core::json::{Array, Document, Object, Value};
use countersign_core::text::is_unsafe_for_display;
use serde_json::Value as Json;

/// Copies `card` for status. A member of an unexpected type is left out; texts are cut at 2,000 characters, lists at
/// 64 elements, and everything beyond 64 KiB of JSON is dropped.
pub fn card_data(card: &Document) -> AgentCardData {
    copy(card, card)
}

/// Copies the signed content of `received`, with its signatures, which no signature covers.
pub fn signed_card_data(signed: &Document, received: &Document) -> AgentCardData {
    copy(signed, received)
}

fn copy(card: &Document, received: &Document) -> AgentCardData {
    let Some(card) = card.root().as_object() else { return AgentCardData::default() };
    let received = received.root().as_object().unwrap_or(card);
    let mut room = Room { bytes: STATUS_CARD_BYTES };
    // The most useful members come first, because the last ones are dropped when room runs out.
    AgentCardData {
        name: room.text(card, "name"),
        version: room.text(card, "version"),
        url: room.text(card, "url").or_else(|| first_url(&mut room, card)),
        description: room.text(card, "description"),
        documentation_url: room.text(card, "documentationUrl"),
        icon_url: room.text(card, "iconUrl"),
        provider: object(card, "provider").map(|provider| AgentProvider {
            organization: room.text(provider, "organization"),
            url: room.text(provider, "url"),
        }),
        supports_authenticated_extended_card: flag(card, "supportsAuthenticatedExtendedCard"),
        default_input_modes: room.texts(card, "defaultInputModes"),
        default_output_modes: room.texts(card, "defaultOutputModes"),
        signatures: room.list(received, "signatures", Room::signature),
        skills: room.list(card, "skills", |room, skill| Some(room.skill(skill))),
        capabilities: object(card, "capabilities").map(|capabilities| AgentCapabilities {
            streaming: flag(capabilities, "streaming"),
            push_notifications: flag(capabilities, "pushNotifications"),
            extensions: room
                .list(capabilities, "extensions", |room, extension| Some(room.extension(extension))),
        }),
    }
}

/// URL of the first interface: cards of A2A 1.0 have no member `url`, which readers of status know.
fn first_url(room: &mut Room, card: Object<'_>) -> Option<String> {
    room.text(items(card, "supportedInterfaces").next()?.as_object()?, "url")
}

/// Room that is left in the copy, in bytes of JSON.
struct Room {
    bytes: usize,
}

impl Room {
    /// Bytes that any value takes besides its text: quotes, a comma and the longest member name.
    const OVERHEAD: usize = 48;

    /// Takes room for a value of `bytes` and its overhead; `None` takes no room, because too little is left.
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.checked_sub(bytes.checked_add(Self::OVERHEAD)?)?;
        Some(())
    }

    /// Copies a text with unsafe characters replaced, cut at [`STATUS_TEXT_CHARS`]; `None` if the room is too small.
    fn string(&mut self, text: &str) -> Option<String> {
        let mut safe = String::new();
        for (index, c) in text.chars().enumerate() {
            if index == STATUS_TEXT_CHARS {
                safe.push('…');
                break;
            }
            safe.push(if is_unsafe_for_display(c) { '\u{fffd}' } else { c });
        }
        // `"` and `\` take one byte more in JSON. The API server is written in Go, whose JSON spends five more on each
        // of `<>&`; five for all is an upper bound.
        let escaped = safe.chars().filter(|c| matches!(c, '"' | '\\' | '<' | '>' | '&')).count();
        self.take(safe.len().saturating_add(escaped.saturating_mul(5)))?;
        Some(safe)
    }

    fn text(&mut self, object: Object<'_>, name: &str) -> Option<String> {
        self.string(object.get(name)?.as_str()?)
    }

    fn texts(&mut self, object: Object<'_>, name: &str) -> Vec<String> {
        items(object, name).filter_map(|item| self.string(item.as_str()?)).collect()
    }

    /// Copies the objects of a list until the room is used up.
    fn list<T>(
        &mut self,
        object: Object<'_>,
        name: &str,
        read: impl Fn(&mut Self, Object<'_>) -> Option<T>,
    ) -> Vec<T> {
        items(object, name)
            .filter_map(|item| {
                let item = item.as_object()?;
                self.take(0)?;
                read(self, item)
            })
            .collect()
    }

    /// Copies a signature whole or not at all: a cut one cannot verify.
    fn signature(&mut self, entry: Object<'_>) -> Option<CardSignature> {
        let protected = base64url(entry.get("protected")?)?;
        let signature = base64url(entry.get("signature")?)?;
        self.take(protected.len().saturating_add(signature.len()))?;
        let header = object(entry, "header")
            .map(|header| CardSignatureHeader { timestamp: self.text(header, "timestamp") });
        Some(CardSignature { protected: protected.to_owned(), signature: signature.to_owned(), header })
    }

    fn skill(&mut self, skill: Object<'_>) -> AgentSkill {
        AgentSkill {
            id: self.text(skill, "id"),
            name: self.text(skill, "name"),
            description: self.text(skill, "description"),
            tags: self.texts(skill, "tags"),
            examples: self.texts(skill, "examples"),
            input_modes: self.texts(skill, "inputModes"),
            output_modes: self.texts(skill, "outputModes"),
            parameters: self.list(skill, "parameters", |room, parameter| {
                Some(SkillParameter {
                    name: room.text(parameter, "name"),
                    kind: room.text(parameter, "type"),
                    description: room.text(parameter, "description"),
                    required: flag(parameter, "required"),
                    default: room.text(parameter, "default"),
                })
            }),
        }
    }

    fn extension(&mut self, extension: Object<'_>) -> AgentExtension {
        let params = object(extension, "params");
        AgentExtension {
            uri: self.text(extension, "uri"),
            description: self.text(extension, "description"),
            required: flag(extension, "required"),
            params: params.map(|params| self.members(params).collect()).unwrap_or_default(),
        }
    }

    /// Copies the members of a free-form object until the room is used up.
    fn members<'r, 'd: 'r>(
        &'r mut self,
        object: Object<'d>,
    ) -> impl Iterator<Item = (String, Json)> + use<'r, 'd> {
        object.iter().take(STATUS_LIST_ITEMS).filter_map(|(name, value)| {
            let name = self.string(name)?;
            Some((name, self.json(value)?))
        })
    }

    /// Copies any value. The parser of the document has bounded the nesting, so recursion is safe.
    fn json(&mut self, value: Value<'_>) -> Option<Json> {
        if let Some(text) = value.as_str() {
            return self.string(text).map(Json::String);
        }
        self.take(0)?;
        if let Some(list) = value.as_array() {
            return Some(list.iter().take(STATUS_LIST_ITEMS).filter_map(|item| self.json(item)).collect());
        }
        if let Some(object) = value.as_object() {
            return Some(Json::Object(self.members(object).collect()));
        }
        let number = value.as_number_literal().and_then(|literal| literal.parse().ok()).map(Json::Number);
        Some(number.or_else(|| value.as_bool().map(Json::Bool)).unwrap_or_default())
    }
}

fn object<'d>(object: Object<'d>, name: &str) -> Option<Object<'d>> {
    object.get(name)?.as_object()
}

fn flag(object: Object<'_>, name: &str) -> Option<bool> {
    object.get(name)?.as_bool()
}

fn items<'d>(object: Object<'d>, name: &str) -> impl Iterator<Item = Value<'d>> {
    let list = object.get(name).and_then(Value::as_array);
    list.into_iter().flat_map(Array::iter).take(STATUS_LIST_ITEMS)
}

fn base64url(value: Value<'_>) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    value.as_str().filter(|text| text.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::json::{JsonLimits, Numbers};
    use serde_json::json;

    fn data(text: &str) -> AgentCardData {
        card_data(&Document::parse(text.as_bytes().to_vec(), &JsonLimits::CARD, Numbers::Binary64).unwrap())
    }

    #[test]
    fn a_verified_card_shows_what_is_signed_with_the_signatures_beside_it() {
        let parse = |card: &serde_json::Value| {
            Document::parse(card.to_string().into_bytes(), &JsonLimits::CARD, Numbers::Binary64).unwrap()
        };
        let signed = json!({ "name": "weather", "supportedInterfaces": [{ "url": "https://a" }, { "url": "https://b" }] });
        let mut received = signed.clone();
        received["description"] = "not signed".into();
        received["signatures"] = json!([{ "protected": "e30", "signature": "AA" }]);
        let shown = signed_card_data(&parse(&signed), &parse(&received));
        assert_eq!((shown.url.as_deref(), shown.description), (Some("https://a"), None));
        assert_eq!(shown.signatures.len(), 1);
    }

    #[test]
    fn a_card_keeps_every_member_that_status_knows() {
        let card = json!({
            "name": "weather", "description": "d", "version": "1", "url": "https://a", "documentationUrl": "https://b",
            "iconUrl": "https://c", "provider": { "organization": "o", "url": "https://d" },
            "capabilities": {
                "streaming": true, "pushNotifications": false,
                "extensions": [{ "uri": "u", "description": "e", "required": true, "params": { "a": [1.5, { "b": null }] } }],
            },
            "defaultInputModes": ["text"], "defaultOutputModes": ["json"],
            "skills": [{
                "id": "i", "name": "n", "description": "s", "tags": ["t"], "examples": ["x"], "inputModes": ["im"],
                "outputModes": ["om"],
                "parameters": [{ "name": "p", "type": "string", "description": "pd", "required": false, "default": "q" }],
            }],
            "supportsAuthenticatedExtendedCard": true,
            "signatures": [{ "protected": "e30", "signature": "AA_-", "header": { "timestamp": "t" } }],
        });
        assert_eq!(serde_json::to_value(data(&card.to_string())).unwrap(), card);
    }

    #[test]
    fn members_of_another_type_are_left_out() {
        let odd = r#"{"name":1,"url":null,"provider":[],"capabilities":{"streaming":"yes","extensions":[3,{"params":7}]},
            "skills":[[],{"tags":"a"},{"tags":[1,"b"]}],"signatures":[{"protected":"e30"},{"protected":"a=b","signature":"c"}]}"#;
        assert_eq!(
            serde_json::to_value(data(odd)).unwrap(),
            json!({ "capabilities": { "extensions": [{}] }, "skills": [{}, { "tags": ["b"] }] })
        );
        assert_eq!(data("[1,2]"), AgentCardData::default());
    }

    #[test]
    fn text_is_cut_and_cannot_forge_output() {
        let long = format!(r#"{{"name":"a\n\u202eb","description":"{}"}}"#, "é".repeat(10_000));
        let found = data(&long);
        assert_eq!(found.name.as_deref(), Some("a\u{fffd}\u{fffd}b"));
        let description = found.description.unwrap();
        assert_eq!(description.chars().count(), STATUS_TEXT_CHARS + 1);
        assert!(description.ends_with('…'));
    }

    #[test]
    fn no_card_is_stored_larger_than_the_limit() {
        let text = |c: &str| format!("\"{}\"", c.repeat(1_900));
        let list = |item: &str, times: usize| format!("[{}]", vec![item; times].join(","));
        let nested = format!("{}{}", "[".repeat(20), "]".repeat(20));
        let skill = format!(r#"{{"id":{0},"tags":{1}}}"#, text("\\\""), list(&text("<"), 3));
        for hostile in [
            format!(r#"{{"skills":{}}}"#, list(&skill, 12)),
            format!(r#"{{"skills":{}}}"#, list(r#"{"parameters":[{},{},{},{},{},{},{},{}]}"#, 900)),
            format!(r#"{{"defaultInputModes":{}}}"#, list("\"\"", 9_000)),
            format!(r#"{{"defaultInputModes":{}}}"#, list(&text("é"), 60)),
            format!(
                r#"{{"capabilities":{{"extensions":{}}}}}"#,
                list(&format!(r#"{{"params":{{"a":{nested}}}}}"#), 400)
            ),
            format!(
                r#"{{"capabilities":{{"extensions":[{{"params":{{"a":{}}}}}]}}}}"#,
                list(&list(&text("a"), 3), 30)
            ),
            format!(
                r#"{{"signatures":{}}}"#,
                list(&format!(r#"{{"protected":"{}","signature":"a"}}"#, "a".repeat(30_000)), 4)
            ),
        ] {
            let mut found = AgentCardData::default();
            let used = allocation_counter::measure(|| found = data(&hostile)).bytes_max;
            assert_ne!(found, AgentCardData::default());
            let allowed = 4 * hostile.len() + (8 << 20);
            assert!(used <= u64::try_from(allowed).unwrap(), "{used} bytes for {hostile:.80}");
            let stored = serde_json::to_string(&found).unwrap();
            // Go's writer escapes three characters more than this one; the members of the card itself are free.
            let longest = stored.len() + 5 * stored.matches(['<', '>', '&']).count();
            assert!(longest <= STATUS_CARD_BYTES + 512, "{longest} bytes from {hostile:.80}");
        }
    }
}

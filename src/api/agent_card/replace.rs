//! Replacement of the card in status by a merge patch (RFC 7396), which leaves what it does not name: a member of the last
//! card, perhaps one that was refused, must not stand in the next one.

use super::data::AgentCardData;
use serde_json::{Map, Value};

/// Members of a card, and those of the objects among them. Lists are replaced whole.
const MEMBERS: [(&str, &[&str]); 13] = [
    ("name", &[]),
    ("description", &[]),
    ("version", &[]),
    ("url", &[]),
    ("documentationUrl", &[]),
    ("iconUrl", &[]),
    ("provider", &["organization", "url"]),
    ("capabilities", &["streaming", "pushNotifications", "extensions"]),
    ("defaultInputModes", &[]),
    ("defaultOutputModes", &[]),
    ("skills", &[]),
    ("supportsAuthenticatedExtendedCard", &[]),
    ("signatures", &[]),
];

impl AgentCardData {
    /// Value for a merge patch that leaves nothing of any other card: absent members are null.
    ///
    /// # Errors
    /// Those of `serde_json`.
    pub fn replacing(&self) -> serde_json::Result<Map<String, Value>> {
        let mut card: Map<String, Value> = serde_json::from_value(serde_json::to_value(self)?)?;
        for (member, inner) in MEMBERS {
            if let Some(object) = card.entry(member).or_insert(Value::Null).as_object_mut() {
                fill(object, inner);
            }
        }
        Ok(card)
    }
}

fn fill(object: &mut Map<String, Value>, members: &[&str]) {
    for member in members {
        object.entry(*member).or_insert(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::schema_for;
    use serde_json::json;

    #[test]
    fn every_member_of_a_card_is_named() {
        let schema = serde_json::to_value(schema_for!(AgentCardData)).unwrap();
        let names = |schema: &Value| -> Vec<String> {
            let mut names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
            names.sort_unstable();
            names
        };
        let mut known: Vec<&str> = MEMBERS.iter().map(|(member, _)| *member).collect();
        known.sort_unstable();
        assert_eq!(names(&schema), known);
        for (member, inner) in MEMBERS {
            let text = schema["properties"][member].to_string();
            let definitions = schema["$defs"].as_object().unwrap();
            // What is a reference to an object, and not a list of them.
            let object = definitions.iter().find(|(name, _)| {
                text.contains(&format!("\"#/$defs/{name}\"")) && !text.contains("\"items\"")
            });
            let mut inner = inner.to_vec();
            inner.sort_unstable();
            assert_eq!(
                object.map(|(_, object)| names(object)).unwrap_or_default(),
                inner,
                "{member}: {text}"
            );
        }
    }

    #[test]
    fn what_a_card_lacks_is_null_and_what_it_has_stays() {
        let card: AgentCardData = serde_json::from_value(
            json!({ "name": "weather", "provider": { "url": "https://example.org" }, "skills": [{ "id": "one" }] }),
        )
        .unwrap();
        let patch = card.replacing().unwrap();
        assert_eq!((&patch["name"], &patch["skills"]), (&json!("weather"), &json!([{ "id": "one" }])));
        assert_eq!(patch["provider"], json!({ "organization": null, "url": "https://example.org" }));
        assert_eq!(patch["capabilities"], Value::Null);
        assert_eq!(patch.len(), MEMBERS.len());
    }
}

//! The card as received: strict JSON of the right shape, its signatures not yet verified (rules 3–11).
//! A parsed [`Card`] proves nothing about its author.

use super::canon::refuse_aliases;
use super::encoding::{Digest, sha256};
use super::json::{Document, JsonLimits, Kind, Numbers, Object, Value};
use super::limits::{PROTECTED_BYTES, SIGNATURE_TEXT_BYTES, SIGNATURES};
use super::refusal::{Reason, Refusal};
use super::text::{Quoted, is_unsafe_for_display};

/// A received AgentCard: the exact bytes, and read access to their members.
#[derive(Clone, Debug)]
pub struct Card {
    document: Document,
    digest: Digest,
}

/// One entry of the member `signatures`, with its shape checked and its signature not verified.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RawSignature<'c> {
    /// The protected header in base64url, verbatim, because the signature covers this text (RFC 7515 §5.1).
    pub protected: &'c str,
    /// The signature in base64url.
    pub signature: &'c str,
    /// The unprotected header, which can refuse a signature and never help one (rule 22).
    pub header: Option<Object<'c>>,
}

impl Card {
    /// Parses a card from exactly the bytes that were received.
    pub fn parse(bytes: Vec<u8>, numbers: Numbers) -> Result<Self, Refusal> {
        let digest = sha256(&bytes);
        let document = Document::parse(bytes, &JsonLimits::CARD, numbers)?;
        let card = Self { document, digest };
        let root = card.root()?;
        refuse_aliases(root)?;
        refuse_unsafe_text(card.document.root(), TextRole::Other)?;
        refuse_odd_signatures(root)?;
        Ok(card)
    }

    /// The received document.
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// SHA-256 of the received bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The entries of `signatures`; none if the card is unsigned.
    pub fn signatures(&self) -> impl Iterator<Item = RawSignature<'_>> {
        let list = self.document.root().as_object().and_then(|root| root.get("signatures"));
        list.and_then(Value::as_array).into_iter().flat_map(super::json::Array::iter).filter_map(|entry| {
            let entry = entry.as_object()?;
            Some(RawSignature {
                protected: entry.get("protected")?.as_str()?,
                signature: entry.get("signature")?.as_str()?,
                header: entry.get("header").and_then(Value::as_object),
            })
        })
    }

    /// Members for display (`name`, `description`, `version`) that hold invisible characters: allowed, but worth a
    /// warning (rule 10).
    pub fn misleading_names(&self) -> Vec<&'static str> {
        let root = self.document.root().as_object();
        ["name", "description", "version"]
            .into_iter()
            .filter(|member| {
                root.and_then(|root| root.get(member))
                    .and_then(Value::as_str)
                    .is_some_and(|text| text.chars().any(is_unsafe_for_display))
            })
            .collect()
    }

    fn root(&self) -> Result<Object<'_>, Refusal> {
        let root = self.document.root();
        root.as_object().ok_or_else(|| {
            Refusal::new(
                Reason::CardNotObject,
                format!("the document is {}, not an object", root.kind().name()),
            )
        })
    }
}

/// Refuses `signatures` unless it is absent, null or an array of at most [`SIGNATURES`] objects with the members `protected`,
/// `signature` and, optionally, `header` (rule 11).
fn refuse_odd_signatures(root: Object<'_>) -> Result<(), Refusal> {
    // The JSON mapping of Protocol Buffers, in which A2A defines the card, reads null as absent.
    let Some(list) = root.get("signatures").filter(|list| list.kind() != Kind::Null) else { return Ok(()) };
    let entries = list.as_array().ok_or_else(|| malformed("`signatures` is not an array"))?;
    if entries.len() > SIGNATURES {
        return Err(malformed(&format!(
            "`signatures` has {} entries; the limit is {SIGNATURES}",
            entries.len()
        )));
    }
    for (index, entry) in entries.iter().enumerate() {
        let entry = entry.as_object().ok_or_else(|| malformed(&format!("entry {index} is not an object")))?;
        for (name, value) in entry.iter() {
            let cap = match name {
                "protected" => PROTECTED_BYTES,
                "signature" => SIGNATURE_TEXT_BYTES,
                "header" if matches!(value.kind(), Kind::Object | Kind::Null) => continue,
                "header" => {
                    return Err(malformed(&format!("`header` of entry {index} is not an object")));
                }
                other => {
                    let found = format!("entry {index} has the unknown member {}", Quoted(other));
                    return Err(malformed(&found));
                }
            };
            let text = value
                .as_str()
                .ok_or_else(|| malformed(&format!("`{name}` of entry {index} is not a string")))?;
            if text.len() > cap {
                let found = format!("`{name}` of entry {index} has {} bytes; the limit is {cap}", text.len());
                return Err(Refusal::new(Reason::HeaderTooLarge, found));
            }
        }
        if let Some(missing) = ["protected", "signature"].into_iter().find(|name| entry.get(name).is_none()) {
            return Err(malformed(&format!("entry {index} has no `{missing}`")));
        }
    }
    Ok(())
}

fn malformed(found: &str) -> Refusal {
    Refusal::new(Reason::SignaturesMalformed, found)
}

/// The role of a string or an object in a card, which decides whether rule 10 applies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextRole {
    Identifier,
    NamedMap,
    Other,
}

/// Refuses invisible characters in addresses, identifiers and names of security schemes: two of them that look equal
/// could differ (rule 10).
fn refuse_unsafe_text(value: Value<'_>, role: TextRole) -> Result<(), Refusal> {
    if let Some(text) = value.as_str() {
        return if role == TextRole::Identifier { refuse_unsafe(text) } else { Ok(()) };
    }
    if let Some(array) = value.as_array() {
        return array.iter().try_for_each(|item| refuse_unsafe_text(item, role));
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for (name, value) in object.iter() {
        if role == TextRole::NamedMap {
            refuse_unsafe(name)?;
        }
        let inside = match name {
            "params" | "signatures" => continue,
            "securitySchemes" | "schemes" | "security" | "scopes" => TextRole::NamedMap,
            "id" | "tenant" | "url" => TextRole::Identifier,
            name if name.ends_with("Url") => TextRole::Identifier,
            _ => TextRole::Other,
        };
        refuse_unsafe_text(value, inside)?;
    }
    Ok(())
}

fn refuse_unsafe(text: &str) -> Result<(), Refusal> {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if plain || !text.chars().any(is_unsafe_for_display) {
        return Ok(());
    }
    Err(Refusal::new(Reason::CardUnsafeText, format!("{} contains invisible characters", Quoted(text))))
}

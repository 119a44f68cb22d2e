//! Folding: rewrites the 0.3 members of a card into their 1.0 shape, as a2a-python ≥ 1.0 does before it signs.
//! Dropped members are returned as uncovered, so that none is lost silently (rule 47).

use super::uncovered::{BoundedPointer, UncoveredMembers, ValueClass};
use crate::json::{Document, JsonLimits, Numbers, Object, ObjectWriter, Value, copy_value};
use crate::limits::FORM_BYTES;
use crate::refusal::{Reason, Refusal};

const CONNECTION: [&str; 4] = ["url", "preferredTransport", "protocolVersion", "additionalInterfaces"];

/// The folded card, and the received members that it lacks.
pub(super) fn fold(card: &Document) -> Result<(Document, UncoveredMembers), Refusal> {
    let root = card.root().as_object().ok_or_else(|| wrong("the card is not an object"))?;
    let mut writer = FoldWriter { out: Vec::with_capacity(card.text().len()), folded: Folded::default() };
    writer.card(root)?;
    let FoldWriter { out, folded } = writer;
    Ok((Document::parse(out, &JsonLimits::DERIVED, Numbers::Binary64)?, folded.dropped))
}

fn wrong(message: &str) -> Refusal {
    Refusal::new(Reason::CardMemberType, message)
}

struct FoldWriter {
    out: Vec<u8>,
    folded: Folded,
}

#[derive(Default)]
struct Folded {
    /// Received members that the folded document lacks.
    dropped: UncoveredMembers,
}

impl FoldWriter {
    fn card(&mut self, root: Object<'_>) -> Result<(), Refusal> {
        let interfaces = self.interfaces(root)?;
        let mut object = ObjectWriter::open(&mut self.out);
        for (name, value) in root.iter() {
            match name {
                "signatures"
                | "security"
                | "securityRequirements"
                | "supportsAuthenticatedExtendedCard"
                | "capabilities"
                | "skills"
                | "securitySchemes" => {}
                name if CONNECTION.contains(&name) => {}
                name => object.value(name, value),
            }
        }
        if let Some(interfaces) = interfaces {
            object.raw("supportedInterfaces", &interfaces);
        }
        if let Some(capabilities) = capabilities(root, &mut self.folded)? {
            object.raw("capabilities", &capabilities);
        }
        if let Some(schemes) = root.get("securitySchemes") {
            object.raw("securitySchemes", &self.folded.security_schemes(schemes)?);
        }
        if let Some(requirements) = requirements(root, &[], &mut self.folded)? {
            object.raw("securityRequirements", &requirements);
        }
        if let Some(skills) = root.get("skills") {
            object.raw("skills", &self.folded.skills(skills)?);
        }
        object.close();
        Ok(())
    }

    /// Makes `supportedInterfaces` of the 0.3 members; `None` if the card has its own, which then counts alone.
    fn interfaces(&mut self, root: Object<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let url = root.get("url").filter(|url| !url.is_empty());
        let folds = root.get("supportedInterfaces").is_none() && url.is_some();
        if !folds {
            for name in CONNECTION {
                self.folded.drop_member(&[], name, root);
            }
            return Ok(None);
        }
        let version = root.get("protocolVersion");
        let mut out = b"[".to_vec();
        let preferred = match root.get("preferredTransport") {
            None => Some("JSONRPC"),
            Some(value) => transport(value)?,
        };
        interface(&mut out, url, preferred, version);
        let more = root.get("additionalInterfaces").filter(|list| !list.is_empty());
        if let Some(more) = more {
            let list = more.as_array().ok_or_else(|| wrong("`additionalInterfaces` is not an array"))?;
            for (index, entry) in list.iter().enumerate() {
                let entry =
                    entry.as_object().ok_or_else(|| wrong("an additional interface is not an object"))?;
                let parent = ["additionalInterfaces", &index.to_string()];
                for (name, _) in entry.iter().filter(|(name, _)| !["url", "transport"].contains(name)) {
                    self.folded.drop_member(&parent, name, entry);
                }
                out.push(b',');
                let transport = entry.get("transport").map_or(Ok(None), transport)?;
                interface(&mut out, entry.get("url"), transport, version);
                refuse_long(&out)?;
            }
        }
        out.push(b']');
        Ok(Some(out))
    }
}

/// Refuses interfaces beyond [`FORM_BYTES`]: each repeats `protocolVersion`, whose length the sender chooses.
fn refuse_long(interfaces: &[u8]) -> Result<(), Refusal> {
    if interfaces.len() <= FORM_BYTES {
        return Ok(());
    }
    let found = format!("the interfaces with the version in each have more than {FORM_BYTES} bytes");
    Err(Refusal::new(Reason::BodyTooLarge, found))
}

/// The name of a transport; `None` for null, which a2a-python reads as absent.
fn transport(value: Value<'_>) -> Result<Option<&str>, Refusal> {
    if value.kind() == crate::json::Kind::Null {
        return Ok(None);
    }
    value.as_str().map(Some).ok_or_else(|| wrong("a transport is not a string"))
}

fn interface(out: &mut Vec<u8>, url: Option<Value<'_>>, transport: Option<&str>, version: Option<Value<'_>>) {
    let mut object = ObjectWriter::open(out);
    if let Some(transport) = transport {
        object.text("protocolBinding", transport);
    }
    match version {
        Some(version) => object.value("protocolVersion", version),
        None => object.text("protocolVersion", "0.3.0"),
    }
    if let Some(url) = url {
        object.value("url", url);
    }
    object.close();
}

/// Moves `supportsAuthenticatedExtendedCard` into the capabilities, unless they have `extendedAgentCard`.
fn capabilities(root: Object<'_>, folded: &mut Folded) -> Result<Option<Vec<u8>>, Refusal> {
    let extended = match root.get("supportsAuthenticatedExtendedCard") {
        None => false,
        Some(flag) if flag.is_empty() => false,
        Some(flag) => {
            flag.as_bool().ok_or_else(|| wrong("`supportsAuthenticatedExtendedCard` is not a boolean"))?
        }
    };
    let own = root.get("capabilities").filter(|value| !value.is_empty());
    if own.is_none() && !extended {
        return Ok(root.get("capabilities").map(|_| b"{}".to_vec()));
    }
    let mut out = Vec::new();
    let mut object = ObjectWriter::open(&mut out);
    let mut answered = false;
    if let Some(own) = own {
        let own = own.as_object().ok_or_else(|| wrong("`capabilities` is not an object"))?;
        answered = own.get("extendedAgentCard").is_some();
        own.iter().for_each(|(name, value)| object.value(name, value));
    }
    if extended && answered {
        folded.drop_member(&[], "supportsAuthenticatedExtendedCard", root);
    } else if extended {
        object.raw("extendedAgentCard", b"true");
    }
    object.close();
    Ok(Some(out))
}

/// Makes `securityRequirements` of `security`, unless the object has its own.
fn requirements(
    object: Object<'_>,
    parent: &[&str],
    folded: &mut Folded,
) -> Result<Option<Vec<u8>>, Refusal> {
    let legacy = object.get("security").filter(|value| value.kind() != crate::json::Kind::Null);
    if let Some(own) = object.get("securityRequirements") {
        folded.drop_member(parent, "security", object);
        let mut out = Vec::new();
        copy_value(own, &mut out);
        return Ok(Some(out));
    }
    let Some(legacy) = legacy else { return Ok(None) };
    let list = legacy.as_array().ok_or_else(|| wrong("`security` is not an array"))?;
    let mut out = b"[".to_vec();
    for (index, entry) in list.iter().enumerate() {
        let entry = entry.as_object().ok_or_else(|| wrong("a security requirement is not an object"))?;
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"schemes\":");
        let mut schemes = ObjectWriter::open(&mut out);
        for (name, scopes) in entry.iter() {
            let mut list = Vec::new();
            ObjectWriter::open(&mut list).value("list", scopes);
            list.push(b'}');
            schemes.raw(name, &list);
        }
        schemes.close();
        out.push(b'}');
    }
    out.push(b']');
    Ok(Some(out))
}

/// The member of the 1.0 `SecurityScheme` oneof that stands for the `type` of a 0.3 scheme.
pub(crate) fn wrapper(kind: &str) -> Option<&'static str> {
    match kind {
        "apiKey" => Some("apiKeySecurityScheme"),
        "http" => Some("httpAuthSecurityScheme"),
        "oauth2" => Some("oauth2SecurityScheme"),
        "openIdConnect" => Some("openIdConnectSecurityScheme"),
        "mutualTLS" => Some("mtlsSecurityScheme"),
        _ => None,
    }
}

impl Folded {
    /// Rewrites OpenAPI-style schemes with a `type` into the oneof of 1.0 and copies others unchanged.
    fn security_schemes(&mut self, schemes: Value<'_>) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        let Some(schemes) = schemes.as_object() else {
            copy_value(schemes, &mut out);
            return Ok(out);
        };
        let mut object = ObjectWriter::open(&mut out);
        for (name, scheme) in schemes.iter() {
            let members = scheme.as_object().ok_or_else(|| wrong("a security scheme is not an object"))?;
            let Some(kind) = members.get("type").and_then(Value::as_str) else {
                object.value(name, scheme);
                continue;
            };
            let wrapper = wrapper(kind);
            let mut inner = Vec::new();
            let mut scheme = ObjectWriter::open(&mut inner);
            for (member, value) in members.iter().filter(|(member, _)| *member != "type") {
                scheme.value(if kind == "apiKey" && member == "in" { "location" } else { member }, value);
            }
            scheme.close();
            let mut outer = Vec::new();
            if let Some(wrapper) = wrapper {
                let mut oneof = ObjectWriter::open(&mut outer);
                oneof.raw(wrapper, &inner);
                oneof.close();
            } else {
                self.drop_member(&["securitySchemes", name], "type", members);
                outer = inner;
            }
            object.raw(name, &outer);
        }
        object.close();
        Ok(out)
    }

    fn skills(&mut self, skills: Value<'_>) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        let Some(list) = skills.as_array() else {
            copy_value(skills, &mut out);
            return Ok(out);
        };
        out.push(b'[');
        for (index, skill) in list.iter().enumerate() {
            let skill = skill.as_object().ok_or_else(|| wrong("a skill is not an object"))?;
            if index > 0 {
                out.push(b',');
            }
            let requirements = requirements(skill, &["skills", &index.to_string()], self)?;
            let mut object = ObjectWriter::open(&mut out);
            for (name, value) in
                skill.iter().filter(|(name, _)| !["security", "securityRequirements"].contains(name))
            {
                object.value(name, value);
            }
            if let Some(requirements) = requirements {
                object.raw("securityRequirements", &requirements);
            }
            object.close();
        }
        out.push(b']');
        Ok(out)
    }

    /// Notes a member as dropped by folding, unless its value is empty or false.
    fn drop_member(&mut self, parent: &[&str], name: &str, object: Object<'_>) {
        let value = object.get(name).filter(|value| !value.is_empty() && value.as_bool() != Some(false));
        if let Some(value) = value {
            let mut pointer = BoundedPointer::default();
            for token in parent.iter().chain([&name]) {
                pointer.enter(token);
            }
            self.dropped.note(pointer.as_str(), ValueClass::of(value));
        }
    }
}

//! Conversion of A2A 0.2 and 0.3 cards into the members of A2A 1.0.
//! Nothing is lost: a member that says something 1.0 cannot say refuses the card and is named.

use super::canon::{Profile, Uncovered, missing_member, received_pointer, uncovered, wrapper};
use super::card::Card;
use super::json::{Array, Document, JsonLimits, Kind, Numbers, Object, ObjectWriter, Value, copy_value};
use super::refusal::{Reason, Refusal};
use super::text::Quoted;

/// Members that 1.0 does not have, or that take in what such a member says.
const CONVERTED: [&str; 13] = [
    "additionalInterfaces",
    "authentication",
    "capabilities",
    "preferredTransport",
    "protocolVersion",
    "security",
    "securityRequirements",
    "securitySchemes",
    "signatures",
    "skills",
    "supportedInterfaces",
    "supportsAuthenticatedExtendedCard",
    "url",
];

/// The transport of a 0.3 card that names none.
const DEFAULT_TRANSPORT: &str = "JSONRPC";
/// The protocol version of a card that names none, as the A2A SDKs read it.
pub(crate) const DEFAULT_VERSION: &str = "0.3";

/// Returns an A2A 0.2 or 0.3 card, in compact JSON, in the members of A2A 1.0 and without its `signatures`.
///
/// A 1.0 card comes back unchanged, so the conversion may be repeated. Fails with [`Reason::CardNotSignable`], which
/// names the member, if 1.0 has no equivalent of a member, if two members contradict each other, or if a member that
/// 1.0 requires is absent; with [`Reason::CardMemberType`] if a member has another JSON type than its version says.
///
/// ```
/// let card = br#"{"name":"a","description":"b","version":"1","url":"https://agent.example/","protocolVersion":"0.3.0",
///     "capabilities":{},"defaultInputModes":["text"],"defaultOutputModes":["text"],"skills":[]}"#;
/// let upgraded = String::from_utf8(countersign_core::upgrade_card(card.to_vec())?)?;
/// let interface = r#"{"protocolBinding":"JSONRPC","protocolVersion":"0.3","url":"https://agent.example/"}"#;
/// assert!(upgraded.contains(interface));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn upgrade_card(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let card = Card::parse(bytes, Numbers::Strict)?;
    let Some(root) = card.document().root().as_object() else {
        return Err(wrong_type("", "an object"));
    };
    let mut out = Vec::with_capacity(card.document().text().len());
    let mut object = ObjectWriter::open(&mut out);
    for (name, value) in root.iter().filter(|(name, _)| !CONVERTED.contains(name)) {
        object.value(name, value);
    }
    let authentication = Authentication::of(root)?;
    for (name, json) in [
        ("capabilities", capabilities(root)?),
        ("securityRequirements", requirements(root, "", authentication.as_ref())?),
        ("securitySchemes", security_schemes(root, authentication.as_ref())?),
        ("skills", skills(root)?),
        ("supportedInterfaces", interfaces(root)?),
    ] {
        if let Some(json) = json {
            object.raw(name, &json);
        }
    }
    object.close();
    complete(out, root)
}

/// Returns the result with sorted members. Refuses one with a member that 1.0 does not know, or without one that it
/// requires.
fn complete(upgraded: Vec<u8>, received: Object<'_>) -> Result<Vec<u8>, Refusal> {
    let upgraded = Document::parse(upgraded, &JsonLimits::CARD, Numbers::Strict)?;
    let unknown = uncovered(&upgraded, Profile::Spec841)?.listed();
    if let Some(first) = unknown.first().map(Uncovered::pointer) {
        return Err(no_equivalent(&received_pointer(first, received)));
    }
    if let Some(missing) = missing_member(upgraded.root()) {
        return Err(refuse(&missing, "is required by A2A 1.0 and absent"));
    }
    let mut sorted = Vec::with_capacity(upgraded.text().len());
    copy_value(upgraded.root(), &mut sorted);
    Ok(sorted)
}

fn refuse(pointer: &str, found: &str) -> Refusal {
    Refusal::new(Reason::CardNotSignable, format!("{} {found}", Quoted(pointer)))
}

fn no_equivalent(pointer: &str) -> Refusal {
    refuse(pointer, "has no equivalent in A2A 1.0")
}

fn contradiction(pointer: &str, other: &str) -> Refusal {
    refuse(pointer, &format!("does not say the same as `{other}`"))
}

fn wrong_type(pointer: &str, expected: &str) -> Refusal {
    Refusal::new(Reason::CardMemberType, format!("{} is not {expected}", Quoted(pointer)))
}

/// The member `name`; `None` if it is absent or null, which readers take for the same.
fn present<'d>(object: Object<'d>, name: &str) -> Option<Value<'d>> {
    object.get(name).filter(|value| value.kind() != Kind::Null)
}

fn text<'d>(object: Object<'d>, parent: &str, name: &str) -> Result<Option<&'d str>, Refusal> {
    present(object, name)
        .map(|value| value.as_str().ok_or_else(|| wrong_type(&format!("{parent}/{name}"), "a string")))
        .transpose()
}

fn array<'d>(object: Object<'d>, parent: &str, name: &str) -> Result<Option<Array<'d>>, Refusal> {
    present(object, name)
        .map(|value| value.as_array().ok_or_else(|| wrong_type(&format!("{parent}/{name}"), "an array")))
        .transpose()
}

fn flag(object: Object<'_>, parent: &str, name: &str) -> Result<Option<bool>, Refusal> {
    present(object, name)
        .map(|value| value.as_bool().ok_or_else(|| wrong_type(&format!("{parent}/{name}"), "a boolean")))
        .transpose()
}

fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// One interface of a 0.3 card, or of a 1.0 card as far as it is text.
struct Interface<'d> {
    url: &'d str,
    binding: &'d str,
    version: Option<String>,
}

/// Makes `supportedInterfaces`: those of the card, then one for `url` and for each of `additionalInterfaces` that is
/// not among them.
fn interfaces(root: Object<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let version = text(root, "", "protocolVersion")?
        .map(|version| {
            major_and_minor(version).ok_or_else(|| refuse("/protocolVersion", "is not a version like 0.3"))
        })
        .transpose()?;
    let own = array(root, "", "supportedInterfaces")?;
    let older = older_interfaces(root)?;
    let mut known: Vec<Interface<'_>> = Vec::new();
    let mut out = Vec::new();
    for entry in own.into_iter().flat_map(Array::iter) {
        out.push(if known.is_empty() { b'[' } else { b',' });
        known.push(own_interface(entry, version.as_deref(), &mut out));
    }
    if known.is_empty() && older.is_empty() {
        return match version {
            Some(_) => Err(no_equivalent("/protocolVersion")),
            None => Ok(own.map(|_| b"[]".to_vec())),
        };
    }
    if let Some(version) = version.as_ref().filter(|_| older.is_empty())
        && !known.iter().any(|one| one.version.as_ref() == Some(version))
    {
        return Err(contradiction("/protocolVersion", "supportedInterfaces"));
    }
    for (url, binding) in older {
        let is_known = known.iter().any(|one| {
            (one.url, one.binding) == (url, binding) && (version.is_none() || one.version == version)
        });
        if is_known {
            continue;
        }
        out.push(if known.is_empty() { b'[' } else { b',' });
        let spoken = version.clone().unwrap_or_else(|| DEFAULT_VERSION.to_owned());
        let mut object = ObjectWriter::open(&mut out);
        object.text("url", url);
        object.text("protocolBinding", binding);
        object.text("protocolVersion", &spoken);
        object.close();
        known.push(Interface { url, binding, version: Some(spoken) });
    }
    out.push(b']');
    Ok(Some(out))
}

/// Copies an interface of 1.0, with the version of the card if it has none of its own.
fn own_interface<'d>(entry: Value<'d>, version: Option<&str>, out: &mut Vec<u8>) -> Interface<'d> {
    let Some(members) = entry.as_object() else {
        // The check of the whole result names the type that is wrong.
        copy_value(entry, out);
        return Interface { url: "", binding: "", version: None };
    };
    let text = |name| members.get(name).and_then(Value::as_str);
    let own = text("protocolVersion").map(|own| major_and_minor(own).unwrap_or_else(|| own.to_owned()));
    let mut object = ObjectWriter::open(out);
    members.iter().for_each(|(name, value)| object.value(name, value));
    if let Some(version) = version.filter(|_| members.get("protocolVersion").is_none()) {
        object.text("protocolVersion", version);
    }
    object.close();
    Interface {
        url: text("url").unwrap_or_default(),
        binding: text("protocolBinding").unwrap_or_default(),
        version: own.or_else(|| version.map(str::to_owned)),
    }
}

/// URL and transport of `url`, then of each entry of `additionalInterfaces`.
pub(crate) fn older_interfaces(root: Object<'_>) -> Result<Vec<(&str, &str)>, Refusal> {
    let mut found = Vec::new();
    let preferred = text(root, "", "preferredTransport")?.filter(|transport| !transport.is_empty());
    match (text(root, "", "url")?.filter(|url| !url.is_empty()), preferred) {
        (Some(url), preferred) => found.push((url, preferred.unwrap_or(DEFAULT_TRANSPORT))),
        (None, Some(preferred)) => {
            let first = present(root, "supportedInterfaces").and_then(Value::as_array);
            let first = first.and_then(|list| list.iter().next()).and_then(Value::as_object);
            if first.and_then(|first| first.get("protocolBinding")).and_then(Value::as_str) != Some(preferred)
            {
                return Err(no_equivalent("/preferredTransport"));
            }
        }
        (None, None) => {}
    }
    let more = array(root, "", "additionalInterfaces")?;
    for (index, entry) in more.into_iter().flat_map(Array::iter).enumerate() {
        let parent = format!("/additionalInterfaces/{index}");
        let members = entry.as_object().ok_or_else(|| wrong_type(&parent, "an object"))?;
        if let Some((name, _)) = members.iter().find(|(name, _)| !["transport", "url"].contains(name)) {
            return Err(no_equivalent(&format!("{parent}/{}", token(name))));
        }
        let member = |name| {
            text(members, &parent, name)?
                .ok_or_else(|| refuse(&format!("{parent}/{name}"), "is required by A2A 0.3 and absent"))
        };
        found.push((member("url")?, member("transport")?));
    }
    Ok(found)
}

/// The version without its patch level, which 1.0 does not write (A2A 1.0 §3.6).
pub(crate) fn major_and_minor(version: &str) -> Option<String> {
    let parts: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [major, minor] | [major, minor, _] if parts.iter().all(is_number) => Some(format!("{major}.{minor}")),
        _ => None,
    }
}

/// Makes `capabilities`, with the extended card that 0.3 has at the root.
fn capabilities(root: Object<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let older = "supportsAuthenticatedExtendedCard";
    let extended = flag(root, "", older)?;
    let own = present(root, "capabilities")
        .map(|own| own.as_object().ok_or_else(|| wrong_type("/capabilities", "an object")))
        .transpose()?;
    let answered = own.map(|own| flag(own, "/capabilities", "extendedAgentCard")).transpose()?.flatten();
    if let (Some(extended), Some(answered)) = (extended, answered)
        && extended != answered
    {
        return Err(contradiction(&format!("/{older}"), "capabilities.extendedAgentCard"));
    }
    let history = "stateTransitionHistory";
    if own.map(|own| flag(own, "/capabilities", history)).transpose()?.flatten() == Some(true) {
        return Err(no_equivalent(&format!("/capabilities/{history}")));
    }
    let adds = extended == Some(true) && answered.is_none();
    if own.is_none() && !adds {
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut object = ObjectWriter::open(&mut out);
    for (name, value) in own.into_iter().flat_map(Object::iter) {
        // A null extended card would become a second member of this name.
        if name != history && !(adds && name == "extendedAgentCard") {
            object.value(name, value);
        }
    }
    if adds {
        object.raw("extendedAgentCard", b"true");
    }
    object.close();
    Ok(Some(out))
}

/// The member `authentication` of 0.2, as far as it has an equivalent: one HTTP scheme.
struct Authentication<'d> {
    scheme: &'d str,
}

impl<'d> Authentication<'d> {
    fn of(root: Object<'d>) -> Result<Option<Self>, Refusal> {
        let Some(value) = present(root, "authentication") else { return Ok(None) };
        let members = value.as_object().ok_or_else(|| wrong_type("/authentication", "an object"))?;
        let other = members.iter().find(|(name, value)| *name != "schemes" && value.kind() != Kind::Null);
        if let Some((name, _)) = other {
            return Err(no_equivalent(&format!("/authentication/{}", token(name))));
        }
        let schemes: Vec<_> =
            array(members, "/authentication", "schemes")?.into_iter().flat_map(Array::iter).collect();
        let scheme = match schemes.as_slice() {
            [] => return Ok(None),
            [one] => one.as_str().ok_or_else(|| wrong_type("/authentication/schemes/0", "a string"))?,
            // 0.2 does not say whether one of several is enough.
            [_, _, ..] => return Err(no_equivalent("/authentication/schemes")),
        };
        if !["basic", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(no_equivalent("/authentication/schemes/0"));
        }
        let newer = ["securitySchemes", "security", "securityRequirements"];
        match newer.into_iter().find(|name| root.get(name).is_some_and(|value| !value.is_empty())) {
            Some(newer) => Err(contradiction("/authentication", newer)),
            None => Ok(Some(Self { scheme })),
        }
    }
}

/// Makes `securitySchemes`: a scheme of 0.3, which has a `type`, becomes a member of the oneof of 1.0.
fn security_schemes(
    root: Object<'_>,
    authentication: Option<&Authentication<'_>>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut out = Vec::new();
    if let Some(Authentication { scheme }) = authentication {
        let mut inner = Vec::new();
        let mut members = ObjectWriter::open(&mut inner);
        members.text("scheme", &scheme.to_ascii_lowercase());
        members.close();
        let mut object = ObjectWriter::open(&mut out);
        object.raw(scheme, &wrapped("httpAuthSecurityScheme", &inner));
        object.close();
        return Ok(Some(out));
    }
    let Some(schemes) = present(root, "securitySchemes") else { return Ok(None) };
    let schemes = schemes.as_object().ok_or_else(|| wrong_type("/securitySchemes", "an object"))?;
    let mut object = ObjectWriter::open(&mut out);
    for (name, scheme) in schemes.iter() {
        let parent = format!("/securitySchemes/{}", token(name));
        let members = scheme.as_object().ok_or_else(|| wrong_type(&parent, "an object"))?;
        let Some(kind) = text(members, &parent, "type")? else {
            object.value(name, scheme);
            continue;
        };
        object.raw(name, &newer_scheme(kind, members.iter(), &parent)?);
    }
    object.close();
    Ok(Some(out))
}

/// Writes a scheme of 0.3 with the type `kind` as one of 1.0.
pub(crate) fn newer_scheme<'d>(
    kind: &str,
    members: impl Iterator<Item = (&'d str, Value<'d>)>,
    parent: &str,
) -> Result<Vec<u8>, Refusal> {
    let wrapper = wrapper(kind).ok_or_else(|| no_equivalent(&format!("{parent}/type")))?;
    let mut inner = Vec::new();
    let mut written = ObjectWriter::open(&mut inner);
    for (member, value) in members.filter(|(member, _)| *member != "type") {
        if kind == "apiKey" && member == "in" {
            written.value("location", value);
        } else if kind == "apiKey" && member == "location" {
            return Err(no_equivalent(&format!("{parent}/location")));
        } else {
            written.value(member, value);
        }
    }
    written.close();
    Ok(wrapped(wrapper, &inner))
}

pub(crate) fn wrapped(name: &str, json: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::open(&mut out);
    object.raw(name, json);
    object.close();
    out
}

/// Makes `securityRequirements` of the card or of a skill.
fn requirements(
    object: Object<'_>,
    parent: &str,
    authentication: Option<&Authentication<'_>>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let older = match authentication {
        Some(Authentication { scheme }) => {
            let requirement = wrapped(scheme, b"{\"list\":[]}");
            Some([b"[", &*wrapped("schemes", &requirement), b"]"].concat())
        }
        None => older_requirements(object, parent)?,
    };
    let own = present(object, "securityRequirements").map(|own| {
        let mut copy = Vec::new();
        copy_value(own, &mut copy);
        copy
    });
    match (own, older) {
        // Both are copies with sorted members, so equal requirements have equal bytes.
        (Some(own), Some(older)) if own != older => {
            Err(contradiction(&format!("{parent}/security"), "securityRequirements"))
        }
        (own, older) => Ok(own.or(older)),
    }
}

/// Writes the member `security` of 0.3 as `securityRequirements`; `None` if it is absent.
pub(crate) fn older_requirements(object: Object<'_>, parent: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(list) = array(object, parent, "security")? else { return Ok(None) };
    let mut out = b"[".to_vec();
    for (index, entry) in list.iter().enumerate() {
        let pointer = format!("{parent}/security/{index}");
        let entry = entry.as_object().ok_or_else(|| wrong_type(&pointer, "an object"))?;
        if index > 0 {
            out.push(b',');
        }
        let mut inner = Vec::new();
        let mut schemes = ObjectWriter::open(&mut inner);
        for (name, scopes) in entry.iter() {
            if scopes.as_array().is_none() {
                return Err(wrong_type(&format!("{pointer}/{}", token(name)), "an array"));
            }
            let mut list = Vec::new();
            copy_value(scopes, &mut list);
            schemes.raw(name, &wrapped("list", &list));
        }
        schemes.close();
        out.extend_from_slice(&wrapped("schemes", &inner));
    }
    out.push(b']');
    Ok(Some(out))
}

fn skills(root: Object<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(list) = array(root, "", "skills")? else { return Ok(None) };
    let mut out = b"[".to_vec();
    for (index, skill) in list.iter().enumerate() {
        let parent = format!("/skills/{index}");
        let skill = skill.as_object().ok_or_else(|| wrong_type(&parent, "an object"))?;
        if index > 0 {
            out.push(b',');
        }
        let requirements = requirements(skill, &parent, None)?;
        let mut object = ObjectWriter::open(&mut out);
        let others = skill.iter().filter(|(name, _)| !["security", "securityRequirements"].contains(name));
        others.for_each(|(name, value)| object.value(name, value));
        if let Some(requirements) = requirements {
            object.raw("securityRequirements", &requirements);
        }
        object.close();
    }
    out.push(b']');
    Ok(Some(out))
}

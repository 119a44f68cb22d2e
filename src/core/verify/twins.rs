//! Uncovered members that repeat signed ones in the words of another protocol version (rules 61 to 64).
//! Servers add them for older or newer clients after signing. Whoever changes one makes it say something else.

use crate::canon::{Profile, Uncovered, canonicalize, uncovered, wrapper};
use crate::json::{Array, Document, JsonLimits, Kind, Numbers, Object, Value, copy_value};
use crate::refusal::Refusal;
use crate::upgrade::{
    DEFAULT_VERSION, major_and_minor, newer_scheme, older_interfaces, older_requirements, wrapped,
};
use std::collections::BTreeSet;

/// The types of 0.3 security schemes.
const SCHEME_TYPES: [&str; 5] = ["apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"];

/// Members that name interfaces, judged together because 0.3 spreads one interface over several.
const INTERFACES: [&str; 5] =
    ["url", "preferredTransport", "protocolVersion", "additionalInterfaces", "supportedInterfaces"];
const EXTENDED_CARD: &str = "supportsAuthenticatedExtendedCard";

/// Received and signed members, compared as a reader of either version understands them.
pub(super) struct Twins<'d> {
    received: Object<'d>,
    signed: Object<'d>,
    /// The top-level members of the received card that repeat what is signed.
    repeating: Vec<&'static str>,
}

/// URL, protocol binding, protocol version without patch level, and tenant.
type Interface<'d> = (&'d str, &'d str, String, &'d str);

impl<'d> Twins<'d> {
    pub(super) fn new(received: Object<'d>, signed: Object<'d>) -> Self {
        let mut repeating = Vec::new();
        if interfaces_repeat(received, signed).unwrap_or(false) {
            repeating.extend(INTERFACES);
        }
        if requirements_repeat(received, signed) {
            repeating.extend(["security", "securityRequirements"]);
        }
        if schemes_repeat(received, signed) {
            repeating.push("securitySchemes");
        }
        if extended_card_repeats(received, signed) {
            repeating.push(EXTENDED_CARD);
        }
        Self { received, signed, repeating }
    }

    /// True if the uncovered member says nothing that is not signed.
    pub(super) fn repeats(&self, member: &Uncovered) -> bool {
        let mut tokens = member.pointer().split('/').skip(1);
        match (tokens.next(), tokens.next(), tokens.next()) {
            (Some("skills"), Some(index), Some("security" | "securityRequirements")) => {
                index.parse().is_ok_and(|index| self.skill_repeats(index))
            }
            (Some("capabilities"), Some("extendedAgentCard"), _) => self.repeating.contains(&EXTENDED_CARD),
            (Some(name), ..) => self.repeating.contains(&name),
            (None, ..) => false,
        }
    }

    fn skill_repeats(&self, index: usize) -> bool {
        let skills = |card: Object<'d>| card.get("skills").and_then(Value::as_array);
        let (Some(received), Some(signed)) = (skills(self.received), skills(self.signed)) else {
            return false;
        };
        let skill = |list: Array<'d>| list.iter().nth(index).and_then(Value::as_object);
        // Where the form left a skill out, skills of equal index are not the same one.
        received.len() == signed.len()
            && skill(received)
                .zip(skill(signed))
                .is_some_and(|(received, signed)| requirements_repeat(received, signed))
    }
}

fn has_content(object: Object<'_>, name: &str) -> bool {
    object.get(name).is_some_and(|value| !value.is_empty())
}

/// True if every received interface is signed, with its binding, version and tenant, and in the order of preference that
/// is signed (rule 61).
fn interfaces_repeat(received: Object<'_>, signed: Object<'_>) -> Option<bool> {
    let (received_all, known) = (Interfaces::of(received)?, Interfaces::of(signed)?);
    // A version without a 0.3 interface to belong to speaks of all interfaces.
    let version = match received.get("protocolVersion").filter(|version| !version.is_empty()) {
        Some(version) if received_all.older.is_empty() => {
            let version = major_and_minor(version.as_str()?)?;
            !known.is_empty() && known.all().all(|(_, _, known, _)| *known == version)
        }
        _ => true,
    };
    Some(version && known.prefer(&received_all))
}

/// The interfaces of a card, in the order of preference: of `supportedInterfaces`, and of the members of 0.3.
struct Interfaces<'d> {
    newer: Vec<Interface<'d>>,
    older: Vec<Interface<'d>>,
}

impl<'d> Interfaces<'d> {
    /// Reads the interfaces of a card of either version; `None` if one has an unknown member or one of the wrong type.
    fn of(card: Object<'d>) -> Option<Self> {
        let mut newer = Vec::new();
        let own = match card.get("supportedInterfaces").filter(|list| !list.is_empty()) {
            Some(list) => Some(list.as_array()?),
            None => None,
        };
        for entry in own.into_iter().flat_map(Array::iter) {
            let entry = entry.as_object()?;
            let known = ["protocolBinding", "protocolVersion", "tenant", "url"];
            entry.iter().all(|(name, _)| known.contains(&name)).then_some(())?;
            let text = |name| entry.get(name).map_or(Some(""), Value::as_str);
            let version = text("protocolVersion")?;
            let version = major_and_minor(version).unwrap_or_else(|| version.to_owned());
            newer.push((text("url")?, text("protocolBinding")?, version, text("tenant")?));
        }
        let version = match card.get("protocolVersion").filter(|version| !version.is_empty()) {
            Some(version) => major_and_minor(version.as_str()?)?,
            None => DEFAULT_VERSION.to_owned(),
        };
        let older = older_interfaces(card).ok()?;
        let older = older.into_iter().map(|(url, binding)| (url, binding, version.clone(), "")).collect();
        Some(Self { newer, older })
    }

    const fn is_empty(&self) -> bool {
        self.newer.is_empty() && self.older.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Interface<'d>> {
        self.newer.iter().chain(&self.older)
    }

    /// True if clients of either version find these interfaces in `received`, in this order and from the first one on:
    /// a client that leaves out what it cannot use then takes a signed preference, or finds nothing.
    fn prefer(&self, received: &Self) -> bool {
        let newer = is_beginning(&received.newer, self.all());
        // Clients of 0.3 see one version, and no tenant.
        let version = received.older.first().map(|(_, _, version, _)| version);
        let usable = self.older.iter().chain(&self.newer);
        let usable = usable.filter(|(_, _, known, tenant)| Some(known) == version && tenant.is_empty());
        newer && is_beginning(&received.older, usable)
    }
}

/// True if `list` is a beginning of `whole`, where an entry counts when it first occurs.
fn is_beginning<'l, 'd: 'l>(
    list: &'l [Interface<'d>],
    whole: impl Iterator<Item = &'l Interface<'d>>,
) -> bool {
    // A set for what was seen, because the sender chooses how many entries there are.
    let (mut seen, mut seen_of_whole) = (BTreeSet::new(), BTreeSet::new());
    let mut whole = whole.filter(|entry| seen_of_whole.insert(*entry));
    list.iter().filter(|entry| seen.insert(*entry)).all(|entry| whole.next() == Some(entry))
}

/// True if every received list of security requirements equals the signed one (rule 62).
fn requirements_repeat(received: Object<'_>, signed: Object<'_>) -> bool {
    const OWN: &str = "securityRequirements";
    let own = |object: Object<'_>| object.get(OWN).filter(|_| has_content(object, OWN)).map(copy);
    let older = |object: Object<'_>| {
        has_content(object, "security").then(|| older_requirements(object, "").ok().flatten())
    };
    let Some(known) = own(signed).or_else(|| older(signed).flatten()).and_then(|list| whole(OWN, &list))
    else {
        return false;
    };
    own(received).is_none_or(|list| whole(OWN, &list).as_ref() == Some(&known))
        && older(received).is_none_or(|list| list.and_then(|list| whole(OWN, &list)).as_ref() == Some(&known))
}

/// True if every received security scheme equals the signed one of its name, in the words of either version or of
/// both (rule 63).
fn schemes_repeat(received: Object<'_>, signed: Object<'_>) -> bool {
    fn schemes(card: Object<'_>) -> Option<Object<'_>> {
        card.get("securitySchemes").and_then(Value::as_object)
    }
    let (Some(received), Some(signed)) = (schemes(received), schemes(signed)) else { return false };
    received.iter().all(|(name, scheme)| {
        let (Some(scheme), Some(known)) = (scheme.as_object(), signed.get(name).and_then(Value::as_object))
        else {
            return false;
        };
        let known = said(known);
        !known.is_empty() && {
            let said = said(scheme);
            !said.is_empty() && said.iter().all(|one| one.is_some() && known.contains(one))
        }
    })
}

/// What a security scheme says in the words of 1.0, then what it says in those of 0.3, each as a whole form; `None` for
/// what has no such form.
fn said(scheme: Object<'_>) -> Vec<Option<Vec<u8>>> {
    let is_newer = |name: &str| SCHEME_TYPES.iter().any(|kind| wrapper(kind) == Some(name));
    let (newer, older): (Vec<_>, Vec<_>) = scheme.iter().partition(|(name, _)| is_newer(name));
    let form = |scheme: &[u8]| whole("securitySchemes", &wrapped("a", scheme));
    let mut said = Vec::new();
    if !newer.is_empty() {
        let members: Vec<_> = newer.into_iter().map(|(name, value)| wrapped(name, &copy(value))).collect();
        // A scheme is of one kind, so a second member of 1.0 has no form.
        said.push(if let [one] = members.as_slice() { form(one) } else { None });
    }
    if !older.is_empty() {
        let kind = scheme.get("type").and_then(Value::as_str);
        let scheme = kind.map(|kind| newer_scheme(kind, older.into_iter(), ""));
        said.push(scheme.and_then(Result::<_, Refusal>::ok).and_then(|scheme| form(&scheme)));
    }
    said
}

/// True if no received member about the extended card is anything but true, and a signed one is (rule 64).
fn extended_card_repeats(received: Object<'_>, signed: Object<'_>) -> bool {
    fn said(card: Object<'_>) -> impl Iterator<Item = Value<'_>> {
        let newer = card.get("capabilities").and_then(Value::as_object);
        let newer = newer.and_then(|capabilities| capabilities.get("extendedAgentCard"));
        [card.get(EXTENDED_CARD), newer].into_iter().flatten()
    }
    let is_true = |value: Value<'_>| value.as_bool() == Some(true);
    said(signed).any(is_true) && said(received).filter(|value| value.kind() != Kind::Null).all(is_true)
}

fn copy(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    copy_value(value, &mut out);
    out
}

/// The form of a card with nothing but one member; `None` if a signer could leave any part of it out. The form itself
/// strips nothing that is required: an empty location of a key is not an absent one.
fn whole(name: &str, json: &[u8]) -> Option<Vec<u8>> {
    let card = Document::parse(wrapped(name, json), &JsonLimits::DERIVED, Numbers::Binary64).ok()?;
    uncovered(&card, Profile::ProtoCleanJcs).ok()?.is_empty().then_some(())?;
    canonicalize(&card, Profile::Spec841).ok()
}

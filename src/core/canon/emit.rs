//! The one emitter behind all profiles: projects onto a schema, drops what the form drops, writes the rest.
//! In recording mode it also notes what was received but not written.

use super::schema::{Field, Message, Presence, Shape};
use super::uncovered::{BoundedPointer, Checkpoint, UncoveredMembers, ValueClass};
use super::{kagenti, v1, v03};
use crate::json::{Array, Dialect, Kind, Object, Value};
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;

/// A canonical form as flags.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormRules {
    pub(super) projection: Projection,
    pub(super) strip: Strip,
    pub(super) dialect: Dialect,
}

/// Which members are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Projection {
    Everything,
    V1,
    V03,
    Kagenti,
}

/// Which empty values (null, "", [] and {}) leave no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strip {
    Nothing,
    Empties,
    /// As `Empties`, but a list directly inside a list is kept as it is.
    EmptiesOutsideNestedLists,
}

pub(super) struct Emitter<'o> {
    form: FormRules,
    out: &'o mut Vec<u8>,
    /// False once something was left out.
    complete: bool,
    record: Option<Recording>,
}

/// One step of the way to a value.
#[derive(Clone, Copy)]
enum PathToken<'t> {
    Name(&'t str),
    Index(usize),
}

#[derive(Default)]
struct Recording {
    pointer: BoundedPointer,
    found: UncoveredMembers,
}

impl<'o> Emitter<'o> {
    pub(super) const fn new(form: FormRules, out: &'o mut Vec<u8>) -> Self {
        Self { form, out, complete: true, record: None }
    }

    pub(super) fn recording(form: FormRules, out: &'o mut Vec<u8>) -> Self {
        Self { form, out, complete: true, record: Some(Recording::default()) }
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn into_uncovered(self) -> UncoveredMembers {
        self.record.map(|record| record.found).unwrap_or_default()
    }

    /// Writes the card. Only its top-level `signatures` is left out (rule 11).
    pub(super) fn card(&mut self, root: Value<'_>) -> Result<(), Refusal> {
        let card = self.expect(root.as_object(), root, "an object")?;
        let message = match self.form.projection {
            Projection::Everything => {
                self.everything(card);
                return Ok(());
            }
            Projection::V1 => &v1::CARD,
            Projection::V03 => &v03::CARD,
            Projection::Kagenti => &kagenti::CARD,
        };
        let start = self.out.len();
        if !self.members(card, message, Some("signatures"))? {
            // A card of nothing but empties: the signers write an empty object.
            self.out.truncate(start);
            self.out.extend_from_slice(b"{}");
        }
        Ok(())
    }

    fn everything(&mut self, card: Object<'_>) {
        let mut separator = b'{';
        for (name, value) in card.iter().filter(|(name, _)| *name != "signatures") {
            self.out.push(separator);
            separator = b',';
            self.form.dialect.write_string(name, self.out);
            self.out.push(b':');
            self.form.dialect.write_value(value, self.out);
        }
        if separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    const fn strips(&self) -> bool {
        !matches!(self.form.strip, Strip::Nothing)
    }

    /// Writes an object of known members but `without`. Returns whether anything inside it was written.
    fn members(
        &mut self,
        object: Object<'_>,
        message: &'static Message,
        without: Option<&str>,
    ) -> Result<bool, Refusal> {
        self.out.push(b'{');
        let mut any = false;
        for (name, value) in object.iter().filter(|(name, _)| Some(*name) != without) {
            let start = self.out.len();
            if any {
                self.out.push(b',');
            }
            self.form.dialect.write_string(name, self.out);
            self.out.push(b':');
            let written = self.within(PathToken::Name(name), |emitter| {
                if let Some(field) = message.field(name) {
                    return emitter.field(value, field);
                }
                if !(value.is_empty() && is_legacy(name)) {
                    emitter.note(value);
                }
                Ok(false)
            })?;
            if written {
                any = true;
            } else {
                self.leave_out(start);
            }
        }
        self.out.push(b'}');
        Ok(any)
    }

    fn field(&mut self, value: Value<'_>, field: &Field) -> Result<bool, Refusal> {
        let default = match (value.kind(), field.presence) {
            // In ProtoJSON and in the models of the other signers, null is the same as absent.
            (Kind::Null, _) => true,
            (_, Presence::Plain) => is_plain_default(value, field.shape),
            (_, Presence::DefaultText(text)) => value.as_str() == Some(text),
            (_, Presence::Required | Presence::Tracked) => false,
        };
        if default {
            return Ok(false);
        }
        let checkpoint = self.checkpoint();
        let written = self.shaped(value, field.shape)?;
        if !written && !is_plain_default(value, field.shape) {
            self.note_whole(value, checkpoint);
        }
        Ok(written)
    }

    /// Writes a value of a known shape. Returns false, with nothing kept by the caller, if it is stripped.
    fn shaped(&mut self, value: Value<'_>, shape: Shape) -> Result<bool, Refusal> {
        match shape {
            Shape::Text => {
                let text = self.expect(value.as_str(), value, "a string")?;
                self.form.dialect.write_scalar(value, self.out);
                Ok(!(self.strips() && text.is_empty()))
            }
            Shape::Flag => {
                self.expect(value.as_bool(), value, "a boolean")?;
                self.form.dialect.write_scalar(value, self.out);
                Ok(true)
            }
            Shape::List(item) => self.list(value, *item),
            Shape::Map(item) => self.map(value, *item),
            Shape::Object(message) => {
                let object = self.expect(value.as_object(), value, "an object")?;
                Ok(self.members(object, message, None)? || !self.strips())
            }
            Shape::Typed(kinds) => {
                let object = self.expect(value.as_object(), value, "an object")?;
                // The signed form has no `type`, so it must follow from a member that the form does have.
                let named = object.get("type").and_then(Value::as_str);
                let kind = kinds.iter().find(|kind| {
                    named.is_none_or(|name| kind.name == name)
                        && (kind.mark.is_empty() || object.get(kind.mark).is_some())
                });
                let kind = self.expect(kind, value, "an object of a known `type` with its members")?;
                let start = self.out.len();
                let written = self.members(object, kind.message, None)?;
                let marked = !written || kind.mark.is_empty() || self.has_member_since(start, kind.mark);
                self.expect(marked.then_some(written), value, "an object whose members tell its kind")
            }
            Shape::Free => self.free(value, false),
        }
    }

    /// True if a member of this name was written behind `start`. Quotes inside of strings are escaped, so that
    /// only a name can look like one.
    fn has_member_since(&self, start: usize, name: &str) -> bool {
        let written = self.out.get(start..).unwrap_or_default();
        let member = format!("\"{name}\":");
        written.windows(member.len()).any(|window| window == member.as_bytes())
    }

    fn list(&mut self, value: Value<'_>, item: Shape) -> Result<bool, Refusal> {
        let array = self.expect(value.as_array(), value, "an array")?;
        self.out.push(b'[');
        let mut any = false;
        for (index, element) in array.iter().enumerate() {
            any |= self.element(element, index, any, |emitter| emitter.shaped(element, item))?;
        }
        self.out.push(b']');
        Ok(any || !self.strips())
    }

    /// Writes one element with its separator, or notes that it was left out.
    fn element(
        &mut self,
        value: Value<'_>,
        index: usize,
        separate: bool,
        write: impl FnOnce(&mut Self) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        let start = self.out.len();
        if separate {
            self.out.push(b',');
        }
        let written = self.within(PathToken::Index(index), |emitter| {
            let checkpoint = emitter.checkpoint();
            let written = write(emitter)?;
            if !written {
                emitter.note_whole(value, checkpoint);
            }
            Ok(written)
        })?;
        if !written {
            self.leave_out(start);
        }
        Ok(written)
    }

    fn map(&mut self, value: Value<'_>, item: Shape) -> Result<bool, Refusal> {
        let object = self.expect(value.as_object(), value, "an object")?;
        self.object_of(object, |emitter, value| emitter.shaped(value, item))
    }

    /// Writes an object whose names are free, in the dialect's order.
    fn object_of(
        &mut self,
        object: Object<'_>,
        mut write: impl FnMut(&mut Self, Value<'_>) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        self.out.push(b'{');
        let mut any = false;
        let mut failed = None;
        self.form.dialect.for_each_member(object, |name, value, _| {
            if failed.is_some() {
                return;
            }
            let start = self.out.len();
            if any {
                self.out.push(b',');
            }
            self.form.dialect.write_string(name, self.out);
            self.out.push(b':');
            let written = self.within(PathToken::Name(name), |emitter| {
                let checkpoint = emitter.checkpoint();
                let written = write(emitter, value)?;
                if !written {
                    emitter.note_whole(value, checkpoint);
                }
                Ok(written)
            });
            match written {
                Ok(true) => any = true,
                Ok(false) => self.leave_out(start),
                Err(refusal) => failed = Some(refusal),
            }
        });
        if let Some(refusal) = failed {
            return Err(refusal);
        }
        self.out.push(b'}');
        Ok(any || !self.strips())
    }

    /// Writes free-form JSON, stripped as the form says.
    fn free(&mut self, value: Value<'_>, in_list: bool) -> Result<bool, Refusal> {
        let keep_whole = match self.form.strip {
            Strip::Nothing => true,
            Strip::Empties => false,
            Strip::EmptiesOutsideNestedLists => in_list && value.as_array().is_some(),
        };
        if keep_whole {
            self.form.dialect.write_value(value, self.out);
            return Ok(true);
        }
        if let Some(object) = value.as_object() {
            return self.object_of(object, |emitter, value| emitter.free(value, false));
        }
        if let Some(array) = value.as_array() {
            self.out.push(b'[');
            let mut any = false;
            for (index, element) in array.iter().enumerate() {
                any |= self.element(element, index, any, |emitter| emitter.free(element, true))?;
            }
            self.out.push(b']');
            return Ok(any);
        }
        self.form.dialect.write_scalar(value, self.out);
        Ok(!value.is_empty())
    }

    fn expect<T>(&self, found: Option<T>, value: Value<'_>, expected: &str) -> Result<T, Refusal> {
        found.ok_or_else(|| {
            let location =
                self.record.as_ref().map(|record| format!(" at {}", Quoted(record.pointer.as_str())));
            Refusal::new(
                Reason::CardMemberType,
                format!(
                    "the schema asks for {expected} where the card has {}{}",
                    value.kind().name(),
                    location.unwrap_or_default()
                ),
            )
        })
    }

    fn within<T>(
        &mut self,
        token: PathToken<'_>,
        work: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let step = self.record.as_mut().map(|record| match token {
            PathToken::Name(name) => record.pointer.enter(name),
            PathToken::Index(index) => record.pointer.enter(&index.to_string()),
        });
        let result = work(self);
        if let (Some(record), Some(step)) = (self.record.as_mut(), step) {
            record.pointer.leave(step);
        }
        result
    }

    fn leave_out(&mut self, start: usize) {
        self.out.truncate(start);
        self.complete = false;
    }

    /// Notes a value that was never looked into.
    fn note(&mut self, value: Value<'_>) {
        if let Some(record) = self.record.as_mut() {
            record.found.note(record.pointer.as_str(), ValueClass::of(value));
        }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.record.as_ref().map(|record| record.found.checkpoint())
    }

    /// Notes a value that is left out as a whole, after its parts were looked at.
    fn note_whole(&mut self, value: Value<'_>, checkpoint: Option<Checkpoint>) {
        if let (Some(record), Some(checkpoint)) = (self.record.as_mut(), checkpoint) {
            record.found.note_whole(record.pointer.as_str(), ValueClass::of(value), checkpoint);
        }
    }
}

/// True if leaving the value out loses nothing: it is the default of its declared type, and of that type.
fn is_plain_default(value: Value<'_>, shape: Shape) -> bool {
    match shape {
        Shape::Flag => value.as_bool() == Some(false),
        Shape::Text => value.as_str() == Some(""),
        Shape::List(_) => value.as_array().is_some_and(Array::is_empty),
        Shape::Map(_) => value.as_object().is_some_and(Object::is_empty),
        // An empty sub-message is present, which can mean something (`mtlsSecurityScheme: {}`).
        Shape::Object(_) | Shape::Typed(_) | Shape::Free => false,
    }
}

/// True for members of other versions of the card, whose emptiness equals their absence.
fn is_legacy(name: &str) -> bool {
    v03::CARD.field(name).or(v1::CARD.field(name)).is_some()
}

#[cfg(test)]
mod tests {
    use crate::canon::{Profile, canonicalize};
    use crate::json::{Document, JsonLimits, Numbers};

    #[test]
    fn a_scheme_whose_kind_the_signed_form_does_not_tell_is_refused() {
        for scheme in [
            r#"{"type": "apiKey", "in": "", "name": "x"}"#,
            r#"{"type": "oauth2", "flows": {"unknown": 1}, "oauth2MetadataUrl": "x"}"#,
        ] {
            let card = format!(r#"{{"securitySchemes": {{"a": {scheme}}}}}"#);
            let card = Document::parse(card.into(), &JsonLimits::CARD, Numbers::Strict).unwrap();
            assert!(canonicalize(&card, Profile::Py03).is_err(), "{scheme}");
        }
        let card = br#"{"securitySchemes": {"a": {"type": "apiKey", "in": "query", "name": "in"}}}"#;
        let card = Document::parse(card.to_vec(), &JsonLimits::CARD, Numbers::Strict).unwrap();
        let form = canonicalize(&card, Profile::Py03).unwrap();
        assert_eq!(form, br#"{"securitySchemes":{"a":{"in":"query","name":"in"}}}"#);
    }
}

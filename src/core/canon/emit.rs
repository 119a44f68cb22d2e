//! The emitter of all profiles: projects a card onto a schema, drops empties as the form says, writes the rest.
//! In recording mode the emitter also notes each received member that it does not write (rule 47).

use super::schema::{Field, Message, Presence, Shape};
use super::uncovered::{BoundedPointer, Checkpoint, UncoveredMembers, ValueClass};
use super::{kagenti, v1, v03};
use crate::json::{Array, Dialect, Kind, Object, Value};
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;

/// The rules of one canonical form.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormRules {
    pub(super) projection: Projection,
    pub(super) strip: Strip,
    pub(super) dialect: Dialect,
}

/// The schema whose members a form contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Projection {
    Everything,
    V1,
    V03,
    Kagenti,
}

/// The empty values (null, "", [] and {}) that a form drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strip {
    Nothing,
    Empties,
    /// All empties, except inside a list that is directly inside a list.
    EmptiesOutsideNestedLists,
}

pub(super) struct Emitter<'o> {
    form: FormRules,
    out: &'o mut Vec<u8>,
    /// False once a received member was left out.
    complete: bool,
    record: Option<Recording>,
}

/// One reference token of a JSON Pointer (RFC 6901 §3).
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

    /// Writes the card without its top-level `signatures`, the only member that no form covers (rule 11).
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
            // Every member of the card was empty: the stripping signers then sign an empty object.
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

    /// Writes an object of known members, except `without`. Returns true if any member was written.
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
            // ProtoJSON and the models of the other signers read null as absent.
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

    /// Writes a value of a known shape. Returns false if the value is stripped; the caller then truncates the output.
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
                // The signed form has no `type`, so another member of the form must determine the kind: otherwise the
                // kind could be changed without breaking the signature (rule 47).
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

    /// True if a member named `name` was written after `start`. Quotes inside strings are escaped, so only a member
    /// name matches.
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

    /// Writes one element of a list with its separator, or notes the element as left out.
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

    /// Writes an object whose names are free, in the member order of the dialect.
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

    /// Notes a value whose inside was not visited as left out.
    fn note(&mut self, value: Value<'_>) {
        if let Some(record) = self.record.as_mut() {
            record.found.note(record.pointer.as_str(), ValueClass::of(value));
        }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.record.as_ref().map(|record| record.found.checkpoint())
    }

    /// Notes a value as left out as a whole, after its parts were visited.
    fn note_whole(&mut self, value: Value<'_>, checkpoint: Option<Checkpoint>) {
        if let (Some(record), Some(checkpoint)) = (self.record.as_mut(), checkpoint) {
            record.found.note_whole(record.pointer.as_str(), ValueClass::of(value), checkpoint);
        }
    }
}

/// True if `value` has its declared type and is the default of that type, so that dropping it loses nothing.
fn is_plain_default(value: Value<'_>, shape: Shape) -> bool {
    match shape {
        Shape::Flag => value.as_bool() == Some(false),
        Shape::Text => value.as_str() == Some(""),
        Shape::List(_) => value.as_array().is_some_and(Array::is_empty),
        Shape::Map(_) => value.as_object().is_some_and(Object::is_empty),
        // The presence of an empty sub-message has a meaning (`mtlsSecurityScheme: {}`).
        Shape::Object(_) | Shape::Typed(_) | Shape::Free => false,
    }
}

/// True for members of the 1.0 or 0.3 card, whose readers take empty for absent.
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

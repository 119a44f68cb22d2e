//! Deserializer from a YAML tree. It reports unknown keys with the nearest known one, and expands `${NAME}` in each text
//! value after YAML was parsed, so that a variable cannot add structure to the file.

use super::diagnostic::{Diagnostic, Mistake};
use super::node::{MemberKey, Place, YamlNode, YamlValue};
use super::path::{PathStep, ValuePath};
use super::read_error::{ReadError, nearest};
use super::word::Contents;
use countersign_core::text::Quoted;
use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Lookup of a variable for `${NAME}`.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Context that all readers of one file share.
#[derive(Default)]
pub struct ReaderContext<'a> {
    /// Looks up an environment variable; `None` leaves `${NAME}` as it is.
    variable: Option<Variables<'a>>,
    /// True if unknown keys and variables are ignored with a notice.
    pub(super) lenient: bool,
    /// Notices in lenient mode; errors otherwise.
    pub(super) found: RefCell<Vec<Mistake>>,
    /// Paths of values that are passed over, because a mistake in them is known.
    pub(super) skipped: RefCell<BTreeSet<ValuePath>>,
}

impl<'a> ReaderContext<'a> {
    /// Context of a file in which `${NAME}` stands for a variable, if there is a lookup. A `lenient` one ignores unknown keys
    /// and variables.
    pub fn new(variable: Option<Variables<'a>>, lenient: bool) -> Self {
        Self { variable, lenient, ..Self::default() }
    }

    /// What was passed over, each once however often the file was read.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut seen = BTreeSet::new();
        let found = self.found.into_inner().into_iter().filter(|one| seen.insert(one.clone()));
        found.map(Mistake::into_diagnostic).collect()
    }
}

/// Reads a file to a type. Unknown keys are in the diagnostics of the context.
///
/// # Errors
/// The first value that does not fit.
pub fn read<T: DeserializeOwned>(root: &YamlNode, context: &ReaderContext<'_>) -> Result<T, Diagnostic> {
    T::deserialize(ConfigReader::new(root, context))
        .map_err(|error| error.into_mistake(root.place).into_diagnostic())
}

/// Deserializer of one node.
#[derive(Clone, Copy)]
pub(super) struct ConfigReader<'a> {
    node: &'a YamlNode,
    path: &'a Path<'a>,
    context: &'a ReaderContext<'a>,
}

/// Path from the root to a node, linked through the readers on the stack.
enum Path<'a> {
    Root,
    Key(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl Path<'_> {
    fn to_value_path(&self) -> ValuePath {
        match self {
            Self::Root => ValuePath::default(),
            Self::Key(parent, name) => parent.to_value_path().then(PathStep::Key(name)),
            Self::Index(parent, index) => parent.to_value_path().then(PathStep::Index(*index)),
        }
    }
}

impl<'a> ConfigReader<'a> {
    pub(super) const fn new(node: &'a YamlNode, context: &'a ReaderContext<'a>) -> Self {
        Self { node, path: &Path::Root, context }
    }

    /// Name of the member that holds the node; empty for the root and in a list.
    const fn name(self) -> &'a str {
        match self.path {
            Path::Key(_, name) => name,
            Path::Root | Path::Index(..) => "",
        }
    }

    fn located<T>(self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| ReadError {
            at: error.at.or_else(|| Some((self.node.place, self.path.to_value_path()))),
            ..error
        })
    }

    fn text(self, text: &str) -> Result<String, ReadError> {
        let Some(variable) = self.context.variable else { return Ok(text.to_owned()) };
        match expand(text, variable) {
            Ok(text) => Ok(text),
            Err(name) if self.context.lenient => {
                let problem = format!(
                    "${{{name}}} is not set, and stays in the value as it is: set the variable, or write the value here"
                );
                self.record(self.node.place, None, problem);
                Ok(text.to_owned())
            }
            Err(name) => Err(ReadError::custom(format!(
                "the environment variable {} is not set; set it, or write $${{…}} for a literal ${{…}}",
                Quoted(&name)
            ))),
        }
    }

    fn record(self, place: Place, key: Option<&str>, problem: String) {
        let own = self.path.to_value_path();
        let path = match key {
            Some(key) => own.then(PathStep::Key(key)),
            None => own,
        };
        self.context.found.borrow_mut().push(Mistake { place, path, problem });
    }

    fn record_unknown(self, key: &MemberKey, fields: &[&str]) {
        let mut problem = match nearest(&key.name, fields) {
            Some(field) => format!("there is no such key; did you mean {field}?"),
            None => format!("there is no such key; known are {}.", fields.join(", ")),
        };
        if self.context.lenient {
            problem.push_str(" It is passed over, and what it says does not hold: correct it or take it out");
        }
        self.record(key.place, Some(&key.name), problem);
    }

    fn members(
        self,
        members: &'a [(MemberKey, YamlNode)],
        fields: Option<&'static [&'static str]>,
    ) -> Members<'a> {
        // `name` first, wherever the file has it: it selects the type of a plugin's configuration.
        let mut left: Vec<&(MemberKey, YamlNode)> = members.iter().collect();
        left.sort_by_key(|(key, _)| key.name != "name");
        if let Some(fields) = fields {
            left.retain(|(key, _)| {
                let known = fields.contains(&key.name.as_str());
                if !known {
                    self.record_unknown(key, fields);
                }
                known
            });
        }
        let skipped = self.context.skipped.borrow();
        if !skipped.is_empty() {
            left.retain(|(key, _)| !skipped.contains(&Path::Key(self.path, &key.name).to_value_path()));
        }
        left.reverse();
        Members { reader: self, left, next: None }
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            YamlValue::Map(members) => self.located(visitor.visit_map(self.members(members, fields))),
            // `session:` without contents is an empty map to people, and null to YAML.
            YamlValue::Null => self.located(visitor.visit_map(self.members(&[], fields))),
            YamlValue::Text(text) => {
                let text = self.located(self.text(text))?;
                self.located(visitor.visit_string(text))
            }
            other => self
                .located(Err(ReadError::custom(format!("it is {}, expected a map of keys", other.kind())))),
        }
    }
}

/// Expands `${NAME}`; `$${` stands for `${`, and any other dollar sign for itself, because secrets contain them. The error
/// is the name of a variable that is not set.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}') else { break };
        expanded.push_str(before);
        expanded.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

impl<'de> Deserializer<'de> for ConfigReader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            YamlValue::Null => self.located(visitor.visit_unit()),
            YamlValue::Bool(value) => self.located(visitor.visit_bool(*value)),
            YamlValue::Integer(value) => self.located(match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            }),
            YamlValue::Float(value) => self.located(visitor.visit_f64(*value)),
            YamlValue::Text(text) => {
                let text = self.located(self.text(text))?;
                self.located(visitor.visit_string(text))
            }
            YamlValue::List(nodes) => {
                let mut elements = Elements { reader: self, left: nodes.iter().enumerate() };
                self.located(visitor.visit_seq(&mut elements))
            }
            YamlValue::Map(_) => self.map(None, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.value == YamlValue::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let text = match &self.node.value {
            YamlValue::Text(text) => text,
            // A word with contents, such as `threshold: 2`.
            YamlValue::Map(members) if let [(key, _)] = members.as_slice() => {
                let word =
                    Contents { members: self.members(members, None), name: self.name(), word: &key.name };
                return self.located(visitor.visit_enum(word));
            }
            YamlValue::Map(members) => {
                let found = format!("it has {} keys; keep one of {}", members.len(), words.join(", "));
                return self.located(Err(ReadError::custom(found)));
            }
            other => {
                let found = format!("it is {}, expected one of {}", other.kind(), words.join(", "));
                return self.located(Err(ReadError::custom(found)));
            }
        };
        let text = self.located(self.text(text))?;
        self.located(visitor.visit_enum(Word(text)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier
    }

    /// What nobody reads is not looked at: a variable in it need not be set.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

/// Access to a unit variant by its name.
struct Word(String);

impl<'de> EnumAccess<'de> for Word {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ReadError> {
        let name: StringDeserializer<ReadError> = self.0.clone().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ReadError> {
        Err(ReadError::custom(NO_CONTENTS))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::custom(NO_CONTENTS))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(ReadError::custom(NO_CONTENTS))
    }
}

const NO_CONTENTS: &str = "the word needs contents; write them below it, as in `threshold: 2`";

struct Members<'a> {
    reader: ConfigReader<'a>,
    left: Vec<&'a (MemberKey, YamlNode)>,
    next: Option<&'a (MemberKey, YamlNode)>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.next = self.left.pop();
        let Some((key, _)) = self.next else { return Ok(None) };
        let name: StringDeserializer<ReadError> = key.name.clone().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| {
            let path = || Path::Key(self.reader.path, &key.name).to_value_path();
            ReadError { at: error.at.or_else(|| Some((key.place, path()))), ..error }
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some((key, node)) = self.next.take() else {
            return Err(ReadError::custom("a value was asked for before its key"));
        };
        let path = Path::Key(self.reader.path, &key.name);
        let reader = ConfigReader { node, path: &path, context: self.reader.context };
        reader.located(seed.deserialize(reader))
    }
}

struct Elements<'a> {
    reader: ConfigReader<'a>,
    left: std::iter::Enumerate<std::slice::Iter<'a, YamlNode>>,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let context = self.reader.context;
        let is_read = |index: usize| {
            let skipped = context.skipped.borrow();
            skipped.is_empty() || !skipped.contains(&Path::Index(self.reader.path, index).to_value_path())
        };
        let Some((index, node)) = self.left.find(|(index, _)| is_read(*index)) else { return Ok(None) };
        let path = Path::Index(self.reader.path, index);
        let reader = ConfigReader { node, path: &path, context: self.reader.context };
        reader.located(seed.deserialize(reader)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_in_braces_is_replaced() {
        let variable = |name: &str| (name == "A").then(|| "x$y".to_owned());
        for (text, expected) in [
            ("${A}", "x$y"),
            ("<${A}${A}>", "<x$yx$y>"),
            ("$A pa$$word $", "$A pa$$word $"),
            ("$${A}", "${A}"),
            ("${A", "${A"),
        ] {
            assert_eq!(expand(text, &variable).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(expand("${A}${B}", &variable), Err("B".to_owned()));
    }
}

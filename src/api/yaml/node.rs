//! YAML tree in which every value has its place, so that a diagnostic can name it.
//! The YAML crate refuses duplicate keys and bounds aliases and depth; nothing is accepted here that it refuses.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// Place in a file; the default stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

impl Place {
    /// Start of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// YAML value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlNode {
    /// Value.
    pub value: YamlValue,
    /// Place at which the value begins.
    pub place: Place,
}

/// YAML value without its place.
#[derive(Clone, Debug, PartialEq)]
pub enum YamlValue {
    /// Nothing, as in `key:`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Number without a fraction.
    Integer(i64),
    /// Number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// List of values.
    List(Vec<YamlNode>),
    /// Members by key, in the order of the file.
    Map(Vec<(MemberKey, YamlNode)>),
}

/// Key of a map's member with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberKey {
    /// Name of the member.
    pub name: String,
    /// Place of the name.
    pub place: Place,
}

impl YamlNode {
    /// Parses one YAML document; an empty one is an empty map, so that defaults apply.
    ///
    /// # Errors
    /// Broken syntax, or a key that occurs twice.
    pub fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        let root: Self = serde_saphyr::from_str(text)?;
        Ok(match root.value {
            YamlValue::Null => Self { value: YamlValue::Map(Vec::new()), place: Place::START },
            _ => root,
        })
    }
}

impl YamlValue {
    /// Kind of the value, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<YamlValue>::deserialize(deserializer)?;
        Ok(Self { value, place: referenced.into() })
    }
}

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = YamlValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Null)
    }

    fn visit_none<E>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<YamlValue, D::Error> {
        YamlValue::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<YamlValue, E> {
        Ok(YamlValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<YamlValue, E> {
        Ok(YamlValue::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<YamlValue, E> {
        i64::try_from(value).map(YamlValue::Integer).map_err(|_| E::custom("a number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<YamlValue, E> {
        Ok(YamlValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<YamlValue, E> {
        Ok(YamlValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<YamlValue, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(YamlValue::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlValue, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = MemberKey { place: key.referenced.into(), name: key.value };
            members.push((key, map.next_value()?));
        }
        Ok(YamlValue::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let root = YamlNode::parse("a: 1\nb:\n  - x\n  - c: true\n").unwrap();
        let YamlValue::Map(members) = &root.value else { panic!("{root:?}") };
        assert_eq!((members[1].0.name.as_str(), members[1].0.place), ("b", Place { line: 2, column: 1 }));
        let YamlValue::List(list) = &members[1].1.value else { panic!("{root:?}") };
        let places: Vec<(u64, u64)> = list.iter().map(|node| (node.place.line, node.place.column)).collect();
        assert_eq!(places, [(3, 5), (4, 5)]);
    }

    #[test]
    fn a_key_occurs_once() {
        assert!(YamlNode::parse("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn an_empty_document_is_an_empty_map() {
        assert_eq!(YamlNode::parse("").unwrap().value, YamlValue::Map(Vec::new()));
        assert_eq!(YamlNode::parse("# nothing\n").unwrap().value, YamlValue::Map(Vec::new()));
    }
}

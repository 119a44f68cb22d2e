//! Words of a closed list that stand in a map with their contents, as `threshold: 2` does below `signers:`.

use super::read_error::ReadError;
use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, VariantAccess, Visitor};

/// Access to the one word of a map, and to its contents.
pub(super) struct Contents<'a, A> {
    /// Members of the map.
    pub(super) members: A,
    /// Name of the member that holds the map; empty for the root and in a list.
    pub(super) name: &'a str,
    /// The one key of the map.
    pub(super) word: &'a str,
}

impl<'de, A: MapAccess<'de, Error = ReadError>> EnumAccess<'de> for Contents<'_, A> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<(S::Value, Self), ReadError> {
        match self.members.next_key_seed(seed)? {
            Some(variant) => Ok((variant, self)),
            None => Err(ReadError::custom("it is an empty map, expected a word")),
        }
    }
}

impl<'de, A: MapAccess<'de, Error = ReadError>> VariantAccess<'de> for Contents<'_, A> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        let Self { name, word, .. } = self;
        let at = if name.is_empty() { String::new() } else { format!("{name}: ") };
        Err(ReadError::custom(format!("{word} has no contents; write `{at}{word}`")))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, ReadError> {
        self.members.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::custom("a list of contents is not known here"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(ReadError::custom("a map of contents is not known here"))
    }
}

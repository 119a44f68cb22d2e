//! Words of a closed list that stand in a map with their contents, as `threshold: 2` does below `signers:`.

use super::read_error::ReadError;
use super::reader::Members;
use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, VariantAccess, Visitor};

/// Access to the one word of a map, and to its contents.
pub(super) struct Contents<'a>(pub(super) Members<'a>);

/// Access to the contents of a word.
pub(super) struct Below<'a> {
    members: Members<'a>,
    word: String,
}

impl<'de, 'a> EnumAccess<'de> for Contents<'a> {
    type Error = ReadError;
    type Variant = Below<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<(S::Value, Below<'a>), ReadError> {
        let word = self.0.next_name().unwrap_or_default().to_owned();
        match self.0.next_key_seed(seed)? {
            Some(variant) => Ok((variant, Below { members: self.0, word })),
            None => Err(ReadError::custom("it is an empty map, expected a word")),
        }
    }
}

impl<'de> VariantAccess<'de> for Below<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        let name = self.members.reader.name();
        let at = if name.is_empty() { String::new() } else { format!("{name}: ") };
        Err(ReadError::custom(format!("{} has no contents; write `{at}{}`", self.word, self.word)))
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

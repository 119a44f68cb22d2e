//! Types of the schema tables: members of a card with their presence and JSON types.
//! The tables are data; the module `emit` interprets them.

/// The declaration of an object: its known members, sorted by name.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

/// The declaration of one member.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) presence: Presence,
    pub(super) shape: Shape,
}

/// The condition under which a received member is part of the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// REQUIRED by the specification: kept even if empty.
    Required,
    /// Tracked presence: kept if present, whatever its value.
    Tracked,
    /// Untracked presence: dropped if it has the default value of its type.
    Plain,
    /// Untracked presence: dropped if it has this text as its value.
    DefaultText(&'static str),
}

/// The JSON type of a member.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Text,
    Flag,
    List(&'static Shape),
    Map(&'static Shape),
    Object(&'static Message),
    /// An object of several kinds, told apart by the member `type` or by a member that only one kind has.
    Typed(&'static [Alternative]),
    /// Any JSON value.
    Free,
}

/// One kind of object of [`Shape::Typed`].
#[derive(Debug)]
pub(super) struct Alternative {
    pub(super) name: &'static str,
    /// A member that no other kind has; empty if there is none.
    pub(super) mark: &'static str,
    pub(super) message: &'static Message,
}

pub(super) const TEXT: Shape = Shape::Text;
pub(super) const FLAG: Shape = Shape::Flag;
pub(super) const TEXTS: Shape = Shape::List(&Shape::Text);
pub(super) const TEXT_MAP: Shape = Shape::Map(&Shape::Text);

pub(super) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, presence: Presence::Required, shape }
}

pub(super) const fn tracked(name: &'static str, shape: Shape) -> Field {
    Field { name, presence: Presence::Tracked, shape }
}

pub(super) const fn plain(name: &'static str, shape: Shape) -> Field {
    Field { name, presence: Presence::Plain, shape }
}

pub(super) const fn default_text(name: &'static str, value: &'static str) -> Field {
    Field { name, presence: Presence::DefaultText(value), shape: TEXT }
}

impl Message {
    /// The declaration of the member whose name is exactly `name`.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        // Most names differ in length, so a linear search compares fewer bytes than a binary one.
        self.fields.iter().find(|field| field.name == name)
    }

    /// The name of the known member of which `name` is another spelling (rule 6).
    pub(super) fn aliased_by(&self, name: &str) -> Option<&'static str> {
        self.fields.iter().map(|field| field.name).find(|known| is_spelled_like(name, known))
    }
}

/// True if readers that ignore case or accept `snake_case` take `name` for `known`. U+017F and U+212A, the two
/// non-ASCII letters that Unicode case folding maps to ASCII, count as `s` and `k`.
pub(super) fn is_spelled_like(name: &str, known: &str) -> bool {
    fold(known).eq(fold(name))
}

fn fold(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|c| *c != '_').map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{kagenti, v1, v03};
    use super::*;

    fn check(message: &'static Message) {
        assert!(message.fields.is_sorted_by(|a, b| a.name < b.name), "{:?}", message.fields);
        message.fields.iter().for_each(|field| visit(&field.shape));
    }

    fn visit(shape: &'static Shape) {
        match shape {
            Shape::List(inner) | Shape::Map(inner) => visit(inner),
            Shape::Object(message) => check(message),
            Shape::Typed(kinds) => kinds.iter().for_each(|kind| check(kind.message)),
            Shape::Text | Shape::Flag | Shape::Free => {}
        }
    }

    #[test]
    fn every_table_is_sorted_so_that_lookup_finds_every_member() {
        [&v1::CARD, &v03::CARD, &kagenti::CARD].into_iter().for_each(check);
    }

    #[test]
    fn rule_06_spellings_that_lenient_readers_match_are_found() {
        for alias in ["URL", "Url", "u_rl", "\u{17f}kills", "S\u{212a}ills", "preferred_transport"] {
            assert!(v03::CARD.aliased_by(alias).is_some(), "{alias}");
        }
        assert_eq!(v03::CARD.aliased_by("urls"), None);
    }
}

//! Path from the root of a file to a value.

use countersign_core::text::Quoted;
use std::fmt;

/// One step of the path from the root to a value.
#[derive(Clone, Copy, Debug)]
pub enum PathStep<'a> {
    /// Member of a map by its name.
    Key(&'a str),
    /// Element of a list, from 0.
    Index(usize),
}

/// Path that is kept. Paths are compared by their steps and not by their text, because a key may hold what separates keys, as
/// the name of a trust domain does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValuePath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

impl ValuePath {
    /// Path of these steps.
    pub(super) fn new(steps: &[PathStep<'_>]) -> Self {
        let step = |step: &PathStep<'_>| match step {
            PathStep::Key(name) => Step::Key((*name).to_owned()),
            PathStep::Index(index) => Step::Index(*index),
        };
        Self(steps.iter().map(step).collect())
    }

    /// Path one step further.
    #[must_use]
    pub(super) fn then(mut self, step: PathStep<'_>) -> Self {
        self.0.extend(Self::new(&[step]).0);
        self
    }

    /// True for the path of the whole file.
    pub(super) const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// True if it leads to a part of the value at `outer`.
    pub(super) fn is_inside(&self, outer: &Self) -> bool {
        self.0.len() > outer.0.len() && self.0.starts_with(&outer.0)
    }

    /// True if it leads to a member of the map at `map`.
    pub(super) fn is_member_of(&self, map: &Self) -> bool {
        matches!(self.0.split_last(), Some((Step::Key(_), outer)) if outer == map.0)
    }

    /// Index in the list at `list`; `None` if it does not lead to an element of it.
    pub(super) fn index_in(&self, list: &Self) -> Option<usize> {
        match self.0.split_last()? {
            (Step::Index(index), outer) if outer == list.0 => Some(*index),
            _ => None,
        }
    }
}

impl fmt::Display for ValuePath {
    /// Writes a path as diagnostics name it, such as `deny.cards[3]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) => {
                    let quoted = Quoted(name).to_string();
                    let name = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    f.write_str(if depth == 0 { "" } else { "." })?;
                    f.write_str(name.unwrap_or_default())?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::PathStep::{Index, Key};
    use super::*;

    #[test]
    fn paths_are_compared_by_their_steps() {
        let path = ValuePath::new;
        let outer = path(&[Key("a")]);
        for (steps, shown, is_inside, is_member) in [
            (&[Key("a"), Key("b")][..], "a.b", true, true),
            (&[Key("a.b")], "a.b", false, false),
            (&[Key("a"), Index(3)], "a[3]", true, false),
            (&[Key("a"), Index(3), Key("b")], "a[3].b", true, false),
            (&[Key("a")], "a", false, false),
            (&[Index(0), Key("x\ny\"")], "[0].x\\u{a}y\\\"", false, false),
            (&[], "", false, false),
        ] {
            let inner = path(steps);
            assert_eq!(inner.to_string(), shown);
            assert_eq!(
                (inner.is_inside(&outer), inner.is_member_of(&outer)),
                (is_inside, is_member),
                "{shown}"
            );
        }
        assert_eq!(path(&[Key("a"), Index(3)]).index_in(&outer), Some(3));
        assert_eq!(path(&[Key("a[3]")]).index_in(&outer), None);
    }
}

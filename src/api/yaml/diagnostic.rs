//! One mistake or notice about a file, with its place.

use super::node::{Place, YamlNode, YamlValue};
use std::fmt;

/// One error or notice about a file, with its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Place in the file; [`Place::default`] if the file was not read.
    pub place: Place,
    /// Path of keys to the value, for example `listener.forward_proxy_addr`.
    pub key: String,
    /// Description of the value that was found and of what is expected instead.
    pub problem: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: Place { line, .. }, key, problem } = self;
        if key.is_empty() {
            write!(f, "line {line}: {problem}")
        } else {
            write!(f, "line {line}: {key}: {problem}")
        }
    }
}

/// One step of the path from the root to a value.
#[derive(Clone, Copy, Debug)]
pub enum PathStep<'a> {
    /// Member of a map by its name.
    Key(&'a str),
    /// Element of a list, from 0.
    Index(usize),
}

/// Diagnostic for the value at `steps`, with the place of the deepest part of it that the file has.
pub fn diagnostic_at(root: &YamlNode, steps: &[PathStep<'_>], problem: String) -> Diagnostic {
    let (mut node, mut place, mut key) = (Some(root), root.place, String::new());
    for step in steps {
        node = match (step, node.map(|node| &node.value)) {
            (PathStep::Key(name), Some(YamlValue::Map(members))) => {
                members.iter().find(|(key, _)| key.name == *name).map(|(key, node)| {
                    place = key.place;
                    node
                })
            }
            (PathStep::Index(index), Some(YamlValue::List(nodes))) => {
                nodes.get(*index).inspect(|node| place = node.place)
            }
            _ => None,
        };
        match step {
            PathStep::Key(name) => key.extend([if key.is_empty() { "" } else { "." }, name]),
            PathStep::Index(index) => key.extend(["[", &index.to_string(), "]"]),
        }
    }
    Diagnostic { place, key, problem }
}

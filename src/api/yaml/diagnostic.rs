//! One mistake or notice about a file, with its place.

use super::node::{Place, YamlNode, YamlValue};
use super::path::{PathStep, ValuePath};
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

/// The value one step below `node`, with the place that a diagnostic about it has: that of its key, or its own.
fn step_into<'n>(node: &'n YamlNode, step: &PathStep<'_>) -> Option<(&'n YamlNode, Place)> {
    match (step, &node.value) {
        (PathStep::Key(name), YamlValue::Map(members)) => {
            members.iter().find(|(key, _)| key.name == *name).map(|(key, node)| (node, key.place))
        }
        (PathStep::Index(index), YamlValue::List(nodes)) => nodes.get(*index).map(|node| (node, node.place)),
        _ => None,
    }
}

/// True if the file has a value at `steps`.
pub(super) fn is_written(root: &YamlNode, steps: &[PathStep<'_>]) -> bool {
    steps.iter().try_fold(root, |node, step| step_into(node, step).map(|(node, _)| node)).is_some()
}

/// Diagnostic for the value at `steps`, with the place of the deepest part of it that the file has.
pub fn diagnostic_at(root: &YamlNode, steps: &[PathStep<'_>], problem: String) -> Diagnostic {
    Mistake::at(root, steps, problem).into_diagnostic()
}

/// Diagnostic with the path of its value, by which it is compared with others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mistake {
    pub(super) place: Place,
    pub(super) path: ValuePath,
    pub(super) problem: String,
}

impl Mistake {
    /// Mistake in the value at `steps`, with the place of the deepest part of it that the file has.
    pub(super) fn at(root: &YamlNode, steps: &[PathStep<'_>], problem: String) -> Self {
        let (mut node, mut place) = (root, root.place);
        for step in steps {
            let Some(next) = step_into(node, step) else { break };
            (node, place) = next;
        }
        Self { place, path: ValuePath::new(steps), problem }
    }

    pub(super) fn into_diagnostic(self) -> Diagnostic {
        Diagnostic { place: self.place, key: self.path.to_string(), problem: self.problem }
    }
}

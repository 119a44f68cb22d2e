//! Lists of containers of a Pod, and what of them is no sidecar of ours.

use super::changes::{Changes, END};
use super::json::{list, text};
use countersign_api::keys::SIDECAR_CONTAINER;
use json_patch::jsonptr::PointerBuf;
use serde_json::Value;

/// One list of containers. What is injected is planned from those without the sidecar's name, so that a Pod which is admitted
/// twice gets the same, and one that only has the name is replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Containers<'p> {
    name: &'static str,
    all: Option<&'p [Value]>,
}

/// Place of the sidecar in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

impl<'p> Containers<'p> {
    /// Containers in this list of a Pod's specification.
    pub(super) fn of(spec: &'p Value, name: &'static str) -> Self {
        Self { name, all: list(spec, name) }
    }

    /// Containers without the sidecar's name.
    pub(super) fn others(self) -> impl Iterator<Item = &'p Value> {
        self.all.unwrap_or_default().iter().filter(|container| !is_sidecar(container))
    }

    /// Container with the sidecar's name.
    pub(super) fn sidecar(self) -> Option<&'p Value> {
        self.all.unwrap_or_default().iter().find(|container| is_sidecar(container))
    }

    /// Plans the list with this sidecar alone; returns the others, each with its path once that is done.
    pub(super) fn plan(
        self,
        changes: &mut Changes,
        wanted: Option<(Value, Place)>,
    ) -> impl Iterator<Item = (PointerBuf, &'p Value)> + use<'p> {
        let all = self.all.unwrap_or_default();
        let path = PointerBuf::from_tokens(["spec", self.name]);
        let found: Vec<usize> = (0..).zip(all).filter(|(_, one)| is_sidecar(one)).map(|(at, _)| at).collect();
        let is_first = matches!(wanted, Some((_, Place::First)));
        let is_there = wanted.as_ref().is_some_and(|(sidecar, place)| {
            let (at, there) = match place {
                Place::First => (0, all.first()),
                Place::Last => (all.len().saturating_sub(1), all.last()),
            };
            found == [at] && there == Some(sidecar)
        });
        if !is_there {
            // From the last on, so that each is where it was.
            for at in found.iter().rev() {
                changes.remove(path.with_trailing_token(*at));
            }
            if let Some((sidecar, place)) = wanted {
                match (self.all, place) {
                    (None, _) => changes.add(path.clone(), Value::Array(vec![sidecar])),
                    (Some(_), Place::First) => changes.add(path.with_trailing_token(0_usize), sidecar),
                    (Some(_), Place::Last) => changes.add(path.with_trailing_token(END), sidecar),
                }
            }
        }
        let from = usize::from(is_first);
        (from..).zip(self.others()).map(move |(at, container)| (path.with_trailing_token(at), container))
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(Some(container), "name") == Some(SIDECAR_CONTAINER)
}

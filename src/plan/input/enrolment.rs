//! Labels that enrol a workload, under either family of names.
//! Whichever family is present counts, and what the two say differently is a conflict, which refuses the card.

use countersign_api::keys::{AGENT_TYPE, Family};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use std::collections::{BTreeMap, BTreeSet};

/// Protocol whose cards the operator reads.
pub(crate) const A2A: &str = "a2a";

/// Labels by key.
type Labels = BTreeMap<String, String>;

/// Families whose type label says agent, of one object's labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    kagenti: bool,
    rossoctl: bool,
}

impl Families {
    /// Families of labels.
    pub fn of(labels: &Labels) -> Self {
        let is_of = |family| kind(labels, family) == Some(AGENT_TYPE);
        Self { kagenti: is_of(Family::Kagenti), rossoctl: is_of(Family::Rossoctl) }
    }

    /// True if `family` is one of them.
    pub const fn has(self, family: Family) -> bool {
        match family {
            Family::Kagenti => self.kagenti,
            Family::Rossoctl => self.rossoctl,
        }
    }

    /// Family that enrols, the first in order of precedence; `None` for what is no agent.
    pub fn first(self) -> Option<Family> {
        Family::ALL.into_iter().find(|family| self.has(*family))
    }
}

/// Families whose type label says agent, in order of precedence.
pub fn families(labels: &Labels) -> impl Iterator<Item = Family> {
    let found = Families::of(labels);
    Family::ALL.into_iter().filter(move |family| found.has(*family))
}

/// Family that enrols, the first of several; `None` for what is no agent.
pub fn family(labels: &Labels) -> Option<Family> {
    Families::of(labels).first()
}

/// Type label that enrols nobody because of its value, the first of the families.
pub fn other_type(labels: &Labels) -> Option<(Family, &str)> {
    let found = Family::ALL.into_iter().filter_map(|family| Some((family, kind(labels, family)?)));
    found.filter(|(_, value)| *value != AGENT_TYPE).min_by_key(|(family, _)| *family)
}

/// Family of the labels that name a protocol, the first of several.
pub fn protocol_family(labels: &Labels) -> Option<Family> {
    Family::ALL.into_iter().find(|family| !protocols(labels, *family).is_empty())
}

/// Protocol of a workload: `a2a` if present, since only A2A cards can be read; else the first by name, so that
/// the choice is deterministic.
pub fn protocol(labels: &Labels) -> Option<String> {
    let named: BTreeSet<&str> =
        Family::ALL.into_iter().flat_map(|family| protocols(labels, family)).collect();
    named.get(A2A).or(named.first()).map(|name| (*name).to_owned())
}

/// Refuses labels of a workload or of its template that say one thing under one family and another under the other.
/// Whoever reads only one family would take the workload for something else.
///
/// # Errors
/// [`Reason::LabelsConflict`] names both labels.
pub fn check_families(workload: &Labels, template: &Labels) -> Result<(), Refusal> {
    for (whose, labels) in [("the workload", workload), ("its Pod template", template)] {
        let [older, newer] = Family::ALL;
        if let (Some(a), Some(b)) = (kind(labels, older), kind(labels, newer))
            && a != b
        {
            return Err(conflict(whose, &label(older.type_label(), a), &label(newer.type_label(), b)));
        }
        let [a, b] = [older, newer].map(|family| protocols(labels, family));
        if !a.is_empty() && !b.is_empty() && a != b {
            let listed = |family: Family, names: &BTreeSet<&str>| {
                let all: Vec<&str> = names.iter().copied().collect();
                Quoted(&format!("{}{}", family.protocol_prefix(), all.join(","))).to_string()
            };
            return Err(conflict(whose, &listed(older, &a), &listed(newer, &b)));
        }
    }
    Ok(())
}

fn conflict(whose: &str, older: &str, newer: &str) -> Refusal {
    let found = format!("{whose} carries the labels {older} and {newer}, which say different things");
    Refusal::new(Reason::LabelsConflict, found)
}

fn label(key: &str, value: &str) -> String {
    format!("{key}={}", Quoted(value))
}

fn kind(labels: &Labels, family: Family) -> Option<&str> {
    labels.get(family.type_label()).map(String::as_str)
}

/// Protocols that the labels of one family name. The older form, one name as a value, counts only without the other.
fn protocols(labels: &Labels, family: Family) -> BTreeSet<&str> {
    let named: BTreeSet<&str> =
        labels.keys().filter_map(|key| key.strip_prefix(family.protocol_prefix())).collect();
    if !named.is_empty() {
        return named;
    }
    let mut older = family.protocol_labels().iter().filter_map(|key| labels.get(*key));
    older.find(|name| !name.is_empty()).map(String::as_str).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn either_family_enrols_and_the_older_is_named_first() {
        let (old, new) = (("kagenti.io/type", "agent"), ("rossoctl.io/type", "agent"));
        for (pairs, expected) in [
            (vec![], vec![]),
            (vec![("kagenti.io/type", "tool"), ("rossoctl.io/type", "tool")], vec![]),
            (vec![old], vec![Family::Kagenti]),
            (vec![new], vec![Family::Rossoctl]),
            (vec![new, old], vec![Family::Kagenti, Family::Rossoctl]),
            (vec![("kagenti.io/type", "tool"), new], vec![Family::Rossoctl]),
        ] {
            let labels = labels(&pairs);
            assert_eq!(families(&labels).collect::<Vec<_>>(), expected, "{pairs:?}");
            assert_eq!(family(&labels), expected.first().copied());
        }
    }

    #[test]
    fn the_protocol_is_the_same_choice_every_time() {
        for (pairs, expected) in [
            (vec![("protocol.kagenti.io/mcp", ""), ("protocol.kagenti.io/a2a", "")], Some("a2a")),
            (vec![("protocol.kagenti.io/z", ""), ("protocol.kagenti.io/b", "")], Some("b")),
            (vec![("kagenti.io/agent-protocol", "x"), ("kagenti.io/protocol", "a2a")], Some("a2a")),
            (vec![("protocol.rossoctl.io/mcp", ""), ("protocol.rossoctl.io/a2a", "")], Some("a2a")),
            (vec![("protocol.rossoctl.io/mcp", "")], Some("mcp")),
            (vec![], None),
        ] {
            assert_eq!(protocol(&labels(&pairs)).as_deref(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_the_families_say_differently_is_refused_and_named() {
        let none = Labels::new();
        let found = |pairs: &[(&str, &str)]| {
            let labels = labels(pairs);
            let [of_workload, of_template] = [check_families(&labels, &none), check_families(&none, &labels)];
            assert_eq!(of_workload.is_ok(), of_template.is_ok(), "{pairs:?}");
            of_workload.map_err(|refusal| refusal.to_string())
        };
        for pairs in [
            vec![("kagenti.io/type", "agent"), ("rossoctl.io/type", "agent")],
            vec![("kagenti.io/type", "agent"), ("protocol.rossoctl.io/a2a", "")],
            vec![("protocol.kagenti.io/a2a", ""), ("protocol.rossoctl.io/a2a", "true")],
            vec![("kagenti.io/protocol", "a2a"), ("protocol.rossoctl.io/a2a", "")],
        ] {
            assert_eq!(found(&pairs), Ok(()), "{pairs:?}");
        }
        assert_eq!(
            found(&[("kagenti.io/type", "agent"), ("rossoctl.io/type", "tool")]).unwrap_err(),
            "LabelsConflict: the workload carries the labels kagenti.io/type=\"agent\" and \
             rossoctl.io/type=\"tool\", which say different things"
        );
        let protocols = [("protocol.kagenti.io/a2a", ""), ("protocol.rossoctl.io/mcp", "")];
        assert!(found(&protocols).unwrap_err().contains("protocol.rossoctl.io/mcp"));
    }
}

//! Skills that the annotation of a workload names, for the status of its `AgentRuntime`. They are shown, and nothing is decided
//! by them; a text that cannot be read keeps nothing else from being done.

use super::config_hash::ConfigSources;
use crate::limits::{ITEMS, SKILL_BYTES, SKILLS_BYTES};
use countersign_api::keys::{FEATURE_GATES, FEATURE_GATES_KEY, Family};
use countersign_api::yaml::syntax_problem;
use countersign_core::text::{Quoted, is_unsafe_for_display};
use serde::Deserialize;

/// Skills of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Skills {
    /// The gate is closed, or the workload names none.
    #[default]
    None,
    /// The workload names these.
    Linked(Vec<String>),
    /// What the workload says cannot be read.
    Unreadable(String),
}

/// Gates of the cluster that are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Gates {
    /// True if the status of an `AgentRuntime` shows the skills that its workload names.
    pub skill_discovery: bool,
}

impl Gates {
    /// Reads the gates.
    ///
    /// # Errors
    /// The text is no map in YAML, or a gate in use is neither true nor false; with what to do.
    pub fn parse(sources: &ConfigSources) -> Result<Self, String> {
        let text = sources.feature_gates.get(FEATURE_GATES_KEY).map(|text| text.trim()).unwrap_or_default();
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| {
            let problem = syntax_problem(&error);
            format!(
                "{FEATURE_GATES_KEY} of the ConfigMap {FEATURE_GATES} cannot be read, so that every gate is as without it: \
                 {problem}"
            )
        })
    }
}

impl Skills {
    /// Skills in the annotations of a workload, by family in the order of [`Family::ALL`].
    pub fn of(annotations: &[Option<String>; 2], gates: Gates) -> Self {
        if !gates.skill_discovery {
            return Self::None;
        }
        let mut first: Option<(&str, Vec<String>)> = None;
        for (family, text) in Family::ALL.into_iter().zip(annotations) {
            let (key, Some(text)) = (family.skills_annotation(), text) else { continue };
            let skills = match parse(text) {
                Ok(skills) => skills,
                Err(problem) => {
                    return Self::Unreadable(format!("Failed to parse {key} annotation: {problem}"));
                }
            };
            match &first {
                Some((other, others)) if *others != skills => {
                    return Self::Unreadable(format!(
                        "Failed to parse {key} annotation: {other} names other skills; take one of the two off"
                    ));
                }
                Some(_) => {}
                None => first = Some((key, skills)),
            }
        }
        first.map_or(Self::None, |(_, skills)| Self::Linked(skills))
    }

    /// Names for the status.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::Linked(names) => names,
            Self::None | Self::Unreadable(_) => &[],
        }
    }
}

/// Parses an annotation: a JSON array of names.
fn parse(text: &str) -> Result<Vec<String>, String> {
    if text.len() > SKILLS_BYTES {
        return Err(format!("it has more than {SKILLS_BYTES} bytes; shorten it"));
    }
    // What the library says quotes the text.
    let names: Vec<String> = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("it is no JSON array of texts, such as [\"translate\"]; see line {line}, column {column}")
    })?;
    if names.len() > ITEMS {
        return Err(format!("it names {} skills, and {ITEMS} are read; name fewer", names.len()));
    }
    let is_name = |name: &&String| {
        !name.is_empty() && name.len() <= SKILL_BYTES && !name.chars().any(is_unsafe_for_display)
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(bad) => Err(format!(
            "{} is no name of a skill: give 1 to {SKILL_BYTES} bytes without control characters",
            Quoted(bad)
        )),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const OPEN: Gates = Gates { skill_discovery: true };

    fn of(texts: [Option<&str>; 2], gates: Gates) -> Skills {
        Skills::of(&texts.map(|text| text.map(str::to_owned)), gates)
    }

    fn linked(names: &[&str]) -> Skills {
        Skills::Linked(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn skills_are_read_from_the_annotation_of_either_family_while_the_gate_is_open() {
        let two = Some(r#"["translate","sum \"up\""]"#);
        for (texts, expected) in [
            ([two, None], linked(&["translate", "sum \"up\""])),
            ([None, two], linked(&["translate", "sum \"up\""])),
            ([two, two], linked(&["translate", "sum \"up\""])),
            ([Some("[]"), None], linked(&[])),
            ([Some(r#"["b","a","b"]"#), None], linked(&["b", "a", "b"])),
            ([None, None], Skills::None),
        ] {
            assert_eq!(of(texts, OPEN), expected, "{texts:?}");
            assert_eq!(of(texts, Gates::default()), Skills::None, "the gate is closed");
        }
        assert_eq!(of([Some("no JSON"), None], Gates::default()), Skills::None);
    }

    #[test]
    fn a_text_that_is_no_list_of_names_is_told_by_its_key_and_problem() {
        let many = format!("[{}]", vec![r#""a""#; ITEMS + 1].join(","));
        let long = format!("[\"{}\"]", "x".repeat(SKILL_BYTES + 1));
        let large = format!("[{}\"a\"]", " ".repeat(SKILLS_BYTES));
        for (texts, says) in [
            ([Some("translate"), None], "kagenti.io/skills annotation: it is no JSON array"),
            ([None, Some("{}")], "rossoctl.io/skills annotation: it is no JSON array"),
            ([Some("null"), None], "no JSON array"),
            ([Some(r#"["a",1]"#), None], "no JSON array"),
            ([Some(r#"["a"] x"#), None], "no JSON array"),
            ([Some(r#"[""]"#), None], r#""" is no name"#),
            ([Some(r#"["a\u202eb"]"#), None], r#""a\u{202e}b" is no name"#),
            ([Some(r#"["a\nb"]"#), None], r#""a\u{a}b" is no name"#),
            ([Some(many.as_str()), None], "it names 65 skills"),
            ([Some(long.as_str()), None], "is no name of a skill"),
            ([Some(large.as_str()), None], "it has more than"),
            ([Some(r#"["a"]"#), Some(r#"["b"]"#)], "kagenti.io/skills names other skills"),
        ] {
            let Skills::Unreadable(problem) = of(texts, OPEN) else { panic!("{texts:?}") };
            assert!(problem.starts_with("Failed to parse ") && problem.contains(says), "{says}: {problem}");
            assert!(problem.len() < 1024 && !problem.chars().any(is_unsafe_for_display), "{problem}");
        }
    }

    #[test]
    fn gates_are_read_and_what_is_unknown_is_left_alone() {
        let sources = |text: &str| ConfigSources {
            feature_gates: BTreeMap::from([(FEATURE_GATES_KEY.to_owned(), text.to_owned())]),
            ..ConfigSources::default()
        };
        for (text, is_open) in [
            ("skillDiscovery: true\n", true),
            ("globalEnabled: true\nskillDiscovery: true\nenvoyProxy: false\n", true),
            ("skillDiscovery: false\n", false),
            ("injectTools: true\n", false),
            (" \n", false),
        ] {
            let gates = Gates::parse(&sources(text));
            assert_eq!(gates, Ok(Gates { skill_discovery: is_open }), "{text}");
        }
        assert_eq!(Gates::parse(&ConfigSources::default()), Ok(Gates::default()));
        for bad in ["skillDiscovery: maybe\n", "[1]", "a: {"] {
            let problem = Gates::parse(&sources(bad)).unwrap_err();
            assert!(problem.contains("kagenti-feature-gates cannot be read"), "{problem}");
        }
    }
}

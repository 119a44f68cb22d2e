//! Standing of an object that runs Pods: what its kind and labels call for, before any card is read.
//! The operator and `countersign plan` decide by it alike, and say alike what is missing.

use super::enrolment::{other_type, protocol, protocol_family};
use countersign_api::keys::{AGENT_TYPE, Family};
use countersign_core::text::Quoted;
use std::collections::BTreeMap;
use std::fmt;

/// Standing of an object that runs Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Agent: its card is read, and policies follow the verdict. It gets an AgentCard where it has none.
    Agent(Family),
    /// Agent that names no protocol: it is closed, gets no AgentCard, and one that targets it is refused.
    NoProtocol(Family),
    /// No agent, although its Pods carry the agent label: the policies of the namespace isolate them, and nothing opens
    /// them.
    TemplateAlone(Family),
    /// No agent, because objects of its kind are not watched, although its Pods carry the agent label: they are isolated.
    PodsOfOtherKind(Family),
    /// No agent, because objects of its kind are not watched; its label does nothing.
    OtherKind(Family),
    /// Nothing about it concerns agents.
    Unconcerned,
}

impl Standing {
    /// Standing of an object whose kind is watched or not, by the families of its own label of agents and of that of its
    /// Pods, and by whether its labels name a protocol.
    pub const fn of(
        is_watched: bool,
        own: Option<Family>,
        names_protocol: bool,
        pods: Option<Family>,
    ) -> Self {
        match (is_watched, own, pods) {
            (true, Some(family), _) if names_protocol => Self::Agent(family),
            (true, Some(family), _) => Self::NoProtocol(family),
            (true, None, Some(family)) => Self::TemplateAlone(family),
            (false, _, Some(family)) => Self::PodsOfOtherKind(family),
            (false, Some(family), None) => Self::OtherKind(family),
            (_, None, None) => Self::Unconcerned,
        }
    }

    /// True for an agent, whose card is evaluated.
    pub const fn is_agent(self) -> bool {
        matches!(self, Self::Agent(_) | Self::NoProtocol(_))
    }

    /// Sentence about what is missing, if anything is: what was found, what follows, and what to do.
    pub fn notice(self) -> Option<Notice> {
        (!matches!(self, Self::Agent(_) | Self::Unconcerned)).then_some(Notice(self))
    }
}

/// Displays what an object lacks that is meant to be an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice(Standing);

impl Notice {
    /// What was found, and what follows.
    pub fn found(self) -> String {
        match self.0 {
            Standing::NoProtocol(family) => format!(
                "the label {} is there and none that names a protocol, so no AgentCard is made and the agent is never \
                 verified",
                enrols(family)
            ),
            Standing::TemplateAlone(family) => format!(
                "the label {} is in the Pod template alone, so the Pods are isolated and never verified",
                enrols(family)
            ),
            Standing::PodsOfOtherKind(family) => format!(
                "its Pods carry the label {} and its kind is not watched, so the Pods are isolated and never verified",
                enrols(family)
            ),
            Standing::OtherKind(family) => {
                format!("its kind is not watched, so the label {} does nothing", enrols(family))
            }
            Standing::Agent(_) | Standing::Unconcerned => String::new(),
        }
    }

    /// What to do, as an imperative clause.
    pub fn fix(self) -> String {
        const KINDS: &str = "run the agent as a Deployment, StatefulSet or Sandbox";
        match self.0 {
            Standing::NoProtocol(family) => {
                format!("add the label {}a2a: \"\" to the workload", family.protocol_prefix())
            }
            Standing::TemplateAlone(family) => {
                format!(
                    "add it to metadata.labels of the workload too, with {}a2a: \"\"",
                    family.protocol_prefix()
                )
            }
            Standing::PodsOfOtherKind(_) => format!("{KINDS}, or take the label off"),
            Standing::OtherKind(_) => KINDS.to_owned(),
            Standing::Agent(_) | Standing::Unconcerned => String::new(),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found(), self.fix())
    }
}

/// Label that enrols, as a manifest has it.
fn enrols(family: Family) -> String {
    format!("{}: {AGENT_TYPE}", family.type_label())
}

/// Sentence about an agent whose Pod template lacks the label that its workload has.
pub fn unlabelled_template(family: Family) -> String {
    format!(
        "the Pod template lacks the label {}, so the Pods stay isolated and no verified agent reaches them: add it to \
         metadata.labels of the Pod template",
        enrols(family)
    )
}

/// Labels by key.
type Labels = BTreeMap<String, String>;

/// Sentence about an object of [`Standing::Unconcerned`] whose own labels or those of its Pods look like an agent's:
/// what was found, what follows, and what to write. `None` for everything else, tools among it.
pub fn unenrolled(own: &Labels, pods: &Labels) -> Option<String> {
    let both = [own, pods];
    let named = both.into_iter().find_map(|labels| Some((protocol_family(labels)?, protocol(labels)?)));
    match (both.into_iter().find_map(other_type), named) {
        (Some((family, value)), named)
            if means_agent(value, named.as_ref().map(|(_, name)| name.as_str())) =>
        {
            let (key, prefix) = (family.type_label(), family.protocol_prefix());
            Some(format!(
                "the label {key} is {}, which enrols nobody: to make it an agent, write {key}: {AGENT_TYPE} on the \
                 workload and in its Pod template, and {prefix}a2a: \"\" on the workload",
                Quoted(value)
            ))
        }
        (None, Some((family, name))) => {
            let (key, prefix) = (family.type_label(), family.protocol_prefix());
            Some(format!(
                "it names the protocol {} and has no label {key}, so the operator takes it for no agent: to make it one, write \
                 {key}: {AGENT_TYPE} on the workload and in its Pod template, and {prefix}a2a: \"\" on the workload",
                Quoted(&name)
            ))
        }
        _ => None,
    }
}

/// True for a type that stands for an agent by a slip. Tools carry the label too, with a protocol of tools.
fn means_agent(value: &str, protocol: Option<&str>) -> bool {
    let value = value.trim();
    value.eq_ignore_ascii_case(AGENT_TYPE)
        || protocol.is_some_and(|name| name == A2A || !value.eq_ignore_ascii_case(TOOL_TYPE))
}

/// Type of what is no agent in the existing project.
const TOOL_TYPE: &str = "tool";

/// Problem of the protocol that the labels of an agent name, with what to do; `None` for A2A, whose cards are read.
pub fn protocol_problem(family: Option<Family>, protocol: Option<&str>) -> Option<String> {
    match protocol {
        Some(A2A) => None,
        Some(other) => Some(format!("unsupported protocol: {}", Quoted(other))),
        None => {
            let prefix = family.unwrap_or(Family::Kagenti).protocol_prefix();
            Some(format!("Workload does not have a {prefix}<name> label"))
        }
    }
}

/// Protocol whose cards are read.
const A2A: &str = "a2a";

#[cfg(test)]
mod tests {
    use super::super::enrolment::{family as family_of, protocol as protocol_of};
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn kind_and_labels_decide_what_an_object_is_and_what_it_lacks_is_said_in_its_own_family() {
        for family in Family::ALL {
            let (agent, protocol) = (family.type_label(), format!("{}a2a", family.protocol_prefix()));
            let typed = [(agent, "agent")];
            let whole = [(agent, "agent"), (protocol.as_str(), "")];
            for (is_watched, own, pods, expected, told) in [
                (true, &whole[..], &typed[..], Standing::Agent(family), None),
                (true, &whole, &[], Standing::Agent(family), None),
                (true, &typed, &typed, Standing::NoProtocol(family), Some(protocol.as_str())),
                (true, &[], &whole, Standing::TemplateAlone(family), Some("Pod template alone")),
                (true, &[], &[], Standing::Unconcerned, None),
                (true, &[(agent, "tool")], &[], Standing::Unconcerned, None),
                (false, &whole, &typed, Standing::PodsOfOtherKind(family), Some("kind is not watched")),
                (false, &[], &typed, Standing::PodsOfOtherKind(family), Some("isolated")),
                (false, &whole, &[], Standing::OtherKind(family), Some("does nothing")),
                (false, &[], &[], Standing::Unconcerned, None),
            ] {
                let (labelled, templated) = (labels(own), labels(pods));
                let names_protocol = protocol_of(&labelled).is_some();
                let standing =
                    Standing::of(is_watched, family_of(&labelled), names_protocol, family_of(&templated));
                assert_eq!(standing, expected, "{is_watched} {own:?} {pods:?}");
                let said = standing.notice().map(|notice| notice.to_string());
                assert_eq!(said.is_some(), told.is_some(), "{said:?}");
                if let (Some(said), Some(told)) = (said, told) {
                    assert!(said.contains(told) && said.contains(&format!("{agent}: agent")), "{said}");
                }
            }
        }
    }

    #[test]
    fn labels_that_look_like_an_agents_are_told_of_with_what_to_write() {
        for family in Family::ALL {
            let (kind, prefix) = (family.type_label(), family.protocol_prefix());
            let [a2a, mcp] = ["a2a", "mcp"].map(|name| format!("{prefix}{name}"));
            for (pairs, told) in [
                (&[(kind, "Agent")][..], Some("is \"Agent\", which enrols nobody")),
                (&[(kind, "agents"), (a2a.as_str(), "")], Some("is \"agents\"")),
                (&[(kind, ""), (mcp.as_str(), "")], Some("is \"\"")),
                (&[(kind, "tool"), (a2a.as_str(), "")], Some("is \"tool\"")),
                (&[(a2a.as_str(), "")], Some("names the protocol \"a2a\" and has no label")),
                (&[(kind, "tool"), (mcp.as_str(), "")], None),
                (&[(kind, "tool")], None),
                (&[("app", "agent")], None),
                (&[], None),
            ] {
                let (some, none) = (labels(pairs), Labels::new());
                for said in [unenrolled(&some, &none), unenrolled(&none, &some)] {
                    assert_eq!(said.is_some(), told.is_some(), "{pairs:?} {said:?}");
                    let write = format!(
                        "write {kind}: agent on the workload and in its Pod template, and {prefix}a2a"
                    );
                    if let (Some(said), Some(told)) = (said, told) {
                        assert!(said.contains(told) && said.contains(&write), "{said}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_protocol_without_cards_is_a_problem_in_the_words_of_the_workloads_family() {
        let newer = Some(Family::Rossoctl);
        assert_eq!(protocol_problem(newer, Some("a2a")), None);
        assert_eq!(protocol_problem(newer, Some("mcp")).unwrap(), "unsupported protocol: \"mcp\"");
        let missing = protocol_problem(newer, None).unwrap();
        assert!(missing.contains("protocol.rossoctl.io/<name>"), "{missing}");
        let missing = protocol_problem(Some(Family::Kagenti), None).unwrap();
        assert!(missing.contains("protocol.kagenti.io/<name>"), "{missing}");
    }
}

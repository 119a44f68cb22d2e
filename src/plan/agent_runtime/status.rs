//! Status of an `AgentRuntime`, and the event about a change of it.

use super::card::{ShownCard, plan_card, plan_verified};
use super::runtime::IndexedRuntime;
use super::sidecar::SidecarPlan;
use super::skills::Skills;
use super::target::Target;
use super::turn::Found;
use crate::agent_card::transition::Transition;
use crate::condition::{Values, following, word};
use crate::mesh::{self, ShownMesh};
use countersign_api::agent_runtime::RuntimeCondition as Type;
use countersign_api::agent_runtime::RuntimeReason as Why;
use countersign_api::agent_runtime::{AgentRuntimeStatus, RuntimeType};
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Hexadecimal digits of the hash that the message of `Ready` shows.
const SHOWN_DIGITS: usize = 12;

/// What a turn found and did.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// What was found about the workload.
    pub found: &'a Found,
    /// Workload as read.
    pub target: Option<&'a Target>,
    /// Hash of the configuration, or why it could not be read.
    pub hash: Result<&'a str, &'a str>,
    /// What is ambiguous in the configuration.
    pub warning: Option<&'a str>,
    /// AgentCard of the workload, if it has one.
    pub card: Option<ShownCard<'a>>,
    /// What was planned about the sidecar.
    pub sidecar: &'a SidecarPlan,
    /// What is known about the mesh in the namespace.
    pub mesh: &'a ShownMesh,
    /// Skills of the workload.
    pub skills: &'a Skills,
    /// Outcome of the write to the workload, with the answer of the API server.
    pub applied: Result<(), &'a str>,
}

/// Status after a turn that follows `before`.
pub fn plan_status(
    runtime: &IndexedRuntime,
    before: &AgentRuntimeStatus,
    done: &Done<'_>,
    now: Timestamp,
) -> AgentRuntimeStatus {
    let [target, config, ready] = conditions(runtime, done);
    let is_agent = runtime.runtime_type == RuntimeType::Agent && *done.found == Found::Enrolled;
    let verified = is_agent.then(|| plan_verified(done.card.as_ref())).flatten();
    let sidecar = match done.found {
        Found::Enrolled => done.sidecar.condition(runtime.runtime_type).map(values),
        _ => None,
    };
    let skills = if *done.found == Found::Enrolled { done.skills } else { &Skills::None };
    let all = [
        (Type::TargetResolved, Some(values(target))),
        (Type::ConfigResolved, Some(values(config))),
        (Type::Verified, verified),
        (Type::SidecarConfigured, sidecar),
        (Type::IstioMeshEnrolled, mesh::plan_condition(&before.conditions, done.mesh)),
        (Type::SkillsLinked, linked(skills).map(values)),
        (Type::Ready, Some(values(ready))),
    ];
    let conditions = all.into_iter().filter_map(|(kind, values)| {
        Some(following(&before.conditions, kind.as_str(), values?, (runtime.generation, now)))
    });
    let card = done.card.as_ref().filter(|_| is_agent).and_then(|card| plan_card(before.card.as_ref(), card));
    AgentRuntimeStatus {
        observed_generation: Some(runtime.generation),
        configured_pods: Some(match done.found {
            Found::Enrolled => done.target.map_or(0, Target::configured_pods),
            _ => 0,
        }),
        conditions: conditions.collect(),
        card,
        linked_skills: skills.names().to_vec(),
    }
}

/// Events about changes: what the condition `Ready` says now, and that skills cannot be read.
pub fn plan_events(before: &AgentRuntimeStatus, after: &AgentRuntimeStatus) -> Vec<Transition> {
    let changed = |kind: Type| {
        let [before, after] = [before, after]
            .map(|status| status.conditions.iter().find(|condition| condition.type_ == kind.as_str()));
        let is_other = |after: &&Condition| {
            before.is_none_or(|before| (&before.status, &before.reason) != (&after.status, &after.reason))
        };
        after.filter(is_other)
    };
    let told = |after: &Condition| {
        if after.status == word(true) {
            Transition::normal(&after.reason, &after.message)
        } else {
            Transition::warning(&after.reason, &after.message, "")
        }
    };
    let skills = changed(Type::SkillsLinked).filter(|after| after.status != word(true));
    changed(Type::Ready).into_iter().chain(skills).map(told).collect()
}

type Said = (bool, Why, String);

fn values((holds, why, message): Said) -> Values {
    Values { status: word(holds), reason: why.as_str().to_owned(), message }
}

fn conditions(runtime: &IndexedRuntime, done: &Done<'_>) -> [Said; 3] {
    let (kind, name) = (&runtime.target.kind, &runtime.target.name);
    let config = match (done.hash, done.warning) {
        (Err(error), _) => (false, Why::ConfigHashError, error.to_owned()),
        (Ok(_), Some(warning)) => (true, Why::ConfigWarning, warning.to_owned()),
        (Ok(_), None) => (true, Why::ConfigResolved, "Configuration resolved successfully".to_owned()),
    };
    let resolved = || (true, Why::TargetFound, format!("{kind} {name} resolved"));
    let (target, ready) = match (done.found, done.hash, done.applied) {
        (Found::Missing(message), ..) => both(Why::TargetNotFound, message),
        (Found::Claimed(message), ..) => both(Why::TargetClaimed, message),
        (_, Err(error), _) => (resolved(), (false, Why::ConfigHashError, error.to_owned())),
        (Found::Contradicted(message), ..) => (resolved(), (false, Why::ConfigApplyError, message.clone())),
        (Found::Enrolled, _, Err(error)) => (resolved(), (false, Why::ConfigApplyError, error.to_owned())),
        (Found::Enrolled, Ok(hash), Ok(())) => {
            if let SidecarPlan::Unusable(why, message) = done.sidecar {
                return [resolved(), config, (false, *why, message.clone())];
            }
            let shown = hash.get(..SHOWN_DIGITS).unwrap_or(hash);
            let message = format!("Workload {name} configured with config-hash {shown}");
            (resolved(), (true, Why::Configured, message))
        }
    };
    [target, config, ready]
}

/// What is said about skills; `None` if there is nothing to say.
fn linked(skills: &Skills) -> Option<Said> {
    Some(match skills {
        Skills::None => return None,
        Skills::Linked(names) => {
            (true, Why::SkillsLinked, format!("the workload names {} skills", names.len()))
        }
        Skills::Unreadable(problem) => (false, Why::SkillAnnotationParseError, problem.clone()),
    })
}

fn both(why: Why, message: &str) -> (Said, Said) {
    let one = (false, why, message.to_owned());
    (one.clone(), one)
}

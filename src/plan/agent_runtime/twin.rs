//! Twin: an `AgentRuntime` of the API group of after the renaming. It has a copy in the group of before, which counts and
//! whose status the twin shows (ADR 0027).

use super::turn::rest_of;
use crate::condition::{Values, following, word};
use countersign_api::ObjectRef;
use countersign_api::agent_runtime::{RuntimeCondition, RuntimeReason};
use countersign_api::keys::{AGENT_RUNTIME_API_VERSION, AGENT_RUNTIME_KIND, Family};
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// `AgentRuntime` of either group, as JSON: nothing of it is lost on the way to the other.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// Metadata of the object.
    pub metadata: ObjectMeta,
    /// The spec, or null.
    pub spec: Value,
    /// The status, or null.
    pub status: Value,
}

impl Raw {
    /// UID of the object; empty if it has none.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    const fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    fn is_controlled_by(&self, owner: &Self) -> bool {
        let mut owners = self.metadata.owner_references.iter().flatten();
        !owner.uid().is_empty()
            && owners.any(|found| found.controller == Some(true) && found.uid == owner.uid())
    }

    fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }
}

/// Next write of a twin's turn.
#[derive(Clone, Debug, PartialEq)]
pub enum TwinPlan {
    /// Nothing: what is awaited comes as a change of the copy or of the twin.
    Nothing,
    /// The twin is being deleted, and keeps these finalizers.
    SetFinalizers(Vec<String>),
    /// There is no copy: this one is made.
    Create(Value),
    /// The spec of the copy differs from the twin's, which replaces it.
    Replace,
    /// The twin gets this status.
    Show(Value),
}

/// Plans a turn of the twin `name`. `copy` is the object of that name in the other group, whoever made it.
pub fn plan_twin(name: &ObjectRef, twin: &Raw, copy: Option<&Raw>, now: Timestamp) -> TwinPlan {
    if twin.is_leaving() {
        // Garbage collection deletes the copy once the twin is gone.
        let finalizers = twin.metadata.finalizers.as_deref().unwrap_or_default();
        return rest_of(finalizers, Family::Rossoctl).map_or(TwinPlan::Nothing, TwinPlan::SetFinalizers);
    }
    match copy {
        None => TwinPlan::Create(copy_of(name, twin)),
        Some(copy) if !copy.is_controlled_by(twin) => show(twin, claimed(name, twin, now)),
        Some(copy) if copy.is_leaving() => TwinPlan::Nothing,
        Some(copy) if copy.spec != twin.spec => TwinPlan::Replace,
        Some(copy) => plan_shown(twin, copy),
    }
}

/// Plans the status of a twin whose copy has the same spec: that of the copy, once it is about this spec.
pub fn plan_shown(twin: &Raw, copy: &Raw) -> TwinPlan {
    let is_of_this_spec = copy.status.get("observedGeneration") == Some(&json!(copy.generation()));
    let Some(status) = copy.status.as_object().filter(|_| is_of_this_spec) else { return TwinPlan::Nothing };
    let mut status = status.clone();
    status.insert("observedGeneration".to_owned(), json!(twin.generation()));
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(generation) = condition.get_mut("observedGeneration") {
            *generation = json!(twin.generation());
        }
    }
    show(twin, Value::Object(status))
}

/// Plans the status of a twin whose copy the API server refused with this answer. What it said about the copy before stays.
pub fn plan_refused(twin: &Raw, answer: &str, now: Timestamp) -> TwinPlan {
    let message = format!(
        "the copy of this AgentRuntime as {AGENT_RUNTIME_API_VERSION}, which enrols the workload, was not written: {answer}"
    );
    let mut status = twin.status.as_object().cloned().unwrap_or_default();
    let ready = ready(twin, RuntimeReason::ConfigApplyError, message, now);
    let mut conditions = conditions(twin);
    conditions.retain(|condition| condition.type_ != ready.type_);
    conditions.push(ready);
    told(&mut status, twin, &conditions);
    show(twin, Value::Object(status))
}

/// Copy to make: the twin's name and spec, and the twin as its owner, with which it is deleted.
fn copy_of(name: &ObjectRef, twin: &Raw) -> Value {
    // `blockOwnerDeletion` would need a right of its own on some clusters, and nobody waits for the copy to go.
    json!({
        "apiVersion": AGENT_RUNTIME_API_VERSION,
        "kind": AGENT_RUNTIME_KIND,
        "metadata": {
            "name": name.name.as_str(),
            "namespace": name.namespace.as_str(),
            "ownerReferences": [{
                "apiVersion": Family::Rossoctl.agent_runtime_api_version(),
                "kind": AGENT_RUNTIME_KIND,
                "name": name.name.as_str(),
                "uid": twin.uid(),
                "controller": true,
            }],
        },
        "spec": twin.spec,
    })
}

/// Status of a twin that has no copy, because somebody else has an object of that name.
fn claimed(name: &ObjectRef, twin: &Raw, now: Timestamp) -> Value {
    let (own, other) = (Family::Rossoctl.agent_runtime_api_version(), AGENT_RUNTIME_API_VERSION);
    let message = format!(
        "the namespace has an AgentRuntime {} of {other} that is not the copy of this one, and that one counts: delete one \
         of the two, or give this one of {own} another name",
        name.name
    );
    let mut status = Map::from_iter([("configuredPods".to_owned(), json!(0))]);
    told(&mut status, twin, &[ready(twin, RuntimeReason::TargetClaimed, message, now)]);
    Value::Object(status)
}

fn ready(twin: &Raw, why: RuntimeReason, message: String, now: Timestamp) -> Condition {
    let values = Values { status: word(false), reason: why.as_str().to_owned(), message };
    following(&conditions(twin), RuntimeCondition::Ready.as_str(), values, (twin.generation(), now))
}

/// Conditions of a twin as last written; none if they are those of nobody who follows the definition.
fn conditions(twin: &Raw) -> Vec<Condition> {
    let found = twin.status.get("conditions").map(Vec::<Condition>::deserialize);
    found.and_then(Result::ok).unwrap_or_default()
}

fn told(status: &mut Map<String, Value>, twin: &Raw, conditions: &[Condition]) {
    status.insert("observedGeneration".to_owned(), json!(twin.generation()));
    status.insert("conditions".to_owned(), json!(conditions));
}

fn show(twin: &Raw, status: Value) -> TwinPlan {
    if twin.status == status { TwinPlan::Nothing } else { TwinPlan::Show(status) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_api::agent_card::time;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    const NOW: Timestamp = Timestamp::from_unix(1_000);

    fn name() -> ObjectRef {
        ObjectRef::new("team", "weather")
    }

    fn twin() -> Raw {
        Raw {
            metadata: ObjectMeta {
                uid: Some("twin".to_owned()),
                generation: Some(7),
                ..ObjectMeta::default()
            },
            spec: json!({ "type": "agent", "unknown": { "deep": [1, null] } }),
            status: Value::Null,
        }
    }

    fn owner(uid: &str, controller: bool) -> OwnerReference {
        OwnerReference { uid: uid.to_owned(), controller: Some(controller), ..OwnerReference::default() }
    }

    fn copy() -> Raw {
        let condition = json!({ "type": "Ready", "status": "True", "reason": "Configured", "message": "m",
            "lastTransitionTime": "2026-11-30T10:00:00Z", "observedGeneration": 3 });
        Raw {
            metadata: ObjectMeta {
                uid: Some("copy".to_owned()),
                generation: Some(3),
                owner_references: Some(vec![owner("twin", true)]),
                ..ObjectMeta::default()
            },
            spec: twin().spec,
            status: json!({ "observedGeneration": 3, "configuredPods": 2, "card": { "name": "weather" },
                "conditions": [condition] }),
        }
    }

    fn plan(twin: &Raw, copy: Option<&Raw>) -> TwinPlan {
        plan_twin(&name(), twin, copy, NOW)
    }

    fn shown(plan: &TwinPlan) -> &Value {
        match plan {
            TwinPlan::Show(status) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_twin_without_a_copy_gets_one_with_its_whole_spec_that_goes_with_it() {
        let TwinPlan::Create(made) = plan(&twin(), None) else { panic!("a copy") };
        let owner = json!({ "apiVersion": "agent.rossoctl.dev/v1alpha1", "kind": "AgentRuntime", "name": "weather",
            "uid": "twin", "controller": true });
        let wanted = json!({ "apiVersion": "agent.kagenti.dev/v1alpha1", "kind": "AgentRuntime",
            "metadata": { "name": "weather", "namespace": "team", "ownerReferences": [owner] }, "spec": twin().spec });
        assert_eq!(made, wanted);
    }

    #[test]
    fn the_status_of_the_copy_is_shown_with_the_generation_of_the_twin_and_written_once() {
        let planned = plan(&twin(), Some(&copy()));
        let mut wanted = copy().status;
        wanted["observedGeneration"] = json!(7);
        wanted["conditions"][0]["observedGeneration"] = json!(7);
        assert_eq!(shown(&planned), &wanted, "with the time of the transition");
        let quiet = Raw { status: wanted, ..twin() };
        assert_eq!(plan(&quiet, Some(&copy())), TwinPlan::Nothing);
    }

    #[test]
    fn what_is_about_another_spec_or_goes_is_not_shown() {
        let with = |change: fn(&mut Raw)| {
            let mut changed = copy();
            change(&mut changed);
            changed
        };
        let table: [(&str, Raw, TwinPlan); 5] = [
            ("another spec", with(|copy| copy.spec = json!({ "type": "tool" })), TwinPlan::Replace),
            ("not read yet", with(|copy| copy.metadata.generation = Some(4)), TwinPlan::Nothing),
            ("no status", with(|copy| copy.status = Value::Null), TwinPlan::Nothing),
            ("no generation", with(|copy| copy.status = json!({})), TwinPlan::Nothing),
            ("leaving", with(|copy| copy.metadata.deletion_timestamp = Some(time(NOW))), TwinPlan::Nothing),
        ];
        for (what, copy, wanted) in table {
            assert_eq!(plan(&twin(), Some(&copy)), wanted, "{what}");
        }
    }

    #[test]
    fn an_object_that_is_not_the_twins_own_is_never_written_and_told_of() {
        for owners in [vec![], vec![owner("twin", false)], vec![owner("other", true), owner("", true)]] {
            let mut other = copy();
            other.metadata.owner_references = Some(owners);
            other.spec = json!({ "type": "tool" });
            let planned = plan(&twin(), Some(&other));
            let status = shown(&planned);
            let ready = &status["conditions"][0];
            assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("TargetClaimed")));
            assert!(
                ready["message"]
                    .as_str()
                    .unwrap()
                    .contains("AgentRuntime weather of agent.kagenti.dev/v1alpha1")
            );
            assert_eq!((&status["observedGeneration"], &status["configuredPods"]), (&json!(7), &json!(0)));
            let later = Raw { status: status.clone(), ..twin() };
            let again = plan_twin(&name(), &later, Some(&other), Timestamp::from_unix(2_000));
            assert_eq!(again, TwinPlan::Nothing, "told once");
        }
        let mut nameless = twin();
        nameless.metadata.uid = None;
        let mut other = copy();
        other.metadata.owner_references = Some(vec![owner("", true)]);
        assert!(matches!(plan(&nameless, Some(&other)), TwinPlan::Show(_)), "no UID owns nothing");
    }

    #[test]
    fn a_refusal_is_told_beside_what_was_known_and_goes_with_its_cause() {
        let known = json!({ "type": "Verified", "status": "True", "reason": "SignatureVerified", "message": "",
            "lastTransitionTime": "2026-11-30T10:00:00Z" });
        let before = json!({ "configuredPods": 1, "conditions": [
            { "type": "Ready", "status": "True", "reason": "Configured", "message": "",
                "lastTransitionTime": "2026-11-30T10:00:00Z" }, known] });
        let twin = Raw { status: before, ..twin() };
        let planned = plan_refused(&twin, "no room", NOW);
        let status = shown(&planned);
        assert_eq!(status["conditions"][0]["type"], "Verified");
        let ready = &status["conditions"][1];
        assert_eq!((&ready["reason"], &ready["observedGeneration"]), (&json!("ConfigApplyError"), &json!(7)));
        assert!(ready["message"].as_str().unwrap().ends_with("was not written: no room"), "{ready:#}");
        assert_eq!((&status["configuredPods"], &status["observedGeneration"]), (&json!(1), &json!(7)));
        let later = Raw { status: status.clone(), ..twin };
        assert_eq!(plan_refused(&later, "no room", Timestamp::from_unix(2_000)), TwinPlan::Nothing);
        assert_eq!(shown(&plan(&later, Some(&copy())))["conditions"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_twin_that_goes_loses_the_finalizer_of_the_existing_operator_and_nothing_else() {
        let leaving = |finalizers: &[&str]| {
            let mut twin = twin();
            twin.metadata.deletion_timestamp = Some(time(NOW));
            twin.metadata.finalizers = Some(finalizers.iter().map(|&name| name.to_owned()).collect());
            twin
        };
        for copy in [None, Some(copy())] {
            let rest = plan(&leaving(&["rossoctl.io/cleanup", "other"]), copy.as_ref());
            assert_eq!(rest, TwinPlan::SetFinalizers(vec!["other".to_owned()]));
            assert_eq!(plan(&leaving(&["other"]), copy.as_ref()), TwinPlan::Nothing);
        }
    }
}

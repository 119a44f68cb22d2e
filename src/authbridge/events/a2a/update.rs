//! What a message of an agent tells about its task, in JSON of 0.3 and 1.0.

use crate::events::member::{Ambiguous, agreed, member, object, text};
use countersign_core::json::{Object, Value as Json};

/// Context, task and state that one message of an agent names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::events) struct Update {
    pub(in crate::events) context: Option<String>,
    pub(in crate::events) task: Option<String>,
    /// State as the agent wrote it.
    pub(in crate::events) state: Option<String>,
}

/// Spellings of `contextId`; the JSON of protobuf may be read by either.
pub(super) const CONTEXT: [&str; 2] = ["contextId", "context_id"];
/// Spellings of `taskId`.
pub(super) const TASK: [&str; 2] = ["taskId", "task_id"];
/// Members of a 1.0 answer, of which it has one.
const PAYLOADS: [&[&str]; 4] =
    [&["task"], &["message"], &["statusUpdate", "status_update"], &["artifactUpdate", "artifact_update"]];

impl Update {
    /// Reads the result of an operation: what it answers with, or the one member of 1.0 that holds it.
    pub(in crate::events) fn of_result(result: Object<'_>) -> Result<Self, Ambiguous> {
        let mut held = None;
        for (place, names) in PAYLOADS.iter().enumerate() {
            if let Some(payload) = object(result, names)? {
                if held.is_some() {
                    return Err(Ambiguous);
                }
                held = Some((payload, place == 0));
            }
        }
        let (payload, is_task) = held.unwrap_or((result, false));
        let status = object(payload, &["status"])?;
        let state = status.map(|status| text(status, &["state"])).transpose()?.flatten();
        let kind = member(payload, &["kind"])?.and_then(Json::as_str);
        // Only a task has an `id` that is one, and only a task and its updates have a status.
        let task = match text(payload, &TASK)? {
            None if is_task || kind == Some("task") || (kind.is_none() && state.is_some()) => {
                text(payload, &["id"])?
            }
            task => task,
        };
        // A reader of 0.3 looks beside the payload, one of 1.0 inside.
        let context = agreed([text(payload, &CONTEXT)?, text(result, &CONTEXT)?])?;
        Ok(Self { context, task, state })
    }

    /// Context and task that a request names, in its `params` or in the body of HTTP+JSON.
    pub(in crate::events) fn of_request(params: Object<'_>) -> Result<Self, Ambiguous> {
        let message = object(params, &["message"])?;
        let inside = |names: &[&str]| message.map(|message| text(message, names)).transpose();
        // `sessionId` is of A2A 0.2, which the existing AuthBridge reads too.
        let places = [text(params, &CONTEXT)?, text(params, &["sessionId"])?, inside(&CONTEXT)?.flatten()];
        let context = agreed(places)?;
        let task = match inside(&TASK)?.flatten() {
            Some(task) => Some(task),
            None if message.is_none() => text(params, &["id"])?,
            None => None,
        };
        Ok(Self { context, task, state: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::member::parse;
    use countersign_core::json::JsonLimits;

    #[test]
    fn context_task_and_state_are_read_in_every_version() {
        let read = |json: &str| {
            let document = parse(json.as_bytes().to_vec(), &JsonLimits::CARD).unwrap();
            let read = Update::of_result(document.root().as_object().unwrap());
            read.ok()
                .map(|Update { context, task, state }| [context, task, state].map(Option::unwrap_or_default))
        };
        for (json, expected) in [
            (
                r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"}}"#,
                ["c", "t", "completed"],
            ),
            (
                r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}"#,
                ["c", "t", "TASK_STATE_WORKING"],
            ),
            (r#"{"kind":"message","messageId":"m","contextId":"c"}"#, ["c", "", ""]),
            (
                r#"{"kind":"status-update","taskId":"t","contextId":"c","status":{"state":"working"},"final":false}"#,
                ["c", "t", "working"],
            ),
            (r#"{"kind":"artifact-update","taskId":"t","contextId":"c","artifact":{}}"#, ["c", "t", ""]),
            (
                r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#,
                ["c", "t", "TASK_STATE_COMPLETED"],
            ),
            (r#"{"message":{"messageId":"m","contextId":"c","taskId":"t"}}"#, ["c", "t", ""]),
            (
                r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_FAILED"}}}"#,
                ["c", "t", "TASK_STATE_FAILED"],
            ),
            (r#"{"artifactUpdate":{"taskId":"t","contextId":"c"}}"#, ["c", "t", ""]),
            (r#"{"tasks":[{"id":"t","contextId":"c"}]}"#, ["", "", ""]),
            (r#"{"name":"an agent","id":"a"}"#, ["", "", ""]),
        ] {
            assert_eq!(read(json), Some(expected.map(str::to_owned)), "{json}");
        }
        for ambiguous in [
            r#"{"task":{"id":"t"},"message":{"contextId":"c"}}"#,
            r#"{"task":{"id":"t"},"Task":{"id":"u"}}"#,
            r#"{"contextId":"c","context_id":"d"}"#,
            r#"{"contextId":"c","task":{"id":"t","contextId":"d"}}"#,
            r#"{"status":{"state":"working","State":"completed"}}"#,
        ] {
            assert_eq!(read(ambiguous), None, "{ambiguous}");
        }
    }

    #[test]
    fn a_request_names_its_context_in_one_of_three_places() {
        let read = |json: &str| {
            let document = parse(json.as_bytes().to_vec(), &JsonLimits::CARD).unwrap();
            let read = Update::of_request(document.root().as_object().unwrap());
            read.ok().map(|Update { context, task, .. }| [context, task].map(Option::unwrap_or_default))
        };
        for (json, expected) in [
            (r#"{"message":{"contextId":"c","taskId":"t"}}"#, Some(["c", "t"])),
            (r#"{"contextId":"c","sessionId":"c","message":{"contextId":"c"}}"#, Some(["c", ""])),
            (r#"{"contextId":"c","message":{"contextId":""}}"#, Some(["c", ""])),
            (r#"{"contextId":"p","message":{"contextId":"c"}}"#, None),
            (r#"{"sessionId":"s","message":{"contextId":"c"}}"#, None),
            (r#"{"contextId":"p","sessionId":"s"}"#, None),
            (r#"{"sessionId":"s","id":"t"}"#, Some(["s", "t"])),
            (r#"{"id":"t"}"#, Some(["", "t"])),
            ("{}", Some(["", ""])),
            (r#"{"message":{"contextId":"c"},"MESSAGE":{"contextId":"d"}}"#, None),
        ] {
            assert_eq!(read(json), expected.map(|read| read.map(str::to_owned)), "{json}");
        }
    }
}

//! Messages of A2A over gRPC, written by hand: only the fields in use, under the numbers of `a2a.proto`.
//! Protobuf skips the others; where a field occurs twice, every reader takes the last one.

use super::operation::Operation;
use super::update::Update;
use crate::events::text::bounded;
use prost::{Message, Oneof};

/// Version of the gRPC service, which decides about numbers and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::events) enum GrpcVersion {
    /// `lf.a2a.v1`
    V1,
    /// `a2a.v1`, of A2A 0.3.
    V03,
}

/// `SendMessageRequest` in 1.0.
#[derive(Clone, PartialEq, Eq, Message)]
struct SendMessageRequest {
    #[prost(message, optional, tag = "2")]
    message: Option<AgentMessage>,
}

/// `SendMessageRequest` in 0.3.
#[derive(Clone, PartialEq, Eq, Message)]
struct SendMessageRequest03 {
    #[prost(message, optional, tag = "1")]
    request: Option<AgentMessage>,
}

/// `Message`
#[derive(Clone, PartialEq, Eq, Message)]
struct AgentMessage {
    #[prost(string, tag = "2")]
    context_id: String,
    #[prost(string, tag = "3")]
    task_id: String,
}

/// `StreamResponse`, and by the same numbers `SendMessageResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Response {
    #[prost(oneof = "Payload", tags = "1, 2, 3, 4")]
    payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Payload {
    #[prost(message, tag = "1")]
    Task(Task),
    #[prost(message, tag = "2")]
    Message(AgentMessage),
    #[prost(message, tag = "3")]
    StatusUpdate(Task),
    #[prost(message, tag = "4")]
    ArtifactUpdate(ArtifactUpdate),
}

/// `Task`, and by the same numbers `TaskStatusUpdateEvent`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Task {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    context_id: String,
    #[prost(message, optional, tag = "3")]
    status: Option<TaskStatus>,
}

/// `TaskArtifactUpdateEvent`
#[derive(Clone, PartialEq, Eq, Message)]
struct ArtifactUpdate {
    #[prost(string, tag = "1")]
    task_id: String,
    #[prost(string, tag = "2")]
    context_id: String,
}

/// `TaskStatus`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct TaskStatus {
    #[prost(int32, tag = "1")]
    state: i32,
}

impl GrpcVersion {
    /// Version and operation of a path of gRPC.
    pub(in crate::events) fn of_path(path: &str) -> Option<(Self, &'static Operation)> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let version = match service {
            "lf.a2a.v1.A2AService" => Self::V1,
            "a2a.v1.A2AService" => Self::V03,
            _ => return None,
        };
        Some((version, Operation::named(method)?))
    }

    /// Context and task that the message of a request names; `None` if it is no such message.
    pub(in crate::events) fn request(self, operation: &Operation, message: &[u8]) -> Option<Update> {
        if !operation.acts {
            return Some(Update::default());
        }
        let message = match self {
            Self::V1 => SendMessageRequest::decode(message).ok()?.message,
            Self::V03 => SendMessageRequest03::decode(message).ok()?.request,
        };
        let message = message.unwrap_or_default();
        Some(Update { context: given(&message.context_id), task: given(&message.task_id), state: None })
    }

    /// What a message of the answer tells; `None` if it is no such message, or none that names a task.
    pub(in crate::events) fn answer(self, operation: &Operation, message: &[u8]) -> Option<Update> {
        let payload = match operation.name {
            "SendMessage" | "SendStreamingMessage" | "SubscribeToTask" => {
                Response::decode(message).ok()?.payload?
            }
            "GetTask" | "CancelTask" => Payload::Task(Task::decode(message).ok()?),
            _ => return None,
        };
        let (context, task, status) = match payload {
            Payload::Task(Task { id, context_id, status })
            | Payload::StatusUpdate(Task { id, context_id, status }) => (context_id, id, status),
            Payload::Message(AgentMessage { context_id, task_id })
            | Payload::ArtifactUpdate(ArtifactUpdate { task_id, context_id }) => (context_id, task_id, None),
        };
        let state = status.map(|status| self.state(status.state));
        Some(Update { context: given(&context), task: given(&task), state })
    }

    /// Name of a task state, as the JSON of protobuf writes it.
    fn state(self, number: i32) -> String {
        let name = match number {
            0 => "UNSPECIFIED",
            1 => "SUBMITTED",
            2 => "WORKING",
            3 => "COMPLETED",
            4 => "FAILED",
            5 if self == Self::V03 => "CANCELLED",
            5 => "CANCELED",
            6 => "INPUT_REQUIRED",
            7 => "REJECTED",
            8 => "AUTH_REQUIRED",
            _ => return number.to_string(),
        };
        format!("TASK_STATE_{name}")
    }
}

/// A text of protobuf, where an empty one is an absent one.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| bounded(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    #[test]
    fn messages_are_read_by_the_numbers_of_their_version() {
        let (v1, send) = GrpcVersion::of_path("/lf.a2a.v1.A2AService/SendMessage").unwrap();
        let (v03, send03) = GrpcVersion::of_path("/a2a.v1.A2AService/SendStreamingMessage").unwrap();
        assert_eq!((v1, v03), (GrpcVersion::V1, GrpcVersion::V03));
        assert_eq!((send.name, send03.name), ("SendMessage", "SendStreamingMessage"));
        for path in
            ["/a2a.v1.A2AService/Send", "/other.A2AService/SendMessage", "a2a.v1.A2AService/SendMessage", "/"]
        {
            assert_eq!(GrpcVersion::of_path(path), None, "{path}");
        }
        let message = [field(1, b"m"), field(2, b"c"), field(3, b"t"), field(5, b"")].concat();
        let named = Update { context: Some("c".into()), task: Some("t".into()), state: None };
        let request = [field(1, b"a-tenant"), field(2, &message)].concat();
        assert_eq!(v1.request(send, &request), Some(named.clone()));
        assert_eq!(v03.request(send03, &field(1, &message)), Some(named.clone()));
        assert_eq!(v1.request(send, b""), Some(Update::default()));
        assert_eq!(v1.request(send, &[0x12, 0x05, 0x0a]), None);

        let status = |state: u8| field(3, &[&[1 << 3, state][..], &field(2, b"")].concat());
        let task = |state| [field(1, b"t"), field(2, b"c"), status(state)].concat();
        let told = |state: &str| Some(Update { state: Some(state.into()), ..named.clone() });
        assert_eq!(v1.answer(send, &field(1, &task(3))), told("TASK_STATE_COMPLETED"));
        assert_eq!(v03.answer(send03, &field(3, &task(2))), told("TASK_STATE_WORKING"));
        assert_eq!(v1.answer(send, &field(1, &task(5))), told("TASK_STATE_CANCELED"));
        assert_eq!(v03.answer(send, &field(1, &task(5))), told("TASK_STATE_CANCELLED"));
        assert_eq!(v1.answer(send, &field(1, &task(77))), told("77"));
        assert_eq!(v1.answer(send, &field(2, &message)), Some(named.clone()));
        let artifact = [field(1, b"t"), field(2, b"c"), field(3, &field(1, b"a"))].concat();
        assert_eq!(v1.answer(send, &field(4, &artifact)), Some(named.clone()));
        let get = Operation::named("GetTask").unwrap();
        assert_eq!(v1.answer(get, &task(1)), told("TASK_STATE_SUBMITTED"));
        assert_eq!(v1.answer(Operation::named("ListTasks").unwrap(), &task(1)), None);
        assert_eq!(v1.answer(send, &[0xff; 9]), None);
        assert_eq!(v1.answer(send, b""), None);
    }
}

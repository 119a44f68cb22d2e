//! Operations of A2A: one table of their names in JSON-RPC, HTTP+JSON and gRPC, in 0.3 and 1.0.

use hyper::Method;

/// Segments of a path that may precede those of an operation: where the agent is mounted, and `v1` or a tenant.
const PREFIX: usize = 2;

/// Operation of an A2A agent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Name in 1.0, of JSON-RPC and of gRPC.
    pub(in crate::events) name: &'static str,
    /// Names in 0.3: of JSON-RPC, and of gRPC where it differs.
    before: &'static [&'static str],
    /// Methods and paths of HTTP+JSON. `*` stands for one segment, `*:verb` for one that ends so.
    http: &'static [(Method, &'static [&'static str])],
    /// True if the agent is asked to act, in contrast to a question about what it does.
    pub(in crate::events) acts: bool,
}

const TASK: &str = "tasks";
const PUSH: &str = "pushNotificationConfigs";

/// Every operation. 0.3 names them as its SDKs do; 1.0 is `a2a.proto`, whose `SubscribeToTask` servers also take as a POST.
static OPERATIONS: [Operation; 11] = [
    Operation {
        name: "SendMessage",
        before: &["message/send"],
        http: &[(Method::POST, &["message:send"])],
        acts: true,
    },
    Operation {
        name: "SendStreamingMessage",
        before: &["message/stream"],
        http: &[(Method::POST, &["message:stream"])],
        acts: true,
    },
    Operation { name: "GetTask", before: &["tasks/get"], http: &[(Method::GET, &[TASK, "*"])], acts: false },
    Operation { name: "ListTasks", before: &[], http: &[(Method::GET, &[TASK])], acts: false },
    Operation {
        name: "CancelTask",
        before: &["tasks/cancel"],
        http: &[(Method::POST, &[TASK, "*:cancel"])],
        acts: false,
    },
    Operation {
        name: "SubscribeToTask",
        before: &["tasks/resubscribe", "TaskSubscription"],
        http: &[(Method::GET, &[TASK, "*:subscribe"]), (Method::POST, &[TASK, "*:subscribe"])],
        acts: false,
    },
    Operation {
        name: "CreateTaskPushNotificationConfig",
        before: &["tasks/pushNotificationConfig/set"],
        http: &[(Method::POST, &[TASK, "*", PUSH])],
        acts: false,
    },
    Operation {
        name: "GetTaskPushNotificationConfig",
        before: &["tasks/pushNotificationConfig/get"],
        http: &[(Method::GET, &[TASK, "*", PUSH, "*"])],
        acts: false,
    },
    Operation {
        name: "ListTaskPushNotificationConfigs",
        before: &["tasks/pushNotificationConfig/list", "ListTaskPushNotificationConfig"],
        http: &[(Method::GET, &[TASK, "*", PUSH])],
        acts: false,
    },
    Operation {
        name: "DeleteTaskPushNotificationConfig",
        before: &["tasks/pushNotificationConfig/delete"],
        http: &[(Method::DELETE, &[TASK, "*", PUSH, "*"])],
        acts: false,
    },
    Operation {
        name: "GetExtendedAgentCard",
        before: &["agent/getAuthenticatedExtendedCard", "GetAgentCard"],
        http: &[(Method::GET, &["extendedAgentCard"]), (Method::GET, &["v1", "card"])],
        acts: false,
    },
];

impl Operation {
    /// The operation with this name in JSON-RPC or gRPC, in any version.
    pub(in crate::events) fn named(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|one| one.name == name || one.before.contains(&name))
    }

    /// The operation of HTTP+JSON at a path, which may lie below `/v1`, a tenant, or where the agent is mounted.
    pub(in crate::events) fn at(method: &Method, path: &str) -> Option<&'static Self> {
        let path = path.strip_prefix('/')?;
        let count = path.split('/').count();
        // Nothing is allocated: this is done for every request.
        let is_at = |pattern: &[&str]| {
            let prefix = count.checked_sub(pattern.len());
            let mut pairs = path.rsplit('/').zip(pattern.iter().rev());
            prefix.is_some_and(|prefix| prefix <= PREFIX)
                && pairs.all(|(segment, pattern)| is_segment(segment, pattern))
        };
        OPERATIONS
            .iter()
            .find(|one| one.http.iter().any(|(known, pattern)| known == method && is_at(pattern)))
    }
}

/// True if a segment is the one of the pattern. Servers decode `%3A`, so it is the colon of a verb here too.
fn is_segment(segment: &str, pattern: &str) -> bool {
    let decoded;
    let segment = if segment.contains('%') {
        decoded = segment.replace("%3A", ":").replace("%3a", ":");
        decoded.as_str()
    } else {
        segment
    };
    match pattern.strip_prefix('*') {
        None => segment == pattern,
        Some("") => !segment.is_empty() && !segment.contains(':'),
        Some(verb) => segment.strip_suffix(verb).is_some_and(|id| !id.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_one_whatever_its_version_and_binding() {
        let named = |name| Operation::named(name).map(|one| (one.name, one.acts));
        for (name, expected) in [
            ("message/send", Some(("SendMessage", true))),
            ("SendMessage", Some(("SendMessage", true))),
            ("message/stream", Some(("SendStreamingMessage", true))),
            ("tasks/get", Some(("GetTask", false))),
            ("tasks/resubscribe", Some(("SubscribeToTask", false))),
            ("TaskSubscription", Some(("SubscribeToTask", false))),
            ("tasks/pushNotificationConfig/set", Some(("CreateTaskPushNotificationConfig", false))),
            ("agent/getAuthenticatedExtendedCard", Some(("GetExtendedAgentCard", false))),
            ("sendmessage", None),
            ("message/Send", None),
            ("", None),
        ] {
            assert_eq!(named(name), expected, "{name}");
        }
        let at = |method: &str, path| {
            Operation::at(&Method::from_bytes(method.as_bytes()).unwrap(), path).map(|one| one.name)
        };
        for (method, path, expected) in [
            ("POST", "/message:send", Some("SendMessage")),
            ("POST", "/v1/message:send", Some("SendMessage")),
            ("POST", "/team-1/message:stream", Some("SendStreamingMessage")),
            ("POST", "/a2a/v1/message:stream", Some("SendStreamingMessage")),
            ("POST", "/message%3Asend", Some("SendMessage")),
            ("POST", "/a/b/c/message:send", None),
            ("GET", "/message:send", None),
            ("GET", "/tasks", Some("ListTasks")),
            ("GET", "/tasks/", None),
            ("GET", "/tasks/t1", Some("GetTask")),
            ("GET", "/v1/tasks/t1", Some("GetTask")),
            ("POST", "/v1/tasks/t1:cancel", Some("CancelTask")),
            ("POST", "/tasks/:cancel", None),
            ("GET", "/tasks/t1:subscribe", Some("SubscribeToTask")),
            ("POST", "/tasks/t1:subscribe", Some("SubscribeToTask")),
            ("GET", "/tasks/t1:other", None),
            ("POST", "/tasks/t1/pushNotificationConfigs", Some("CreateTaskPushNotificationConfig")),
            ("GET", "/x/y/tasks/t1/pushNotificationConfigs/p", Some("GetTaskPushNotificationConfig")),
            ("DELETE", "/tasks/t1/pushNotificationConfigs/p", Some("DeleteTaskPushNotificationConfig")),
            ("GET", "/x/y/z/tasks/t1/pushNotificationConfigs/p", None),
            ("GET", "/extendedAgentCard", Some("GetExtendedAgentCard")),
            ("GET", "/v1/card", Some("GetExtendedAgentCard")),
            ("GET", "/card", None),
            ("GET", "/", None),
            ("GET", "*", None),
        ] {
            assert_eq!(at(method, path), expected, "{method} {path}");
        }
    }
}

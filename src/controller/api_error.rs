//! Errors of the API server as sentences that name what was refused and what to do.
//! [`kube::Error`] by itself displays an answer in Debug form, with fields that nobody can act on.

use countersign_core::text::Quoted;
use kube::Error;
use kube::core::Status;
use kube::runtime::watcher;
use std::fmt;

/// Answer of an API server that refuses a request for lack of a right, or by an admission policy (RFC 9110 section 15.5.4).
const FORBIDDEN: u16 = 403;

/// Displays an error of a request in one sentence.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'e>(pub &'e Error);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::Api(status) => answer(status, f),
            // What an answer says that cannot be read is quoted in these.
            other => write!(f, "{}", Quoted(&other.to_string())),
        }
    }
}

/// Displays an error of a watch in one sentence.
#[derive(Clone, Copy, Debug)]
pub struct ExplainedWatch<'e>(pub &'e watcher::Error);

impl fmt::Display for ExplainedWatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => write!(f, "{}", Explained(error)),
            watcher::Error::WatchError(status) => answer(status, f),
            watcher::Error::NoResourceVersion => {
                f.write_str("the API server answered a list without a version")
            }
        }
    }
}

fn answer(status: &Status, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match MissingRight::of(status) {
        Some(right) => write!(f, "{right}"),
        None => write!(f, "the API server answered {}: {}", status.code, Quoted(&status.message)),
    }
}

/// True if the API server refused a request because the account lacks a right. Admission policies and quotas refuse with
/// the same code, and about one object alone.
pub(crate) fn lacks_a_right(error: &Error) -> bool {
    matches!(error, Error::Api(status) if MissingRight::of(status).is_some())
}

/// Right that an account lacks, as the authorizers of Kubernetes name it. No field of an answer has the verb, so it is read
/// from the message.
struct MissingRight<'m> {
    user: &'m str,
    verb: &'m str,
    resource: &'m str,
    group: &'m str,
    namespace: Option<&'m str>,
}

impl<'m> MissingRight<'m> {
    fn of(status: &'m Status) -> Option<Self> {
        if status.code != FORBIDDEN {
            return None;
        }
        let (_, rest) = status.message.split_once("forbidden: User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest
            .strip_prefix(" in the namespace \"")
            .and_then(|rest| rest.split_once('"'))
            .map(|(name, _)| name);
        let is_name = |text: &str| {
            text.len() <= 253
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '/' | '*'))
        };
        // Whatever else stands there was not written by an authorizer.
        [verb, resource, group, namespace.unwrap_or_default()].into_iter().all(is_name).then_some(Self {
            user,
            verb,
            resource,
            group,
            namespace,
        })
    }
}

impl fmt::Display for MissingRight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verb, resource, group, namespace } = self;
        let user = Quoted(user);
        write!(f, "a right is missing: the account {user} may not {verb} {resource}")?;
        match namespace {
            Some(namespace) => write!(f, " in the namespace {namespace}")?,
            None => f.write_str(" in the whole cluster")?,
        }
        write!(
            f,
            "; bind it to a ClusterRole with the verb {verb} on {resource} of the API group \"{group}\", as the chart \
             does with rbac.enable=true"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> Error {
        Error::Api(Status { code, ..Status::failure(message, "Reason") }.boxed())
    }

    const PODS: &str = "pods \"weather-1\" is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \
                        \"pods\" in API group \"\" in the namespace \"team\"";

    #[test]
    fn a_missing_right_is_a_sentence_with_account_verb_resource_and_remedy() {
        let nodes = "agentcards.agent.kagenti.dev is forbidden: User \"u\" cannot list resource \"agentcards/status\" in \
                     API group \"agent.kagenti.dev\" at the cluster scope";
        for (message, expected) in [
            (
                PODS,
                "a right is missing: the account \"system:serviceaccount:a:b\" may not patch pods in the namespace \
                 team; bind it to a ClusterRole with the verb patch on pods of the API group \"\", as the chart does \
                 with rbac.enable=true",
            ),
            (
                nodes,
                "a right is missing: the account \"u\" may not list agentcards/status in the whole cluster; bind it to \
                 a ClusterRole with the verb list on agentcards/status of the API group \"agent.kagenti.dev\", as the \
                 chart does with rbac.enable=true",
            ),
        ] {
            let error = answered(403, message);
            assert_eq!(Explained(&error).to_string(), expected);
            assert!(lacks_a_right(&error));
            let watch = watcher::Error::InitialListFailed(error);
            assert_eq!(ExplainedWatch(&watch).to_string(), expected);
        }
    }

    #[test]
    fn no_answer_is_shown_in_debug_form_and_none_but_an_authorizers_is_a_missing_right() {
        let forged = "x is forbidden: User \"u\" cannot do\n resource \"pods\" in API group \"\" in the namespace \"team\"";
        let quota = "pods \"a\" is forbidden: exceeded quota: small";
        for (code, message) in [(403, quota), (403, forged), (409, PODS), (500, "no \u{202e}more")] {
            let error = answered(code, message);
            let text = Explained(&error).to_string();
            assert!(text.starts_with(&format!("the API server answered {code}: \"")), "{text}");
            assert!(!text.contains("Status {") && !text.contains(['\n', '\u{202e}']), "{text}");
            assert!(!lacks_a_right(&error), "{message}");
        }
    }
}

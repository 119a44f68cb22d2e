//! Why an object was not read.

use countersign_core::text::Quoted;
use kube::Error;

/// Why an object, or a list, was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// There is none, or the cluster does not know its kind.
    Absent,
    /// Whoever runs the check lacks this right, as in `get pods in the namespace team`.
    Forbidden(String),
    /// The request failed.
    Failed(String),
}

/// An object, or why it was not read.
pub(super) type Answer<T> = Result<T, Unread>;

/// Answer of the API server that there is no such object (RFC 9110 section 15.5.5).
const NOT_FOUND: u16 = 404;
/// Answer of the API server that a right is missing (RFC 9110 section 15.5.4).
const FORBIDDEN: u16 = 403;
/// Answer of the API server to who is nobody to it (RFC 9110 section 15.5.2).
pub(super) const UNAUTHORIZED: u16 = 401;

impl Unread {
    /// What an error of a request means that needs `right`.
    pub(super) fn of(error: &Error, right: &str) -> Self {
        match error {
            Error::Api(status) if status.code == NOT_FOUND => Self::Absent,
            Error::Api(status) if status.code == FORBIDDEN => Self::Forbidden(right.to_owned()),
            other => Self::Failed(told(other)),
        }
    }
}

/// An error of a request as a sentence, with its causes.
pub(super) fn told(error: &Error) -> String {
    if let Error::Api(status) = error {
        return format!("the API server answered {}: {}", status.code, Quoted(&status.message));
    }
    // The outer errors of a connection say nothing that their causes do not.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Quoted(&cause.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_answer_says_whether_the_object_the_right_or_the_api_server_is_missing() {
        let of = |code: u16| {
            let status = Status { code, message: "m\n".to_owned(), ..Status::default() };
            Unread::of(&Error::Api(Box::new(status)), "get x")
        };
        assert_eq!(of(404), Unread::Absent);
        assert_eq!(of(403), Unread::Forbidden("get x".to_owned()));
        let failed = Unread::Failed("the API server answered 500: \"m\\u{a}\"".to_owned());
        assert_eq!(of(500), failed);
        assert_eq!(
            Unread::of(&Error::TlsRequired, "x"),
            Unread::Failed(format!("{}", Quoted(&Error::TlsRequired.to_string())))
        );
    }
}

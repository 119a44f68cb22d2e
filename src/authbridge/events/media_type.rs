//! Form of a body by its headers: which bodies are read, and where their messages end.

use crate::limits::CALL_BYTES;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};

/// Form of a body whose messages can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON document.
    Json,
    /// Server-sent events with a JSON document in each.
    Events,
    /// Messages of gRPC in protobuf.
    Grpc,
}

impl Form {
    /// Form of the body under these headers; `None` if it is another one, compressed, since nothing is decompressed, or one
    /// document that is too large.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::of_type(headers).filter(|form| *form != Self::Json || !is_too_large(headers))
    }

    fn of_type(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return None;
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (first, second) = (types.next()?, types.next());
        if second.is_some() {
            return None;
        }
        let essence = first.to_str().ok()?.split(';').next()?.trim_matches([' ', '\t']).to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "application/json-rpc" => Some(Self::Json),
            "text/event-stream" => Some(Self::Events),
            "application/grpc" | "application/grpc+proto" => Some(Self::Grpc),
            // Such as `a2a+json` and `problem+json` (RFC 6839); over gRPC, JSON is framed and not read.
            "application/grpc+json" => None,
            other => (other.starts_with("application/") && other.ends_with("+json")).then_some(Self::Json),
        }
    }
}

/// True if the headers tell a body of more than [`CALL_BYTES`].
fn is_too_large(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|length| length > CALL_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn bodies_are_read_by_their_type_unless_they_are_compressed() {
        let form = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Form::of(&headers)
        };
        for (kind, expected) in [
            ("application/json", Some(Form::Json)),
            ("Application/JSON ; charset=utf-8", Some(Form::Json)),
            ("application/a2a+json", Some(Form::Json)),
            ("application/problem+json", Some(Form::Json)),
            ("text/event-stream", Some(Form::Events)),
            ("text/event-stream;charset=utf-8", Some(Form::Events)),
            ("application/grpc", Some(Form::Grpc)),
            ("application/grpc+proto", Some(Form::Grpc)),
            ("application/grpc+json", None),
            ("application/grpc-web", None),
            ("application/jsonp", None),
            ("text/html", None),
            ("image/svg+json", None),
            ("", None),
        ] {
            assert_eq!(form(&[("content-type", kind)]), expected, "{kind}");
        }
        let json = ("content-type", "application/json");
        assert_eq!(form(&[json, ("content-encoding", "gzip")]), None);
        assert_eq!(form(&[json, ("content-encoding", "identity"), ("content-encoding", "br")]), None);
        assert_eq!(form(&[json, ("content-encoding", "Identity")]), Some(Form::Json));
        assert_eq!(form(&[json, ("content-type", "text/html")]), None);
        assert_eq!(form(&[]), None);
        // Messages of a stream may be small where the stream is not.
        let length = ("content-length", "65537");
        assert_eq!(form(&[json, length]), None);
        assert_eq!(form(&[json, ("content-length", "65536")]), Some(Form::Json));
        assert_eq!(form(&[("content-type", "text/event-stream"), length]), Some(Form::Events));
    }
}

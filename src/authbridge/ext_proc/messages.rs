//! Messages between Envoy and its external processor, written by hand: only the fields in use, under the numbers of
//! Envoy's definitions. Protobuf skips the others, and no generator or copy of Envoy's API is needed to build.

use prost::{Message, Oneof};
use std::collections::BTreeMap;

/// `ProcessingRequest` (`envoy/service/ext_proc/v3/external_processor.proto`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessingRequest {
    /// Part of a request or response that Envoy sends.
    #[prost(oneof = "Told", tags = "2, 3, 4, 5, 6, 7")]
    pub(super) told: Option<Told>,
    /// Attributes that `request_attributes` names, by filter.
    #[prost(btree_map = "string, message", tag = "9")]
    pub(super) attributes: BTreeMap<String, Struct>,
    /// True if Envoy neither waits for an answer nor obeys one.
    #[prost(bool, tag = "10")]
    pub(super) observability_mode: bool,
}

/// Oneof `request`.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Told {
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    #[prost(message, tag = "3")]
    ResponseHeaders(Empty),
    #[prost(message, tag = "4")]
    RequestBody(Empty),
    #[prost(message, tag = "5")]
    ResponseBody(Empty),
    #[prost(message, tag = "6")]
    RequestTrailers(Empty),
    #[prost(message, tag = "7")]
    ResponseTrailers(Empty),
}

/// Message of which no field is read.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Empty {}

/// `HttpHeaders`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HttpHeaders {
    /// Headers with names in lower case, pseudo-headers included.
    #[prost(message, optional, tag = "1")]
    pub(super) headers: Option<Headers>,
}

/// `HeaderMap` (`envoy/config/core/v3/base.proto`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Headers {
    #[prost(message, repeated, tag = "1")]
    pub(super) headers: Vec<RawHeader>,
}

/// `HeaderValue` (`envoy/config/core/v3/base.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RawHeader {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    /// Value as text, from versions of Envoy that do not set `raw_value`; at most one of the two fields is set.
    #[prost(string, tag = "2")]
    pub(super) value: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) raw_value: Vec<u8>,
}

/// `google.protobuf.Struct` (`google/protobuf/struct.proto`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) fields: BTreeMap<String, ProtoValue>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoValue {
    #[prost(oneof = "ValueKind", tags = "2, 3")]
    pub(super) kind: Option<ValueKind>,
}

/// Kinds of values that the attributes in use have.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum ValueKind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
}

/// `ProcessingResponse` (`envoy/service/ext_proc/v3/external_processor.proto`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessingResponse {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) answer: Option<Answer>,
}

/// Oneof `response`. An empty message lets the part pass unchanged.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Answer {
    #[prost(message, tag = "1")]
    RequestHeaders(HeadersResponse),
    #[prost(message, tag = "2")]
    ResponseHeaders(Empty),
    #[prost(message, tag = "3")]
    RequestBody(Empty),
    #[prost(message, tag = "4")]
    ResponseBody(Empty),
    #[prost(message, tag = "5")]
    RequestTrailers(Empty),
    #[prost(message, tag = "6")]
    ResponseTrailers(Empty),
    #[prost(message, tag = "7")]
    Immediate(ImmediateResponse),
}

/// `HeadersResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HeadersResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) response: Option<CommonResponse>,
}

/// `CommonResponse`; its default status 0 is CONTINUE.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CommonResponse {
    #[prost(message, optional, tag = "2")]
    pub(super) header_mutation: Option<HeaderMutation>,
}

/// `HeaderMutation`: Envoy removes first and sets afterwards.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderMutation {
    #[prost(message, repeated, tag = "1")]
    pub(super) set_headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "2")]
    pub(super) remove_headers: Vec<String>,
}

/// `HeaderValueOption` (`envoy/config/core/v3/base.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<RawHeader>,
    /// `HeaderAppendAction`.
    #[prost(int32, tag = "3")]
    pub(super) append_action: i32,
}

/// `OVERWRITE_IF_EXISTS_OR_ADD`
pub(super) const OVERWRITE: i32 = 2;

/// `ImmediateResponse`: Envoy answers itself, and the request goes nowhere.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ImmediateResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<HttpStatus>,
    #[prost(message, optional, tag = "2")]
    pub(super) headers: Option<HeaderMutation>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) body: Vec<u8>,
    /// For Envoy's access log.
    #[prost(string, tag = "5")]
    pub(super) details: String,
}

/// `HttpStatus` (`envoy/type/v3/http_status.proto`).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

/// `HealthCheckRequest` (`grpc/health/v1/health.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HealthRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

/// `HealthCheckResponse`: 1 is serving, 2 is not.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct HealthResponse {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One field of protobuf with a length: its number, and what it holds.
    fn field(number: u8, contents: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    #[test]
    fn a_request_is_read_by_the_field_numbers_of_envoy_and_the_rest_is_skipped() {
        let header = [field(1, b":path"), field(3, b"/a\xff")].concat();
        let headers = field(1, &field(1, &header));
        let direction = [&[2 << 3 | 1][..], &2_f64.to_le_bytes()].concat();
        let one = [field(1, b"xds.listener_direction"), field(2, &direction)].concat();
        let bool_value = [field(1, b"connection.mtls"), field(2, &[4 << 3, 1])].concat();
        let attributes = [field(1, &one), field(1, &bool_value)].concat();
        let by_filter = [field(1, b"envoy.filters.http.ext_proc"), field(2, &attributes)].concat();
        let metadata = field(8, b"");
        let end_of_stream = [3 << 3, 1];
        let told = field(2, &[headers, end_of_stream.to_vec()].concat());
        let read =
            ProcessingRequest::decode([told, metadata, field(9, &by_filter)].concat().as_slice()).unwrap();
        let Some(Told::RequestHeaders(HttpHeaders { headers: Some(headers) })) = read.told else { panic!() };
        assert_eq!(headers.headers[0].key, ":path");
        assert_eq!(headers.headers[0].raw_value, b"/a\xff");
        let attributes = &read.attributes["envoy.filters.http.ext_proc"].fields;
        assert_eq!(attributes["xds.listener_direction"].kind, Some(ValueKind::Number(2.0)));
        assert_eq!(attributes["connection.mtls"].kind, None);
        assert!(!read.observability_mode);
    }

    #[test]
    fn an_answer_is_written_by_the_field_numbers_of_envoy() {
        let header = RawHeader { key: "a".to_owned(), value: String::new(), raw_value: b"b".to_vec() };
        let set = HeaderOption { header: Some(header), append_action: OVERWRITE };
        let header_mutation = HeaderMutation { set_headers: vec![set], remove_headers: vec!["c".to_owned()] };
        let response = CommonResponse { header_mutation: Some(header_mutation) };
        let answer = Answer::RequestHeaders(HeadersResponse { response: Some(response) });
        let written = ProcessingResponse { answer: Some(answer) }.encode_to_vec();
        let option = [field(1, &[field(1, b"a"), field(3, b"b")].concat()), vec![3 << 3, 2]].concat();
        let mutation = [field(1, &option), field(2, b"c")].concat();
        assert_eq!(written, field(1, &field(1, &field(2, &mutation))));

        let immediate = ImmediateResponse {
            status: Some(HttpStatus { code: 401 }),
            headers: None,
            body: b"x".to_vec(),
            details: "d".to_owned(),
        };
        let written = ProcessingResponse { answer: Some(Answer::Immediate(immediate)) }.encode_to_vec();
        let status = field(1, &[1 << 3, 0x91, 0x03]);
        assert_eq!(written, field(7, &[status, field(3, b"x"), field(5, b"d")].concat()));
    }

    #[test]
    fn what_is_no_message_is_not_read() {
        for bytes in
            [&[0x12, 0x05, 0x0a][..], &[0xff; 12], &field(2, &field(1, &field(1, &field(1, b"\xff"))))]
        {
            assert!(ProcessingRequest::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}

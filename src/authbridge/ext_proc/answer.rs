//! Answers to Envoy: forward the request with changed headers, or send an error response.

use super::messages::{
    Answer, CommonResponse, HeaderMutation, HeaderOption, HeadersResponse, HttpStatus, ImmediateResponse,
    OVERWRITE, ProcessingResponse, RawHeader,
};
use crate::denial::Denial;
use crate::forward::{HTTP2_SETTINGS, is_own};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use std::time::Duration;

/// Longest time of a request with all that follows, in milliseconds; Envoy's router takes it off and ends the request then.
const STREAM_DURATION: HeaderName = HeaderName::from_static("x-envoy-upstream-stream-duration-ms");

/// Tells Envoy to forward a request with these headers, without `x-authbridge-*` and `http2-settings`, and with
/// `authorization` replacing every other if there is one. Hop-by-hop headers are Envoy's own task. A tunnel that the request
/// opens ends after `tunnel`.
pub(super) fn pass_on(
    headers: &HeaderMap,
    authorization: Option<&HeaderValue>,
    tunnel: Option<Duration>,
) -> ProcessingResponse {
    let behind = |name: &&HeaderName| is_own(name) || **name == HTTP2_SETTINGS;
    let behind = headers.keys().filter(behind);
    let replaced = authorization.is_some().then_some(&AUTHORIZATION);
    let mutation = HeaderMutation {
        set_headers: authorization
            .map(|value| set(&AUTHORIZATION, value))
            .into_iter()
            .chain(tunnel.map(|left| set(&STREAM_DURATION, &millis(left))))
            .collect(),
        remove_headers: behind.chain(replaced).map(|name| name.as_str().to_owned()).collect(),
    };
    let response = CommonResponse { header_mutation: Some(mutation) };
    let answer = Answer::RequestHeaders(HeadersResponse { response: Some(response) });
    ProcessingResponse { answer: Some(answer) }
}

/// Tells Envoy to send the error response of `denial`; the request goes nowhere.
pub(super) fn deny(denial: &Denial) -> ProcessingResponse {
    let json = HeaderValue::from_static("application/json");
    let challenge = denial.challenge();
    let challenge = challenge.as_ref().map(|challenge| set(&WWW_AUTHENTICATE, challenge));
    let headers = HeaderMutation {
        set_headers: [set(&CONTENT_TYPE, &json)].into_iter().chain(challenge).collect(),
        remove_headers: Vec::new(),
    };
    let response = ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(denial.code.status().as_u16()) }),
        headers: Some(headers),
        body: denial.body().into_bytes(),
        details: format!("authbridge.{}", denial.code.text()),
    };
    ProcessingResponse { answer: Some(Answer::Immediate(response)) }
}

/// At least one, because Envoy takes 0 for no end.
fn millis(left: Duration) -> HeaderValue {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1).into()
}

fn set(name: &HeaderName, value: &HeaderValue) -> HeaderOption {
    let header = RawHeader {
        key: name.as_str().to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec(),
    };
    HeaderOption { header: Some(header), append_action: OVERWRITE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denial::Code;

    #[test]
    fn our_marks_go_and_a_token_stands_alone() {
        let mut headers = HeaderMap::new();
        headers.append("x-authbridge-direction", HeaderValue::from_static("outbound"));
        headers.append("x-authbridge-direction", HeaderValue::from_static("inbound"));
        headers.append("x_authbridge_direction", HeaderValue::from_static("inbound"));
        headers.append("x-authbridge", HeaderValue::from_static("kept"));
        headers.append("http2-settings", HeaderValue::from_static("AAMAAABkAAQAoAAAAAIAAAAA"));
        let mutation =
            |authorization: Option<&HeaderValue>| match pass_on(&headers, authorization, None).answer {
                Some(Answer::RequestHeaders(answer)) => answer.response.unwrap().header_mutation.unwrap(),
                other => panic!("{other:?}"),
            };
        let kept = mutation(None);
        assert_eq!(
            (kept.set_headers.len(), kept.remove_headers.clone()),
            (
                0,
                ["x-authbridge-direction", "x_authbridge_direction", "http2-settings"]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
        let replaced = mutation(Some(&HeaderValue::from_static("Bearer b")));
        assert_eq!(replaced.remove_headers[..3], kept.remove_headers);
        assert_eq!(replaced.remove_headers[3..], ["authorization"]);
        assert_eq!(replaced.set_headers[0].header.as_ref().unwrap().raw_value, b"Bearer b");
    }

    #[test]
    fn envoy_is_told_how_long_a_tunnel_may_be_open() {
        for (left, told) in [(0, "1"), (4_000, "4000")] {
            let answer = pass_on(&HeaderMap::new(), None, Some(Duration::from_millis(left))).answer;
            let Some(Answer::RequestHeaders(answer)) = answer else { panic!("{answer:?}") };
            let header =
                answer.response.unwrap().header_mutation.unwrap().set_headers[0].header.clone().unwrap();
            let (name, value) = ("x-envoy-upstream-stream-duration-ms".to_owned(), told.as_bytes().to_vec());
            assert_eq!((header.key, header.raw_value), (name, value));
        }
    }

    #[test]
    fn a_denial_keeps_its_status_its_challenge_and_its_body() {
        let denial = Denial::new(Code::MissingToken, "none").by("jwt-validation");
        let Some(Answer::Immediate(answer)) = deny(&denial).answer else { panic!() };
        assert_eq!((answer.status.unwrap().code, answer.body), (401, denial.body().into_bytes()));
        let names: Vec<_> =
            answer.headers.unwrap().set_headers.into_iter().map(|set| set.header.unwrap().key).collect();
        assert_eq!(names, ["content-type", "www-authenticate"]);
    }
}

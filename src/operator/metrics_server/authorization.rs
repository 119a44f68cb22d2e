//! Authorization of metrics readers by the API server: a `TokenReview` names the holder of a token, and a
//! `SubjectAccessReview` decides whether that user may `get` the path. No token is kept or logged.

use axum::http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

/// Maximum length of a token that is sent to the API server, in bytes.
const TOKEN_BYTES: usize = 16 * 1024;

/// Denial of a metrics reader.
#[derive(Debug)]
pub(super) enum Denied {
    /// No token, or a token that the API server does not know.
    Unknown,
    /// Known user without the right.
    Forbidden,
    /// Failed request to the API server.
    Unavailable(kube::Error),
}

/// Ok if the bearer of the token in `headers` may `get` `/metrics`.
pub(super) async fn authorize(client: Client, headers: &HeaderMap) -> Result<(), Denied> {
    let token = bearer(headers).ok_or(Denied::Unknown)?;
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: None },
        ..TokenReview::default()
    };
    let reviewed = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await;
    let status = reviewed.map_err(Denied::Unavailable)?.status.unwrap_or_default();
    if status.authenticated != Some(true) {
        return Err(Denied::Unknown);
    }
    let user = status.user.ok_or(Denied::Unknown)?;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            groups: user.groups,
            uid: user.uid,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some("/metrics".to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviewed = Api::<SubjectAccessReview>::all(client).create(&PostParams::default(), &review).await;
    let allowed = reviewed.map_err(Denied::Unavailable)?.status.is_some_and(|status| status.allowed);
    if allowed { Ok(()) } else { Err(Denied::Forbidden) }
}

/// Bearer token of the `Authorization` header (RFC 6750), of printable ASCII and bounded length.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let usable =
        !token.is_empty() && token.len() <= TOKEN_BYTES && token.bytes().all(|b| b.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && usable).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_a_bearer_token_is_one() {
        let token = |text: &str| {
            let headers =
                HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc.def").as_deref(), Some("abc.def"));
        assert_eq!(token("bearer abc").as_deref(), Some("abc"));
        for text in
            ["", "abc", "Bearer ", "Bearer a b", "Basic abc", &format!("Bearer {}", "a".repeat(20_000))]
        {
            assert_eq!(token(text), None, "{text:.40}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}

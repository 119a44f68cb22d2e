//! One HTTP request to the webhook, within its limits.

use super::PATH;
use super::limits::{BODIES_BYTES, BODY, BODY_BYTES, REQUEST};
use super::review::{Decide, answer};
use crate::metrics::Metrics;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use std::convert::Infallible;
use std::error::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Unit in which bytes of bodies are counted.
const UNIT: usize = 1024;

/// Reviewer of requests.
pub(super) struct Reviewer {
    decide: Decide,
    metrics: Metrics,
    bodies: Semaphore,
}

/// Request that is not answered by a review.
struct Refused {
    status: StatusCode,
    /// Word for metrics; `None` where nothing was to be admitted.
    result: Option<&'static str>,
    sentence: String,
}

impl Refused {
    fn new(status: StatusCode, result: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, result: Some(result), sentence: sentence.into() }
    }

    fn slow(what: &str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", format!("{what} took too long"))
    }

    fn too_large() -> Self {
        let sentence =
            format!("the body is larger than {BODY_BYTES} bytes, more than any object of Kubernetes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence)
    }
}

impl Reviewer {
    pub(super) fn new(decide: Decide, metrics: Metrics) -> Self {
        Self { decide, metrics, bodies: Semaphore::new(BODIES_BYTES / UNIT) }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn respond<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let reviewed = timeout(REQUEST, self.review(request)).await;
        let reviewed = reviewed.unwrap_or_else(|_| Err(Refused::slow("the request")));
        let (status, result, content_type, body) = match reviewed {
            Ok((result, body)) => (StatusCode::OK, Some(result), "application/json", body),
            Err(refused) => {
                let body = format!("{}\n", refused.sentence).into_bytes();
                (refused.status, refused.result, "text/plain; charset=utf-8", body)
            }
        };
        if let Some(result) = result {
            self.metrics.admitted(PATH.trim_start_matches('/'), result);
        }
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Ok(response)
    }

    async fn review<B>(&self, request: Request<B>) -> Result<(&'static str, Vec<u8>), Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let unasked =
            |status, sentence: &str| Refused { status, result: None, sentence: sentence.to_owned() };
        if request.uri().path() != PATH {
            return Err(unasked(StatusCode::NOT_FOUND, "nothing is served here"));
        }
        if request.method() != Method::POST {
            return Err(unasked(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview by POST"));
        }
        let body = self.receive(request.into_body()).await?;
        let answered = answer(&body, &self.decide);
        let answered =
            answered.map_err(|problem| Refused::new(StatusCode::BAD_REQUEST, "malformed", problem))?;
        Ok((answered.result, answered.body))
    }

    /// Receives a body, when there is room for it.
    async fn receive<B>(&self, body: B) -> Result<Bytes, Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let announced = body.size_hint();
        if usize::try_from(announced.lower()).map_or(true, |bytes| bytes > BODY_BYTES) {
            return Err(Refused::too_large());
        }
        let largest = announced.upper().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BODY_BYTES);
        let units = u32::try_from(largest.min(BODY_BYTES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        // A semaphore that is never closed.
        let _room = self.bodies.acquire_many(units).await;
        let collected = timeout(BODY, Limited::new(body, BODY_BYTES).collect()).await;
        match collected.map_err(|_| Refused::slow("the body"))? {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Refused::too_large()),
            Err(_) => Err(Refused::new(StatusCode::BAD_REQUEST, "malformed", "the body ended too early")),
        }
    }
}

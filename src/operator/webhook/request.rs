//! One HTTP request to the webhook, within its limits.

use super::PATH;
use super::limits::{BODIES_BYTES, BODY, BODY_BYTES, PROGRESS, REQUEST, UNIT};
use super::review::{Decide, answer};
use crate::metrics::Metrics;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use std::convert::Infallible;
use std::error::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

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

    /// Answers a request, whatever it is, for whose address there is this room for bodies.
    pub(super) async fn respond<B>(
        &self,
        request: Request<B>,
        room: &Semaphore,
    ) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let reviewed = timeout(REQUEST, self.review(request, room)).await;
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
        if status != StatusCode::OK {
            // An API server does not come here, and others need not stay.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Ok(response)
    }

    async fn review<B>(
        &self,
        request: Request<B>,
        room: &Semaphore,
    ) -> Result<(&'static str, Vec<u8>), Refused>
    where
        B: Body<Data = Bytes> + Unpin,
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
        let body = timeout(BODY, self.receive(request.into_body(), [room, &self.bodies])).await;
        let body = body.map_err(|_| Refused::slow("the body"))??;
        let answered = answer(&body, &self.decide);
        let answered =
            answered.map_err(|problem| Refused::new(StatusCode::BAD_REQUEST, "malformed", problem))?;
        Ok((answered.result, answered.body))
    }

    /// Receives a body as there is room for it: room is taken by bytes that came, and by none that were only announced.
    async fn receive<B>(&self, mut body: B, rooms: [&Semaphore; 2]) -> Result<Vec<u8>, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if usize::try_from(body.size_hint().lower()).map_or(true, |bytes| bytes > BODY_BYTES) {
            return Err(Refused::too_large());
        }
        let (mut received, mut taken) = (Vec::new(), Taken { rooms, units: 0, permits: Vec::new() });
        loop {
            let frame = timeout(PROGRESS, body.frame()).await.map_err(|_| Refused::slow("the body"))?;
            let Some(frame) = frame else { return Ok(received) };
            let frame = frame.map_err(|_| {
                Refused::new(StatusCode::BAD_REQUEST, "malformed", "the body ended too early")
            })?;
            // Trailers say nothing that is asked for.
            let Ok(data) = frame.into_data() else { continue };
            let length = received.len().saturating_add(data.len());
            if length > BODY_BYTES {
                return Err(Refused::too_large());
            }
            taken.grow(length).await;
            received.extend_from_slice(&data);
        }
    }
}

/// Room that a body has taken, of its address and of all.
struct Taken<'s> {
    rooms: [&'s Semaphore; 2],
    units: usize,
    permits: Vec<SemaphorePermit<'s>>,
}

impl Taken<'_> {
    async fn grow(&mut self, length: usize) {
        let units = length.div_ceil(UNIT);
        let more = u32::try_from(units.saturating_sub(self.units)).unwrap_or(u32::MAX);
        for room in self.rooms {
            // Semaphores that are never closed.
            self.permits.extend(room.acquire_many(more).await.ok());
        }
        self.units = units;
    }
}

//! The body of an answer, step by step.
//! A single step that does not wait has a length, so that it goes out with `Content-Length`.

use super::answer::Step;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// Steps that are left, and the wait that is under way.
pub(super) struct Steps {
    left: VecDeque<Step>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Steps {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        Self { left: steps.into(), waiting: None }
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            return Poll::Ready(match self.left.pop_front() {
                None => None,
                Some(Step::Wait(time)) => {
                    self.waiting = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
                Some(Step::Data(data)) => Some(Ok(Frame::data(data.into()))),
                Some(Step::Trailers(trailers)) => Some(headers(&trailers).map(Frame::trailers)),
                Some(Step::Break) => Some(Err(Error::new(ErrorKind::BrokenPipe, "as the test wanted"))),
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left.as_slices() {
            ([], []) if self.waiting.is_none() => SizeHint::with_exact(0),
            ([Step::Data(data)], []) if self.waiting.is_none() => {
                SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
            _ => SizeHint::default(),
        }
    }
}

/// Pairs of text as headers or trailers.
pub(crate) fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::other)?;
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(Error::other)?);
    }
    Ok(map)
}

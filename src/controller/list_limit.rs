//! Limit on the bytes of one page of a list. How large an object is, its author says; how many come at once, we do.
//! A page that is larger ends in an error, and the watch asks for smaller ones, down to a few objects.

use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, LengthLimitError, Limited};
use kube::client::Body as RequestBody;
use kube::runtime::watcher;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// Most bytes of a page of more than `SMALLEST_PAGE` objects. Three copies of them are in memory while they are parsed.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Page size that is never refused, in objects of at most 1.5 MiB (the limit of etcd): one tenant's large objects must not
/// have everybody's listed one by one.
pub(crate) const SMALLEST_PAGE: u32 = 4;

/// Service that limits the pages of lists; watches, other requests and the smallest pages pass as they are.
#[derive(Clone, Debug)]
pub struct LimitLists<S>(pub S);

impl<S, B> Service<Request<RequestBody>> for LimitLists<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: Body,
{
    type Response = Response<Either<Limited<B>, B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let is_limited = request.uri().query().is_some_and(is_large_page);
        let answer = self.0.call(request);
        Box::pin(async move {
            let limit = |body| {
                if is_limited { Either::Left(Limited::new(body, PAGE_BYTES)) } else { Either::Right(body) }
            };
            answer.await.map(|answer| answer.map(limit))
        })
    }
}

/// True for the query of a list that asks for more than `SMALLEST_PAGE` objects at a time.
fn is_large_page(query: &str) -> bool {
    let mut limit = None;
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("watch", "true" | "1")) => return false,
            Some(("limit", number)) => limit = Some(number),
            _ => {}
        }
    }
    limit.is_some_and(|number| number.parse().is_ok_and(|number: u32| number > SMALLEST_PAGE))
}

/// True if a watch failed because a page of its list was larger than is read.
pub(crate) fn is_too_large(error: &watcher::Error) -> bool {
    let watcher::Error::InitialListFailed(error) = error else { return false };
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_limited_and_nothing_else() {
        for (query, expected) in [
            ("limit=50", true),
            ("&labelSelector=a%3Db&limit=50&continue=x", true),
            ("limit=4", false),
            ("limit=5", true),
            ("limit=50&watch=true", false),
            ("watch=true&limit=50", false),
            ("labelSelector=limit%3D5", false),
            ("", false),
        ] {
            assert_eq!(is_large_page(query), expected, "{query}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_known_by_its_error() {
        use http_body_util::{BodyExt, Full};
        use std::collections::VecDeque;
        use tower_service::Service as _;

        struct Answers;
        impl Service<Request<RequestBody>> for Answers {
            type Response = Response<Full<VecDeque<u8>>>;
            type Error = kube::Error;
            type Future = std::future::Ready<Result<Self::Response, kube::Error>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
                Poll::Ready(Ok(()))
            }
            fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
                std::future::ready(Ok(Response::new(Full::new(VecDeque::from(vec![b' '; PAGE_BYTES + 1])))))
            }
        }
        for (query, is_cut) in [("limit=5", true), ("limit=4", false)] {
            let request = Request::get(format!("/api/v1/pods?{query}")).body(RequestBody::empty()).unwrap();
            let read = LimitLists(Answers).call(request).await.unwrap().into_body().collect().await;
            assert_eq!(read.is_err(), is_cut, "{query}");
            if let Err(error) = read {
                assert!(is_too_large(&watcher::Error::InitialListFailed(kube::Error::Service(error))));
            }
        }
        assert!(!is_too_large(&watcher::Error::NoResourceVersion));
    }
}

//! The body of an answer on its way through the proxy: passed on, cut short, or broken when told to.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// A body whose errors close the connection.
pub(super) type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is known whole.
pub(super) fn whole(text: String) -> Answer {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// What comes from the API server, at most `left` bytes of it, until `cut` changes.
pub(super) fn pass(from: Incoming, left: Option<usize>, cut: Option<watch::Receiver<u64>>) -> Answer {
    let broken = cut.map(|mut cut| -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // A sender that is gone belongs to a proxy that ends: the watch breaks as well.
        Box::pin(async move { drop(cut.changed().await) })
    });
    Passing { from, left, broken }.boxed_unsync()
}

struct Passing {
    from: Incoming,
    left: Option<usize>,
    broken: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Passing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let broken = this.broken.as_mut().is_some_and(|broken| broken.as_mut().poll(context).is_ready());
        if broken || this.left == Some(0) {
            this.broken = None;
            this.left = Some(0);
            return Poll::Ready(Some(Err(io::Error::other("broken by the rig"))));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.from).poll_frame(context) else { return Poll::Pending };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(io::Error::other)?;
            match (frame.into_data(), this.left.as_mut()) {
                (Ok(mut data), Some(left)) => {
                    data.truncate(*left);
                    *left -= data.len();
                    Ok(Frame::data(data))
                }
                (Ok(data), None) => Ok(Frame::data(data)),
                (Err(trailers), _) => Ok(trailers),
            }
        }))
    }
}

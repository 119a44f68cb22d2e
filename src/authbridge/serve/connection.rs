//! One HTTP connection. Between requests it holds no buffers: hyper takes it when bytes arrive, and gives it back once
//! everything is answered and nothing is half read. Thousands of idle connections then cost little memory.

use super::accept::Arrival;
use super::crowd::{Head, HeadCost, Place};
use super::http2_rest::{Gate, Gated};
use super::overload::overloaded_response;
use super::prefix::{Begins, Prefixed};
use super::stream::Stream;
use super::tunnel::{Tunnel, TunnelTimes, falls, join};
use crate::body::ProxyBody;
use crate::calls::Call;
use crate::identity::VerifiedPeer;
use crate::limits::HTTP2_WINDOW;
use crate::pending::{Pending, Ticket, millis};
use countersign_io::clock::now;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};

/// Largest header block of a request, in bytes.
const HEADER_BYTES: usize = 64 * 1024;
/// Largest header block of HTTP/2, in bytes.
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Most concurrent streams of an HTTP/2 connection; RFC 9113 §6.5.2 recommends at least 100.
const STREAMS: u32 = 128;
/// Most bytes of an answer that a stream holds for a peer that does not take them.
const SEND_BYTES: usize = 64 * 1024;

/// Idle time after which a connection gives up its buffers.
const REST: Duration = Duration::from_millis(25);

/// Shortest time between two looks, where a clock of milliseconds and a timer differ.
const SHORTEST: Duration = Duration::from_millis(1);

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Longest time for the header of a request to arrive, and for a handshake.
    pub(crate) header: Duration,
    /// Longest time between two requests.
    pub(crate) idle: Duration,
    /// Those of a tunnel.
    pub(crate) tunnel: TunnelTimes,
}

/// Connection that requests arrive on: who is at the other end, and what it still has to do.
pub(crate) struct Connection {
    /// Peer that proved a SPIFFE ID by mTLS; `None` on a plain connection.
    pub(crate) peer: Option<Arc<VerifiedPeer>>,
    /// Address of the other end.
    pub(crate) address: SocketAddr,
    /// Destination of a redirected connection before the redirection, as the kernel recorded it.
    pub(crate) destination: Option<SocketAddr>,
    /// Port of the agent to which a redirected connection goes; `None` where the configuration names the agent.
    pub(crate) agent: Option<Authority>,
    /// Epoch in which the connection was last authorized.
    admitted: AtomicU64,
    pending: Arc<Pending>,
    place: Arc<Place>,
    /// True once a request came since hyper has the connection.
    has_served: AtomicBool,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Connection {
    /// A connection to the agent from `peer`, which was admitted at `epoch`.
    pub(crate) fn to_agent(
        arrival: Arrival,
        agent: Option<Authority>,
        peer: Option<Arc<VerifiedPeer>>,
        epoch: u64,
    ) -> Self {
        Self { peer, agent, ..Self::new(arrival, epoch) }
    }

    /// A connection of the agent. It needs no authorization, because only the pod reaches its listener.
    pub(crate) fn of_agent(arrival: Arrival, destination: Option<SocketAddr>) -> Self {
        Self { destination, ..Self::new(arrival, 0) }
    }

    fn new(Arrival { address, place }: Arrival, epoch: u64) -> Self {
        Self {
            peer: None,
            address,
            destination: None,
            agent: None,
            admitted: AtomicU64::new(epoch),
            pending: Arc::clone(&place.pending),
            place,
            has_served: AtomicBool::new(false),
            tunnel: Mutex::default(),
        }
    }

    /// True if the connection was authorized in `epoch`.
    pub(crate) fn was_admitted_at(&self, epoch: u64) -> bool {
        self.admitted.load(Ordering::Relaxed) == epoch
    }

    /// Records that the connection was authorized in `epoch`.
    pub(crate) fn admit_at(&self, epoch: u64) {
        self.admitted.store(epoch, Ordering::Relaxed);
    }

    /// Keeps the connection with hyper until the ticket is dropped.
    pub(crate) fn ticket(&self) -> Ticket {
        self.pending.ticket()
    }

    /// A request that is passed on; `None` if too many of its peer or of all are.
    pub(crate) fn call(&self) -> Option<Arc<Call>> {
        self.place.call().map(Arc::new)
    }

    /// Joins the connection to another one once the answer is written.
    pub(crate) fn join(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    /// Joins `stream` to the other end of the tunnel at once, until it may no longer stay in one of the `epochs`.
    pub(crate) async fn run_tunnel<T: Stream>(
        &self,
        stream: &mut T,
        times: TunnelTimes,
        epochs: watch::Receiver<u64>,
    ) {
        let Some(tunnel) = self.take_tunnel() else { return };
        let _ticket = self.ticket();
        let Some(mut other) = tunnel.other.await else { return };
        tokio::select! {
            () = join(stream, &mut other.stream, tunnel.until, times) => {}
            () = falls(other.stands.as_deref(), epochs) => {}
        }
    }

    fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Service of one listener: answers requests, and decides how long their connection may stay open.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request; a refusal is an answer too.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<ProxyBody>> + Send;

    /// Receiver that is notified whenever open connections have to be authorized again.
    fn epochs(&self) -> watch::Receiver<u64>;

    /// True if the connection must end once its requests in flight are answered.
    fn is_over(&self, connection: &Connection) -> bool;

    /// True if a tunnel over the connection must be cut because of whoever is at this end.
    fn is_cut(&self, connection: &Connection) -> bool;
}

/// Waits until a connection must end: an epoch in which it is no longer authorized, or the expiry of its peer's
/// certificate chain.
async fn over<H: Handler>(handler: &H, connection: &Connection) {
    let mut epochs = handler.epochs();
    // Boxed: a timer is large, and plain connections have none.
    let mut expiry = connection.peer.as_ref().map(|peer| {
        let left = u64::try_from(peer.valid_until.since(now())).unwrap_or(0);
        Box::pin(sleep(Duration::from_secs(left.saturating_add(1))))
    });
    while !handler.is_over(connection) {
        let ended = match &mut expiry {
            None => epochs.changed().await.is_err(),
            Some(expiry) => tokio::select! {
                told = epochs.changed() => told.is_err(),
                () = expiry => true,
            },
        };
        if ended {
            return;
        }
    }
}

/// As [`over`], and also when the connection has not been used for its idle time.
async fn over_or_unused<H: Handler>(handler: &H, connection: &Connection, times: Times) {
    let unused = async {
        while !connection.pending.is_unused_for(times.idle) {
            sleep(times.idle.mul_f64(0.5)).await;
        }
    };
    tokio::select! {
        () = over(handler, connection) => {}
        () = unused => {}
    }
}

/// Serves a connection to its end.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice, and connections idle here"
)]
pub(crate) fn serve_http<T, H>(
    mut stream: Prefixed<T>,
    connection: Arc<Connection>,
    handler: Arc<H>,
    times: Times,
) -> impl Future<Output = ()> + Send
where
    T: Stream + 'static,
    H: Handler,
{
    async move {
        loop {
            let begins = tokio::select! {
                // Bytes that have arrived are read first and their request is answered, if only with a refusal. Only a
                // silent connection is closed without a response.
                biased;
                begins = timeout(times.idle, stream.begins()) => begins,
                () = over(&*handler, &connection) => break,
            };
            match begins {
                // Boxed, so that the task of an idle connection does not reserve the state of a busy one.
                Ok(Ok(Begins::Http2)) => {
                    return Box::pin(serve_http2(stream, connection, handler, times)).await;
                }
                Ok(Ok(Begins::Http1)) => {}
                _ => break,
            }
            match Box::pin(serve_http1(stream, &connection, &handler, times)).await {
                Some(again) => stream = again,
                None => return,
            }
        }
        let _ = timeout(times.header, stream.shutdown()).await;
    }
}

/// The time `wait` after `since`, in milliseconds of [`millis`].
fn after(since: u64, wait: Duration) -> u64 {
    since.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// Serves requests until the connection is idle, and returns its stream then; `None` once it is closed.
async fn serve_http1<T, H>(
    mut stream: Prefixed<T>,
    connection: &Arc<Connection>,
    handler: &Arc<H>,
    times: Times,
) -> Option<Prefixed<T>>
where
    T: Stream + 'static,
    H: Handler,
{
    connection.has_served.store(false, Ordering::Relaxed);
    let Some(_head) = connection.place.read(HeadCost::One, times.header).await else {
        let _ = timeout(times.header, stream.write_all(&overloaded_response())).await;
        return None;
    };
    let writing = stream.writing();
    let service = service_fn(|request: Request<Incoming>| {
        connection.has_served.store(true, Ordering::Relaxed);
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let answer = Arc::clone(handler).handle(request, Arc::clone(connection));
        Box::pin(async move {
            let mut answer = answer.await;
            if chunked {
                // hyper silently removes a Content-Length beside Transfer-Encoding. A proxy in front may have framed the
                // request by it, so nothing after this request is read: the rest could be smuggled (RFC 9112 §6.1).
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        })
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.header)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Boxed, so that the buffers of hyper are freed with it when the connection becomes idle.
    let mut http = Box::new(http);
    let mut retired = Box::pin(over(&**handler, connection));
    // Armed only while there is something to give up: thousands of waiting calls must not wake up for nothing.
    let mut alarm: Option<(u64, Pin<Box<Sleep>>)> = None;
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        connection.pending.wake_nobody();
        if !stopping && retired.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut *http).graceful_shutdown();
        }
        if let Poll::Ready(ended) = http.poll_without_shutdown(cx) {
            return Poll::Ready(Some(ended));
        }
        if stopping {
            return Poll::Pending;
        }
        loop {
            let since = writing.load(Ordering::Relaxed);
            let is_idle = connection.pending.is_idle();
            let due = match since {
                0 if is_idle && connection.has_served.load(Ordering::Relaxed) => {
                    after(connection.pending.idle_since(), REST)
                }
                0 => {
                    if !is_idle {
                        connection.pending.wake_when_idle(cx);
                    }
                    return Poll::Pending;
                }
                since => after(since, times.idle),
            };
            let left = Duration::from_millis(due.saturating_sub(millis()));
            if left.is_zero() && since > 0 {
                // The other end takes nothing of its answer, and no change of protocol either.
                drop(connection.take_tunnel());
                return Poll::Ready(Some(Ok(())));
            }
            if left.is_zero() {
                // hyper was polled just now and nothing is left to read, answer or write, so it waits for the next request
                // and holds no bytes but those in its read buffer.
                return Poll::Ready(None);
            }
            let (armed, rest) = alarm.get_or_insert_with(|| (due, Box::pin(sleep(left))));
            if *armed != due {
                *armed = due;
                rest.set(sleep(left));
            }
            if rest.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            rest.set(sleep(SHORTEST));
        }
    })
    .await;
    drop(retired);
    let parts = http.into_parts();
    let stream = parts.io.into_inner();
    let mut stream = if parts.read_buf.is_empty() { stream } else { stream.push_back(&parts.read_buf) };
    match (ended, connection.take_tunnel()) {
        (None, _) => return Some(stream),
        (Some(Ok(())), Some(tunnel)) => {
            let _ticket = connection.ticket();
            run(stream, tunnel, times, (&**handler, connection)).await;
        }
        (Some(ended), _) => {
            if let Err(error) = ended {
                tracing::debug!(peer = %connection.address, "a connection ended: {error}");
            }
            let _ = timeout(times.header, stream.shutdown()).await;
        }
    }
    None
}

async fn serve_http2<T, H>(stream: Prefixed<T>, connection: Arc<Connection>, handler: Arc<H>, times: Times)
where
    T: Stream + 'static,
    H: Handler,
{
    let service = service_fn(|request| {
        // Taken at once, before the task of the request runs: the connection must not rest in between.
        let ticket = connection.ticket();
        let answer = Arc::clone(&handler).handle(request, Arc::clone(&connection));
        async move {
            let answer = answer.await;
            drop(ticket);
            Ok::<_, Infallible>(answer)
        }
    });
    let bounds = Http2Bounds { streams: STREAMS, header_bytes: HEADER_LIST_BYTES };
    let Some(head) = connection.place.read(HeadCost::Http2, times.header).await else { return };
    let gate = Arc::new(Gate::default());
    let stream = Gated::new(stream, Arc::clone(&gate));
    let over = over_or_unused(&*handler, &connection, times);
    tokio::select! {
        () = drive_http2(stream, service, bounds, times, connection.address, over) => {}
        () = outstayed(&*handler, &connection, times) => {}
        () = rest_between(&gate, &connection, head, times) => {}
    }
}

/// Gives back between requests what the connection is read with, as one of HTTP/1.1 does. Ends once there is no room to read
/// on.
async fn rest_between(gate: &Gate, connection: &Connection, mut head: Head<'_>, times: Times) {
    let mut request = head.split_off(HeadCost::Http2Request);
    loop {
        gate.rests(&connection.pending, REST).await;
        drop(request);
        gate.comes().await;
        let again = connection.place.read(HeadCost::Http2Request, times.header).await;
        let Some(again) = again else { return };
        request = again;
        gate.open();
    }
}

/// Waits until a connection must end, and then until it is unused or idle in two looks one header timeout apart. Otherwise a peer
/// that never acknowledges the first GOAWAY (RFC 9113 §6.8) would keep the connection open.
async fn outstayed<H: Handler>(handler: &H, connection: &Connection, times: Times) {
    over_or_unused(handler, connection, times).await;
    let mut was_idle = false;
    loop {
        sleep(times.header).await;
        let is_idle = connection.pending.is_idle() || connection.pending.is_unused_for(times.idle);
        if is_idle && was_idle {
            return;
        }
        was_idle = is_idle;
    }
}

/// Limits of one HTTP/2 connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http2Bounds {
    /// Most concurrent streams.
    pub(crate) streams: u32,
    /// Largest header block, in bytes.
    pub(crate) header_bytes: u32,
}

/// Serves an HTTP/2 connection to its end; once `over` is ready, it is shut down gracefully.
pub(crate) async fn drive_http2<T, S, B>(
    stream: T,
    service: S,
    bounds: Http2Bounds,
    times: Times,
    address: SocketAddr,
    over: impl Future<Output = ()>,
) where
    T: Stream + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: HttpBody<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let http = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(times.idle)
        .keep_alive_timeout(times.header)
        .max_header_list_size(bounds.header_bytes)
        .max_concurrent_streams(bounds.streams)
        .initial_connection_window_size(HTTP2_WINDOW)
        .initial_stream_window_size(HTTP2_WINDOW)
        .max_send_buf_size(SEND_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut http = pin!(http);
    let ended = tokio::select! {
        ended = &mut http => ended,
        () = over => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, "a connection ended: {error}");
    }
}

/// Waits until a tunnel must be cut.
async fn cut<H: Handler>(handler: &H, connection: &Connection) {
    let mut epochs = handler.epochs();
    while !handler.is_cut(connection) && epochs.changed().await.is_ok() {}
}

async fn run<T: Stream, H: Handler>(
    mut stream: Prefixed<T>,
    tunnel: Tunnel,
    times: Times,
    (handler, connection): (&H, &Connection),
) {
    let Ok(Some(mut other)) = timeout(times.header, tunnel.other).await else { return };
    tokio::select! {
        () = join(&mut stream, &mut other.stream, tunnel.until, times.tunnel) => {}
        () = cut(handler, connection) => {}
        () = falls(other.stands.as_deref(), handler.epochs()) => {}
    }
}

#[cfg(test)]
mod tests;

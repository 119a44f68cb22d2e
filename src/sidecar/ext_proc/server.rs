//! gRPC over HTTP/2 without TLS: connections of the Envoy on this machine, and the two methods that it may call.

use super::health::Check;
use super::judge::Processor;
use super::stream::Process;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// The service that Envoy calls.
pub(super) const SERVICE: &str = "envoy.service.ext_proc.v3.ExternalProcessor";
const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Largest message: the headers of a request, of which Envoy takes at most 8 MiB, and 60 KiB if nothing is configured.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Most conversations at a time on one connection, which are as many requests; Envoy opens another one then.
const STREAMS: u32 = 1024;
/// Largest header block of a call.
const HEADER_LIST_BYTES: u32 = 16 * 1024;

/// Serves a connection to its end.
pub(crate) async fn serve(processor: Arc<Processor>, stream: TcpStream, address: SocketAddr) {
    let times = processor.planes.current().times();
    let service = service_fn(|request| {
        let answer = call(Arc::clone(&processor), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(times.idle)
        .keep_alive_timeout(times.header)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = processor.stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %address, "a connection of Envoy ended: {error}");
    }
}

async fn call(processor: Arc<Processor>, request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        PROCESS => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES);
            grpc.streaming(Process(processor), request).await
        }
        CHECK => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES);
            grpc.unary(Check(processor), request).await
        }
        _ => Status::new(Code::Unimplemented, "there is no such method").into_http(),
    }
}

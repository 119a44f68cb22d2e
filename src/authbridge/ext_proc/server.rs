//! gRPC server for the Envoy in the same pod: HTTP/2 without TLS on loopback, with the two methods that Envoy calls.

use super::health::HealthCheck;
use super::processor::Processor;
use super::stream::Process;
use crate::serve::{Arrival, Http2Bounds, drive_http2};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Largest message, in bytes: the headers of a request, which Envoy limits to 60 KiB by default and 8 MiB at most.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Most concurrent streams of one connection. Each is one request; for more, Envoy opens another connection.
const STREAMS: u32 = 1024;
/// Largest header block of a gRPC call, in bytes.
const HEADER_LIST_BYTES: u32 = 16 * 1024;

/// Serves a connection to its end.
pub(crate) async fn serve(processor: Arc<Processor>, stream: TcpStream, arrival: Arrival) {
    // Envoy alone is here, and its calls are under way for as long as the requests that it asks about.
    let _ticket = arrival.place.pending.ticket();
    let times = processor.active.current().times();
    let service = service_fn(|request| {
        let answer = call(Arc::clone(&processor), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let bounds = Http2Bounds { streams: STREAMS, header_bytes: HEADER_LIST_BYTES };
    drive_http2(stream, service, bounds, times, arrival.address, processor.stop.requested()).await;
}

async fn call(processor: Arc<Processor>, request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        PROCESS => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES);
            grpc.streaming(Process(processor), request).await
        }
        CHECK => {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES);
            grpc.unary(HealthCheck(processor), request).await
        }
        _ => Status::new(Code::Unimplemented, "there is no such method").into_http(),
    }
}

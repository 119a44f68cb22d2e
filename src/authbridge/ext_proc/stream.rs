//! One gRPC stream of Envoy, for one request: each message gets one answer, in order.
//! Envoy lets a request pass whose stream is closed without an error, so anything unexpected ends the stream with one.

use super::attributes::Attributes;
use super::messages::{Answer, Empty, ProcessingRequest, ProcessingResponse, Told};
use super::processor::Processor;
use futures::Stream;
use futures::stream::unfold;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use tonic::server::StreamingService;
use tonic::{Request, Response, Status, Streaming};

/// Method `envoy.service.ext_proc.v3.ExternalProcessor/Process`.
pub(super) struct Process(pub(super) Arc<Processor>);

impl StreamingService<ProcessingRequest> for Process {
    type Response = ProcessingResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<ProcessingRequest>>) -> Self::Future {
        let talk = Talk {
            processor: Arc::clone(&self.0),
            messages: request.into_inner(),
            evaluated: false,
            over: false,
        };
        ready(Ok(Response::new(Box::pin(unfold(talk, Talk::next)))))
    }
}

/// State of one stream.
struct Talk {
    processor: Arc<Processor>,
    messages: Streaming<ProcessingRequest>,
    /// True once the head of the request was evaluated.
    evaluated: bool,
    /// True after an error, which is the last answer.
    over: bool,
}

impl Talk {
    async fn next(mut self) -> Option<(Result<ProcessingResponse, Status>, Self)> {
        if self.over {
            return None;
        }
        let answer = match self.messages.message().await {
            Ok(Some(message)) => self.answer(&message).await,
            Ok(None) if self.evaluated => return None,
            Ok(None) => Err(Status::failed_precondition("no request was told")),
            Err(status) => Err(status),
        };
        if let Err(status) = &answer {
            self.over = true;
            // Envoy cancels the stream when its caller disconnects, which is no fault to log.
            if status.code() != tonic::Code::Cancelled {
                self.processor.quiet.log("a conversation with Envoy was broken off", status.message());
            }
        }
        Some((answer, self))
    }

    async fn answer(&mut self, message: &ProcessingRequest) -> Result<ProcessingResponse, Status> {
        if message.observability_mode {
            let why = "observability_mode is on: Envoy passes every request on without waiting for an answer";
            return Err(Status::failed_precondition(why));
        }
        let empty = match &message.told {
            Some(Told::RequestHeaders(head)) if !self.evaluated => {
                self.evaluated = true;
                return Ok(self.processor.evaluate(head, Attributes::of(message)).await);
            }
            Some(Told::RequestHeaders(_)) => {
                return Err(Status::failed_precondition("the head of the request was told twice"));
            }
            None => return Err(Status::unimplemented("Envoy tells something that is not known here")),
            Some(_) if !self.evaluated => {
                let why = "the head of the request was not told first: request_header_mode must be SEND";
                return Err(Status::failed_precondition(why));
            }
            Some(Told::ResponseHeaders(_)) => Answer::ResponseHeaders(Empty {}),
            Some(Told::RequestBody(_)) => Answer::RequestBody(Empty {}),
            Some(Told::ResponseBody(_)) => Answer::ResponseBody(Empty {}),
            Some(Told::RequestTrailers(_)) => Answer::RequestTrailers(Empty {}),
            Some(Told::ResponseTrailers(_)) => Answer::ResponseTrailers(Empty {}),
        };
        Ok(ProcessingResponse { answer: Some(empty) })
    }
}

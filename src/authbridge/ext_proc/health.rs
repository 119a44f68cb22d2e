//! Health service of gRPC (`grpc/health/v1/health.proto`), by which Envoy decides whether to send requests here.
//! It answers as `/readyz` does.

use super::messages::{HealthRequest, HealthResponse};
use super::processor::Processor;
use std::future::{Ready, ready};
use std::sync::Arc;
use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

/// Service that Envoy calls.
pub(super) const SERVICE: &str = "envoy.service.ext_proc.v3.ExternalProcessor";

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// Method `grpc.health.v1.Health/Check`.
pub(super) struct HealthCheck(pub(super) Arc<Processor>);

impl UnaryService<HealthRequest> for HealthCheck {
    type Response = HealthResponse;
    type Future = Ready<Result<Response<HealthResponse>, Status>>;

    fn call(&mut self, request: Request<HealthRequest>) -> Self::Future {
        let service = &request.get_ref().service;
        if !service.is_empty() && service != SERVICE {
            return ready(Err(Status::not_found("there is no such service")));
        }
        let healthy = self.0.active.current().problems().is_empty();
        let status = if healthy { SERVING } else { NOT_SERVING };
        ready(Ok(Response::new(HealthResponse { status })))
    }
}

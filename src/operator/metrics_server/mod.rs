//! Metrics server: TLS and authorization by the API server, or plain HTTP if configured.

mod authorization;

use super::flags::ServingCertificate;
use super::metrics::Metrics;
use super::tls::{self, Current};
use authorization::{Denied, authorize};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use countersign_controller::api_error::Explained;
use countersign_io::shutdown::Shutdown;
use kube::Client;
use std::io;
use tokio::net::TcpListener;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Served {
    metrics: Metrics,
    /// Client for authorization; `None` answers every caller.
    authority: Option<Client>,
}

/// Serves `metrics` until `shutdown`. With a certificate, the API server behind `client` authorizes each caller.
pub(super) async fn serve(
    listener: TcpListener,
    certificate: Option<ServingCertificate>,
    metrics: Metrics,
    client: Client,
    shutdown: Shutdown,
) -> io::Result<()> {
    let secure = certificate.is_some();
    tracing::info!(address = %listener.local_addr()?, secure, "Serving metrics server");
    let served = Served { metrics, authority: secure.then_some(client) };
    let router = Router::new().route("/metrics", get(answer)).with_state(served);
    match certificate {
        None => axum::serve(listener, router).with_graceful_shutdown(shutdown.into_requested()).await,
        Some(certificate) => {
            let current = Current::new(tls::load(&certificate)?);
            let listener = tls::listen(listener, current.acceptor()?, shutdown.clone())?;
            let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.into_requested());
            if certificate == ServingCertificate::SelfSigned {
                return served.await;
            }
            tokio::select! {
                ended = served.into_future() => ended,
                () = tls::reload("metrics", certificate, current) => Ok(()),
            }
        }
    }
}

async fn answer(State(served): State<Served>, headers: HeaderMap) -> Response {
    if let Some(client) = served.authority
        && let Err(denied) = authorize(client, &headers).await
    {
        let status = match denied {
            Denied::Unknown => StatusCode::UNAUTHORIZED,
            Denied::Forbidden => StatusCode::FORBIDDEN,
            Denied::Unavailable(error) => {
                tracing::warn!("cannot check who asks for metrics: {}", Explained(&error));
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        return status.into_response();
    }
    ([(header::CONTENT_TYPE, OPEN_METRICS)], served.metrics.text()).into_response()
}

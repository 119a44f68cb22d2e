//! Statistics server: counters, metrics, the configuration without its secrets, and the outcome of the last reload.

use super::About;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::encoding::text::encode;
use serde_json::Value;
use std::sync::Arc;

const INDEX: &str = "/stats\n/config\n/metrics\n/reload/status\n";

/// Routes of the statistics server.
pub(super) fn router(about: Arc<About>) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(async || "ok\n"))
        .route("/stats", get(async |State(about): State<Arc<About>>| Json(about.stats.json())))
        .route("/config", get(config))
        .route("/metrics", get(metrics))
        .route("/reload/status", get(async |State(about): State<Arc<About>>| Json(about.reloads.json())))
        .with_state(about)
}

async fn config(State(about): State<Arc<About>>) -> Json<Value> {
    // `Secret` serializes as redacted, so no field has to be left out here.
    Json(serde_json::to_value(&about.active.current().config).unwrap_or_default())
}

async fn metrics(State(about): State<Arc<About>>) -> Response {
    let mut text = String::new();
    if encode(&mut text, &about.stats.registry()).is_err() {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

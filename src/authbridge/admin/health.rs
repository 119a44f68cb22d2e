//! `/healthz` answers while the process runs; `/readyz` says whether requests can be authorized, or why they cannot, and
//! which files on disk are not in force.

use super::About;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Notice of a configuration on disk that is not in force.
const REFUSED: &str =
    "the file was refused and the one before it counts; the log and `last_error` of /reload/status say why";

/// Routes of the health server; it needs no token, because the kubelet has none.
pub(super) fn router(about: Arc<About>) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(about)
}

async fn ready(State(about): State<Arc<About>>) -> Response {
    let runtime = about.active.current();
    let mut problems: Map<String, Value> =
        runtime.problems().into_iter().map(|(name, why)| (name.to_owned(), why.into())).collect();
    if about.stop.is_requested() {
        problems.insert("process".to_owned(), "it is ending".into());
    }
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // A file that is not in force stops no request: one bad ConfigMap must not take a fleet out of its Services.
    // The port needs no token, and the problem may quote values of the file, so only where it stands is said here.
    let refused = about.reloads.problem().map(|_| ("configuration", REFUSED.to_owned()));
    let notices = refused.into_iter();
    let notices: Map<String, Value> =
        notices.chain(runtime.notices()).map(|(name, why)| (name.to_owned(), why.into())).collect();
    let body = json!({ "ready": problems.is_empty(), "problems": problems, "notices": notices });
    (status, axum::Json(body)).into_response()
}

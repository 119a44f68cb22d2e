//! Session API: recent and live events, and the plugins of the pipelines.

use super::About;
use crate::config::{OnError, Plugin};
use crate::events::{SessionStore, Subscription};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::Stream;
use futures::stream::unfold;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Time between two comments on a quiet event stream, so that proxies do not close it as idle.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Routes of the session server.
pub(super) fn router(about: Arc<About>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/v1/sessions", get(list))
        .route("/v1/sessions/{id}", get(one))
        .route("/v1/events", get(events))
        .route("/v1/pipeline", get(pipeline))
        .route("/v1/plugins", get(plugins))
        .with_state(about)
}

/// Error response without a document.
type Absent = (StatusCode, &'static str);

fn store(about: &About) -> Result<SessionStore, Absent> {
    let off = (StatusCode::NOT_FOUND, "sessions are not kept: session.enabled is false\n");
    about.active.current().sessions.clone().ok_or(off)
}

async fn list(State(about): State<Arc<About>>) -> Result<Json<Value>, Absent> {
    Ok(Json(store(&about)?.list()))
}

async fn one(State(about): State<Arc<About>>, Path(id): Path<String>) -> Result<Json<Value>, Absent> {
    let found = store(&about)?.get(&id);
    found.map(Json).ok_or((StatusCode::NOT_FOUND, "there is no such session\n"))
}

#[derive(Deserialize)]
struct Filter {
    session: Option<String>,
}

async fn events(State(about): State<Arc<About>>, Query(filter): Query<Filter>) -> Result<Response, Absent> {
    let stream = live(store(&about)?.subscribe(), filter.session);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// Stream of events as they are stored, all or of one session.
fn live(events: Subscription, session: Option<String>) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    unfold((events, session, 0_u64), async |(mut events, session, number)| {
        loop {
            let (id, event) = events.next().await?;
            if session.as_ref().is_none_or(|wanted| **wanted == *id) {
                let number = number.saturating_add(1);
                let data = event.json(&id).to_string();
                let event = sse::Event::default().event("session-event").id(number.to_string()).data(data);
                return Some((Ok(event), (events, session, number)));
            }
        }
    })
}

async fn pipeline(State(about): State<Arc<About>>) -> Json<Value> {
    let runtime = about.active.current();
    let shown = |plugins: &[Plugin]| -> Value {
        plugins
            .iter()
            .filter(|plugin| plugin.on_error != OnError::Off)
            .map(|plugin| json!({ "name": plugin.settings.name(), "id": plugin.id, "on_error": plugin.on_error }))
            .collect()
    };
    let pipeline = &runtime.config.pipeline;
    Json(
        json!({ "inbound": shown(&pipeline.inbound.plugins), "outbound": shown(&pipeline.outbound.plugins) }),
    )
}

async fn plugins() -> Json<Value> {
    Json(json!({ "plugins": crate::config::plugin_catalogue() }))
}

//! Bearer token for the statistics and session servers, required where they listen beyond loopback: at each request, and for
//! as long as its answer goes on.

use crate::quiet::Quiet;
use crate::runtime_config::ActiveConfig;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use countersign_core::encoding::{Digest, sha256};
use countersign_core::text::Quoted;
use countersign_io::files::read_text;
use futures::StreamExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Largest token file, in bytes.
const BYTES: usize = 4096;
/// Longest time for which a stream goes on after its token was replaced.
const LOOK: Duration = Duration::from_secs(1);

/// Guard by the token file of the configuration in force, which is read at each request, so that the token can rotate.
#[derive(Clone)]
pub(super) struct Guard {
    active: ActiveConfig,
    quiet: Arc<Quiet>,
}

impl Guard {
    /// A guard that admits everybody where no token file is configured, which only servers on loopback can do, and nobody
    /// where it is not readable, which is logged at once and again while requests come.
    pub(super) fn new(active: ActiveConfig) -> Self {
        let guard = Self { active, quiet: Arc::new(Quiet::new("admin")) };
        if let Some(path) = guard.active.current().config.admin.token_file.as_deref() {
            drop(guard.token(path));
        }
        guard
    }

    /// Answers 401 before any route of `router` to a request without the token, and ends an answer that goes on when its token
    /// is no longer the one.
    pub(super) fn protect(self, router: Router) -> Router {
        router.layer(from_fn(move |request: Request, next: Next| {
            let guard = self.clone();
            async move {
                let shown = shown(&request);
                if !guard.admits(shown) {
                    return refusal();
                }
                let answer = next.run(request).await;
                if answer.body().size_hint().exact().is_some() {
                    return answer;
                }
                let until = Box::pin(async move { guard.refuses(shown).await });
                answer.map(|body| Body::from_stream(body.into_data_stream().take_until(until)))
            }
        }))
    }

    fn admits(&self, shown: Digest) -> bool {
        let runtime = self.active.current();
        let Some(path) = runtime.config.admin.token_file.as_deref() else { return true };
        // Digests are compared, because the time of a comparison of texts reveals how long a prefix is right.
        self.token(path).is_some_and(|wanted| shown == sha256(wanted.as_bytes()))
    }

    /// Waits until what was shown admits no longer: by another token in the file, or another file of a reload.
    async fn refuses(&self, shown: Digest) {
        let mut epochs = self.active.epochs();
        while self.admits(shown) {
            if timeout(LOOK, epochs.changed()).await.is_ok_and(|told| told.is_err()) {
                return;
            }
        }
    }

    /// Token in the file; `None`, with a line in the log, if there is none.
    fn token(&self, path: &str) -> Option<String> {
        let problem = match read_text(Path::new(path), BYTES) {
            Ok(text) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
            Ok(_) => format!("{} holds no token", Quoted(path)),
            Err(error) => error.to_string(),
        };
        self.quiet.log(
            "TokenFileUnreadable",
            &format!(
                "admin.token_file: {problem}; statistics and sessions answer every request with 401 until the file holds \
                 the token"
            ),
        );
        None
    }
}

/// Digest of the bearer token of a request; that of an empty one, which no file holds, if it has none.
fn shown(request: &Request) -> Digest {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    sha256(shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().as_bytes())
}

fn refusal() -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "a token is needed\n").into_response()
}

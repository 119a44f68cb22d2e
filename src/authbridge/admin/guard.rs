//! Bearer token for the statistics and session servers, required where they listen beyond loopback.

use crate::runtime_config::ActiveConfig;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use countersign_core::encoding::sha256;
use countersign_io::files::read_text;
use std::path::Path;

/// Largest token file, in bytes.
const BYTES: usize = 4096;

/// Guard by the token file of the configuration in force, which is read at each request, so that the token can rotate.
#[derive(Clone)]
pub(super) struct Guard(ActiveConfig);

impl Guard {
    /// A guard that admits everybody where no token file is configured, which only servers on loopback can do, and nobody
    /// where it is not readable.
    pub(super) const fn new(active: ActiveConfig) -> Self {
        Self(active)
    }

    /// Answers 401 before any route of `router` to a request without the token.
    pub(super) fn protect(self, router: Router) -> Router {
        router.layer(from_fn(move |request: Request, next: Next| {
            let guard = self.clone();
            async move { if guard.admits(&request) { next.run(request).await } else { refusal() } }
        }))
    }

    fn admits(&self, request: &Request) -> bool {
        let runtime = self.0.current();
        let Some(path) = runtime.config.admin.token_file.as_deref() else { return true };
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let wanted = read_text(Path::new(path), BYTES).unwrap_or_default();
        let wanted = wanted.trim();
        // Digests are compared, because the time of a comparison of texts reveals how long a prefix is right.
        !wanted.is_empty() && sha256(shown.as_bytes()) == sha256(wanted.as_bytes())
    }
}

fn refusal() -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "a token is needed\n").into_response()
}

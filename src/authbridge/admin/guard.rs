//! The token that callers of the private servers need, where they listen beyond loopback.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use countersign_core::encoding::sha256;
use countersign_io::files::read_text;
use std::path::Path;
use std::sync::Arc;

/// Largest token file, in bytes.
const BYTES: usize = 4096;

/// A file with the token; it is read at each request, so that it can be replaced.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Arc<str>);

impl Guard {
    /// The guard that the file at `path` keeps.
    pub(crate) fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// Puts the guard in front of a server.
    pub(super) fn protect(self, router: Router) -> Router {
        router.layer(from_fn(move |request: Request, next: Next| {
            let guard = self.clone();
            async move { if guard.admits(&request) { next.run(request).await } else { refusal() } }
        }))
    }

    fn admits(&self, request: &Request) -> bool {
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let wanted = read_text(Path::new(self.0.as_ref()), BYTES).unwrap_or_default();
        let wanted = wanted.trim();
        // Digests, so that the time of the comparison says nothing about the token.
        !wanted.is_empty() && sha256(shown.as_bytes()) == sha256(wanted.as_bytes())
    }
}

fn refusal() -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "a token is needed\n").into_response()
}

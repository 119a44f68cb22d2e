//! Probes for the kubelet: `/healthz` answers while the process runs, `/readyz` while all readiness checks pass, and
//! `/readyz?exclude=NAME` while all others do, as at an API server.
//! The probes are served before anything else starts, so that slow parts delay readiness and cause no restart.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use countersign_core::text::is_unsafe_for_display;
use countersign_io::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// Readiness checks with their latest results; ready while all pass. Clones share the checks.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

/// Handle of one readiness check, held by the part that knows the result.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    all: Readiness,
}

impl Readiness {
    /// Adds a check, for example `caches`, `bundle` or `api`, which fails until [`Check::pass`].
    pub fn check(&self, name: &'static str) -> Check {
        let check = Check { name, all: self.clone() };
        check.fail("not started");
        check
    }

    /// True if all checks but those of these names pass, and a text with one line per check.
    pub fn report(&self, excluded: &[&str]) -> (bool, String) {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ready, mut text) = (true, String::new());
        for (name, result) in checks.iter() {
            // Writing into a String cannot fail.
            let _ = match result {
                Ok(()) => writeln!(text, "[+]{name} ok"),
                Err(reason) => writeln!(text, "[-]{name} failed: {reason}"),
            };
            ready &= result.is_ok() || excluded.contains(name);
        }
        text.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, text)
    }

    fn set(&self, name: &'static str, result: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, result);
    }
}

impl Check {
    /// Marks the check as passing.
    pub fn pass(&self) {
        self.all.set(self.name, Ok(()));
    }

    /// Marks the check as failing. The reason is cut to 300 characters, and unsafe ones become spaces (rule 10).
    pub fn fail(&self, reason: impl AsRef<str>) {
        let safe = |c: char| if is_unsafe_for_display(c) { ' ' } else { c };
        self.all.set(self.name, Err(reason.as_ref().chars().take(300).map(safe).collect()));
    }
}

/// Serves the probes until `shutdown`.
pub async fn serve(listener: TcpListener, readiness: Readiness, shutdown: Shutdown) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.into_requested()).await
}

async fn readyz(State(readiness): State<Readiness>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let excluded: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("exclude=")).collect();
    let (ready, text) = readiness.report(&excluded);
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_check_passes_and_the_report_says_which_does_not() {
        let readiness = Readiness::default();
        let (api, bundle) = (readiness.check("api"), readiness.check("bundle"));
        assert_eq!(
            readiness.report(&[]),
            (false, "[-]api failed: not started\n[-]bundle failed: not started\nnot ready\n".to_owned())
        );
        api.pass();
        bundle.fail("ConfigMap spire/spire-bundle\nis not there");
        assert_eq!(
            readiness.report(&[]),
            (
                false,
                "[+]api ok\n[-]bundle failed: ConfigMap spire/spire-bundle is not there\nnot ready\n"
                    .to_owned()
            )
        );
        assert!(readiness.report(&["bundle"]).0 && !readiness.report(&["api", "others"]).0);
        bundle.pass();
        assert!(readiness.report(&[]).0);
        api.fail("timeout");
        assert!(!readiness.report(&[]).0);
    }
}

//! Probes: the HTTP status of a health URL, and the existence of a written file.

use countersign_core::text::Quoted;
use reqwest::{Client, Url};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// True if `path` is a regular file that is not empty.
pub fn is_written(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// Sends one GET to an http URL and returns the status. The error is one sentence.
pub async fn answers(url: &str, within: Duration) -> Result<u16, String> {
    let shown = Quoted(url);
    let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "http");
    let parsed = parsed.ok_or_else(|| format!("{shown} is not an http address"))?;
    // reqwest needs a TLS configuration even for plain http; this one has no trusted root.
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(within)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client.get(parsed).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| {
        if error.is_timeout() {
            format!("{shown} did not answer within {} s", within.as_secs())
        } else {
            format!("{shown} cannot be reached; is the server running?")
        }
    })
}

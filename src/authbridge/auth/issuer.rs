//! HTTP calls to a token issuer, bounded in time and size. They follow no redirect and use no proxy from the environment:
//! either could lead credentials to another server.

use countersign_core::text::Quoted;
use reqwest::{Client, RequestBuilder};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest time for a connection to the issuer.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest time for a call, from the connection to the end of the answer.
const TOTAL: Duration = Duration::from_secs(10);
/// `User-Agent` of the calls.
const AGENT: &str = concat!("countersign-authbridge/", env!("CARGO_PKG_VERSION"));

/// HTTP client with the URL of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    /// URL of the endpoint.
    pub(crate) url: String,
}

/// Makes a client for `url`. The root certificates of the machine are loaded only for https, since that takes
/// milliseconds and memory.
pub(crate) fn fetch_client(url: &str) -> Result<Fetcher, String> {
    let failed = |error: &dyn std::error::Error| format!("no client for {}: {error}", Quoted(url));
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let tls = if url.starts_with("https://") {
        tls.with_platform_verifier().map_err(|error| failed(&error))?.with_no_client_auth()
    } else {
        tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .build()
        .map_err(|error| failed(&error))?;
    Ok(Fetcher { client, url: url.to_owned() })
}

impl Fetcher {
    /// Prepares a GET of the endpoint.
    pub(crate) fn get(&self) -> RequestBuilder {
        self.client.get(&self.url)
    }

    /// The client without its URL.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }

    /// Prepares a POST of a form to the endpoint.
    pub(crate) fn post_form(&self, form: String) -> RequestBuilder {
        self.client.post(&self.url).header("content-type", "application/x-www-form-urlencoded").body(form)
    }
}

/// Failure of a call to an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallFailure {
    /// What failed, as callers and probes may read it: it names no server, address or certificate of the cluster.
    pub(crate) told: String,
    /// Its innermost cause, for the log; empty if `told` says everything.
    pub(crate) cause: String,
}

impl CallFailure {
    /// A failure that may be told as it is.
    pub(crate) fn plain(told: impl Into<String>) -> Self {
        Self { told: told.into(), cause: String::new() }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.as_str() {
            "" => f.write_str(&self.told),
            cause => write!(f, "{}: {cause}", self.told),
        }
    }
}

/// Sends a request and reads at most `limit` bytes of the answer: status and body. The body may hold a token, so it is
/// wiped when dropped.
pub(crate) async fn send(
    request: RequestBuilder,
    limit: usize,
) -> Result<(u16, Zeroizing<Vec<u8>>), CallFailure> {
    let mut response = request.send().await.map_err(|error| failure(&error))?;
    let status = response.status().as_u16();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if chunk.len() > limit.saturating_sub(body.len()) {
            return Err(CallFailure::plain(format!("the answer is larger than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

/// The failure with its innermost cause; reqwest's own text repeats the URL, which the log names anyway.
fn failure(error: &reqwest::Error) -> CallFailure {
    if error.is_timeout() {
        return CallFailure::plain("no answer in time");
    }
    let told = if error.is_connect() { "it cannot be reached" } else { "the call broke off" };
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    CallFailure { told: told.to_owned(), cause: Quoted(&inner.to_string()).to_string() }
}

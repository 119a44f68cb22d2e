//! Calls to an issuer of tokens: bounded in time and size, never redirected, never through a proxy.

use countersign_core::text::Quoted;
use reqwest::{Client, RequestBuilder};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// For the connection, and for the whole answer.
const CONNECT: Duration = Duration::from_secs(3);
const TOTAL: Duration = Duration::from_secs(10);
/// How issuers see us.
const AGENT: &str = concat!("countersign-authbridge/", env!("CARGO_PKG_VERSION"));

/// A client for one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    /// Where.
    pub(crate) url: String,
}

/// A client for `url`. Roots are loaded only where they are needed.
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
    /// A GET of the endpoint.
    pub(crate) fn get(&self) -> RequestBuilder {
        self.client.get(&self.url)
    }

    /// The client itself.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }

    /// A POST of a form to the endpoint.
    pub(crate) fn post_form(&self, form: String) -> RequestBuilder {
        self.client.post(&self.url).header("content-type", "application/x-www-form-urlencoded").body(form)
    }
}

/// Sends a request; status and body, or one sentence. The body may hold a token and is wiped.
pub(crate) async fn send(request: RequestBuilder, limit: usize) -> Result<(u16, Zeroizing<Vec<u8>>), String> {
    let mut response = request.send().await.map_err(|error| cause(&error))?;
    let status = response.status().as_u16();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        if chunk.len() > limit.saturating_sub(body.len()) {
            return Err(format!("the answer is larger than {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

/// The innermost cause, without the address, which the caller names.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    Quoted(&inner.to_string()).to_string()
}

//! Fetching of a card over HTTP from an agent that may be hostile (rules 1 and 2).
//! The response of an agent decides the bytes alone: no redirect, proxy, content encoding or retry is followed.

use super::body::BoundedBody;
use super::plain::{self, Dial, PlainError};
use countersign_core::limits::BODY_BYTES;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use http_body_util::Empty;
use hyper::Request;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, USER_AGENT, VARY,
};
use reqwest::{Client, ClientBuilder, StatusCode, Url};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Path of the card since A2A 0.3.
const WELL_KNOWN: &str = "/.well-known/agent-card.json";
/// Path of the card in A2A 0.2, which is fetched only after a 404.
const WELL_KNOWN_0_2: &str = "/.well-known/agent.json";
/// Most header lines of a response; real servers send fewer than 30.
const HEADERS: usize = 64;

/// Header by which a client names its version of A2A; without it a server takes the client for one of 0.3 (A2A 1.0 §3.6).
const A2A_VERSION: HeaderName = HeaderName::from_static("a2a-version");
/// Version of A2A that the first request names.
const VERSION: &str = "1.0";

/// The `User-Agent` of a request.
const AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Limits on one fetch: times, bytes, and the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Longest time to connect, TLS included.
    pub connect: Duration,
    /// Longest time from the name lookup to the last byte, for both well-known paths together.
    pub total: Duration,
    /// Largest body, in bytes.
    pub body: usize,
    /// The address of the host, if the caller knows it; DNS is then not used and cannot lead elsewhere.
    pub address: Option<IpAddr>,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(10),
            body: BODY_BYTES,
            address: None,
        }
    }
}

/// The URL of a card: http or https, with a host, without user name or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardUrl(Url);

/// An error in the URL of a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not the address of a card: {why}", Quoted(.text))]
pub struct CardUrlError {
    text: String,
    why: &'static str,
}

/// Clients to which a server gave a card: it may choose the body of one URL by the header `A2A-Version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// Clients that send `A2A-Version: 1.0`.
    Version1,
    /// Clients that send no `A2A-Version`, as those of A2A 0.3 do.
    Unversioned,
}

impl Representation {
    /// The request in words, as the end of "the answer to a request".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version1 => "with A2A-Version: 1.0",
            Self::Unversioned => "without A2A-Version",
        }
    }
}

/// A card as received, with its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes of the body, unchanged.
    pub body: Vec<u8>,
    /// The clients that get this body.
    pub representation: Representation,
    /// The body that clients of [`Representation::Unversioned`] get, if the server says that it chooses by the version
    /// (`Vary`) and it is another one. Clients may see either, so a caller verifies both.
    pub unversioned: Option<Vec<u8>>,
    /// The URL that answered, with the well-known path if the given URL had no path.
    pub url: String,
}

impl CardUrl {
    /// True if `text` is meant as a URL and not as a file name.
    pub fn looks_like(text: &str) -> bool {
        text.contains("://")
    }

    /// Parses a URL; one without path and query stands for the well-known paths of its origin.
    pub fn parse(text: &str) -> Result<Self, CardUrlError> {
        let refuse = |why| Err(CardUrlError { text: text.to_owned(), why });
        let Ok(url) = Url::parse(text) else {
            return refuse("it is not a URL");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("only http and https are fetched");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return refuse("it names no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("leave out the user name: credentials are never sent to an agent");
        }
        if url.fragment().is_some() {
            return refuse("leave out the part after #");
        }
        Ok(Self(url))
    }

    /// The host, as in the URL.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The URL to fetch, and the URL to fetch after a 404: two only if the given URL has neither path nor query.
    fn candidates(&self) -> (Url, Option<Url>) {
        if self.0.path() != "/" || self.0.query().is_some() {
            return (self.0.clone(), None);
        }
        let (mut first, mut second) = (self.0.clone(), self.0.clone());
        first.set_path(WELL_KNOWN);
        second.set_path(WELL_KNOWN_0_2);
        (first, Some(second))
    }
}

/// Fetches a card; every failure is a refusal that says what the agent answered.
///
/// The first request names A2A 1.0. The second, without a version, is sent only if the answer to the first varies by it,
/// or if the server does not speak 1.0 (status 400 or 406).
pub async fn fetch_card(url: &CardUrl, limits: FetchLimits) -> Result<Fetched, Refusal> {
    match limits.address {
        Some(address) if url.0.scheme() == "http" => {
            fetch_with(&Transport::Plain(address), url, limits).await
        }
        _ => fetch_card_over(url, limits, web_tls(url)?).await,
    }
}

/// Fetches a card with the TLS configuration of the caller; failures are those of [`fetch_card`].
pub async fn fetch_card_over(
    url: &CardUrl,
    limits: FetchLimits,
    tls: ClientConfig,
) -> Result<Fetched, Refusal> {
    let mut builder = Client::builder();
    if let Some(address) = limits.address {
        // Port 0 makes reqwest use the port of the URL.
        builder = builder.resolve(url.host(), SocketAddr::new(address, 0));
    }
    fetch_with(&Transport::Web(build_client(builder, limits, tls)?), url, limits).await
}

/// The client that sends the request for a card.
enum Transport {
    /// reqwest, which resolves the host and may speak TLS.
    Web(Client),
    /// hyper over plain http, to this address whatever the host resolves to.
    Plain(IpAddr),
}

async fn fetch_with(transport: &Transport, url: &CardUrl, limits: FetchLimits) -> Result<Fetched, Refusal> {
    let (first, second) = url.candidates();
    let both = async {
        if let Some(fetched) = fetch_both(transport, &first, limits).await? {
            return Ok(fetched);
        }
        let Some(second) = second else { return Err(not_found(&first)) };
        let fetched = fetch_both(transport, &second, limits).await;
        fetched.and_then(|fetched| fetched.ok_or_else(|| not_found(&second))).map_err(|refusal| {
            let found = format!("{}, and {} answered 404 before", refusal.message(), Quoted(first.as_str()));
            Refusal::new(refusal.reason(), found)
        })
    };
    match tokio::time::timeout(limits.total, both).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::new(
            Reason::FetchTimeout,
            format!("{} did not answer completely within {:?}", Quoted(url.0.as_str()), limits.total),
        )),
    }
}

/// Fetches what one URL gives to clients of A2A 1.0, and to others if the answers differ; `None` for a 404.
async fn fetch_both(
    transport: &Transport,
    url: &Url,
    limits: FetchLimits,
) -> Result<Option<Fetched>, Refusal> {
    let mut answer = Answer::default();
    let asked = |body, representation, unversioned| Fetched {
        body,
        representation,
        unversioned,
        url: url.to_string(),
    };
    let fetched = fetch_one(transport, url, Some(VERSION), limits, &mut answer).await;
    let body = match fetched {
        Ok(Some(body)) => body,
        Ok(None) => return Ok(None),
        Err(refusal) if !answer.is_unsupported => return Err(refusal),
        Err(_) => {
            let body = fetch_one(transport, url, None, limits, &mut Answer::default()).await?;
            return Ok(body.map(|body| asked(body, Representation::Unversioned, None)));
        }
    };
    if !answer.varies {
        return Ok(Some(asked(body, Representation::Version1, None)));
    }
    let unversioned = match fetch_one(transport, url, None, limits, &mut Answer::default()).await {
        Ok(other) => other.filter(|other| *other != body),
        // An error status is no card that a client could see.
        Err(refusal) if refusal.reason() == Reason::FetchStatus => None,
        Err(refusal) => {
            let found = format!("{}, asked {}", refusal.message(), Representation::Unversioned.as_str());
            return Err(Refusal::new(refusal.reason(), found));
        }
    };
    Ok(Some(asked(body, Representation::Version1, unversioned)))
}

/// Part of the answer that decides whether to ask again.
#[derive(Debug, Default)]
struct Answer {
    /// True if `Vary` names `A2A-Version`, or everything.
    varies: bool,
    /// True if the status says that the server has no answer for this version.
    is_unsupported: bool,
}

fn no_tls(error: &dyn Error) -> Refusal {
    Refusal::new(Reason::FetchFailed, format!("TLS cannot be set up on this machine: {error}"))
}

/// TLS with ring and the roots of the system, which are not loaded for plain http.
fn web_tls(url: &CardUrl) -> Result<ClientConfig, Refusal> {
    if url.0.scheme() != "https" {
        return plain_tls();
    }
    let tls = tls_versions()?.with_platform_verifier().map_err(|error| no_tls(&error))?;
    Ok(tls.with_no_client_auth())
}

/// TLS without any trusted root: reqwest needs a configuration even for plain http.
fn plain_tls() -> Result<ClientConfig, Refusal> {
    Ok(tls_versions()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn tls_versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Refusal> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| no_tls(&error))
}

/// Builds a client that follows, retries, decodes and forwards nothing (rule 2).
fn build_client(builder: ClientBuilder, limits: FetchLimits, tls: ClientConfig) -> Result<Client, Refusal> {
    builder
        .tls_backend_preconfigured(tls)
        .user_agent(AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .referer(false)
        .http1_only()
        .http1_max_headers(HEADERS)
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .build()
        .map_err(|error| no_tls(&error))
}

/// Fetches one URL, with `A2A-Version` if `version` is one; `None` for a 404.
async fn fetch_one(
    transport: &Transport,
    url: &Url,
    version: Option<&'static str>,
    limits: FetchLimits,
    answer: &mut Answer,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut body = BoundedBody::new(url.to_string(), limits.body);
    let asked = Asked { url, version };
    let accepted = match transport {
        Transport::Web(client) => fetch_by_client(client, asked, answer, &mut body).await?,
        Transport::Plain(address) => fetch_plainly(*address, asked, limits, answer, &mut body).await?,
    };
    Ok(accepted.then(|| body.finish()))
}

/// One request: its URL, and its version of A2A.
#[derive(Clone, Copy)]
struct Asked<'a> {
    url: &'a Url,
    version: Option<&'static str>,
}

async fn fetch_by_client(
    client: &Client,
    Asked { url, version }: Asked<'_>,
    answer: &mut Answer,
    body: &mut BoundedBody,
) -> Result<bool, Refusal> {
    let mut request =
        client.get(url.clone()).header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
    if let Some(version) = version {
        request = request.header(A2A_VERSION, version);
    }
    let mut response = request.send().await.map_err(|error| transport(url, &error, error.is_timeout()))?;
    if !accept(url, response.status(), response.headers(), answer)? {
        return Ok(false);
    }
    body.expect(response.content_length())?;
    while let Some(chunk) =
        response.chunk().await.map_err(|error| transport(url, &error, error.is_timeout()))?
    {
        body.push(&chunk)?;
    }
    Ok(true)
}

async fn fetch_plainly(
    address: IpAddr,
    Asked { url, version }: Asked<'_>,
    limits: FetchLimits,
    answer: &mut Answer,
    body: &mut BoundedBody,
) -> Result<bool, Refusal> {
    let port = url.port_or_known_default().unwrap_or_default();
    let dial = Dial { address: SocketAddr::new(address, port), connect: limits.connect, headers: HEADERS };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request = Request::get(path)
        .header(HOST, url.authority())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity");
    if let Some(version) = version {
        request = request.header(A2A_VERSION, version);
    }
    let request = request
        .body(Empty::new())
        .map_err(|error| refuse(Reason::FetchFailed, url, &format!("cannot be asked for: {error}")))?;
    match plain::get(dial, request, |status, headers| accept(url, status, headers, answer), body).await {
        Ok(accepted) => Ok(accepted),
        Err(PlainError::Unwanted(refusal)) => Err(refusal),
        Err(error) => Err(transport(url, &error, matches!(error, PlainError::Slow(_)))),
    }
}

/// True if the body is to be read; false for a 404. Any other status or header refuses the response.
fn accept(url: &Url, status: StatusCode, headers: &HeaderMap, answer: &mut Answer) -> Result<bool, Refusal> {
    let varies = |name: &str| name == "*" || name.eq_ignore_ascii_case(A2A_VERSION.as_str());
    answer.varies =
        texts(headers, &VARY).iter().flat_map(|names| names.split(',')).map(str::trim).any(varies);
    answer.is_unsupported = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_ACCEPTABLE);
    match status {
        StatusCode::OK => check_headers(url, headers).map(|()| true),
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_redirection() => {
            Err(refuse(Reason::FetchRedirected, url, &format!("answered {}", status.as_u16())))
        }
        status => Err(refuse(Reason::FetchStatus, url, &format!("answered {}", status.as_u16()))),
    }
}

fn check_headers(url: &Url, headers: &HeaderMap) -> Result<(), Refusal> {
    let encodings = texts(headers, &CONTENT_ENCODING);
    if let Some(encoding) = encodings.iter().find(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let found = format!("answered with content encoding {}", Quoted(encoding));
        return Err(refuse(Reason::FetchEncoding, url, &found));
    }
    match texts(headers, &CONTENT_TYPE).as_slice() {
        [one] if is_json(one) => Ok(()),
        [one] => {
            let found = format!("answered with content type {}", Quoted(one));
            Err(refuse(Reason::FetchEncoding, url, &found))
        }
        [] => Err(refuse(Reason::FetchEncoding, url, "answered without a content type")),
        _ => Err(refuse(Reason::FetchEncoding, url, "answered with several content types")),
    }
}

fn texts(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// True for `application/json` or `application/…+json` with no charset but UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let json = essence.strip_prefix("application/").is_some_and(|subtype| {
        let tail = subtype.strip_suffix("+json");
        subtype == "json" || tail.is_some_and(|tail| !tail.is_empty())
    });
    json && parts
        .filter_map(|parameter| parameter.strip_prefix("charset=").map(|value| value.replace('"', "")))
        .all(|charset| matches!(charset.as_str(), "utf-8" | "utf8"))
}

fn not_found(url: &Url) -> Refusal {
    refuse(Reason::FetchStatus, url, "answered 404")
}

fn refuse(reason: Reason, url: &Url, found: &str) -> Refusal {
    Refusal::new(reason, format!("{} {found}", Quoted(url.as_str())))
}

/// Makes the refusal of a failed exchange from its innermost cause: the outer ones repeat the URL.
fn transport(url: &Url, error: &dyn Error, is_timeout: bool) -> Refusal {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let reason = if is_timeout { Reason::FetchTimeout } else { Reason::FetchFailed };
    refuse(reason, url, &format!("could not be read: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_content_types_are_read() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/a2a+json",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/html",
            "text/json",
            "application/jsonp",
            "application/+json",
            "application/json+x",
            "application/json; charset=utf-16",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_is_http_without_credentials() {
        for bad in [
            "card.json",
            "file:///etc/passwd",
            "ftp://a/",
            "http://",
            "http://user@a/",
            "http://:secret@a/",
            "https://a/#b",
        ] {
            assert!(CardUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_bare_origin_gets_the_well_known_paths() {
        let urls = |text| {
            let (first, second) = CardUrl::parse(text).unwrap().candidates();
            (first.to_string(), second.map(|url| url.to_string()))
        };
        assert_eq!(
            urls("http://a:8000"),
            (
                "http://a:8000/.well-known/agent-card.json".to_owned(),
                Some("http://a:8000/.well-known/agent.json".to_owned())
            )
        );
        assert_eq!(urls("http://a/card"), ("http://a/card".to_owned(), None));
        assert_eq!(urls("http://a/?x=1"), ("http://a/?x=1".to_owned(), None));
    }
}

//! Fetching a card over HTTP from an agent that may be hostile (rules 1 and 2).
//! What the agent answers decides nothing but the bytes: no redirect, proxy, encoding or retry is followed.

use super::body::BoundedBody;
use super::plain::{self, Dial, PlainError};
use countersign_core::limits::BODY_BYTES;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use http_body_util::Empty;
use hyper::Request;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, USER_AGENT,
};
use reqwest::{Client, ClientBuilder, StatusCode, Url};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where A2A serves the card since 0.3.
const WELL_KNOWN: &str = "/.well-known/agent-card.json";
/// Where A2A 0.2 served it; asked only after a 404.
const WELL_KNOWN_0_2: &str = "/.well-known/agent.json";
/// Most header lines of an answer; real servers send fewer than 30.
const HEADERS: usize = 64;

/// How agents see us.
const AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// How long and how much an agent may keep us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For everything from the name lookup to the last byte, both addresses together.
    pub total: Duration,
    /// Largest body, in bytes.
    pub body: usize,
    /// Where the host is, if the caller knows; DNS is then not asked, and cannot lead elsewhere.
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

/// The address of a card: an http(s) URL of a host, without user name or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardUrl(Url);

/// Why a text is not the address of a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not the address of a card: {why}", Quoted(.text))]
pub struct CardUrlError {
    text: String,
    why: &'static str,
}

/// A card as received, and the address that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Exactly the bytes of the body.
    pub body: Vec<u8>,
    /// The address asked, with the well-known path if the given one had none.
    pub url: String,
}

impl CardUrl {
    /// True for texts that are meant as a URL rather than as a file name.
    pub fn looks_like(text: &str) -> bool {
        text.contains("://")
    }

    /// Reads an address; a bare origin means the well-known addresses at that origin.
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

    /// The host, as the URL has it.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address, with the well-known path for a bare origin, and the one to ask after a 404.
    fn addresses(&self) -> (Url, Option<Url>) {
        if self.0.path() != "/" || self.0.query().is_some() {
            return (self.0.clone(), None);
        }
        let (mut first, mut second) = (self.0.clone(), self.0.clone());
        first.set_path(WELL_KNOWN);
        second.set_path(WELL_KNOWN_0_2);
        (first, Some(second))
    }
}

/// Fetches a card; every failure is a refusal that says what was found.
pub async fn fetch_card(url: &CardUrl, limits: FetchLimits) -> Result<Fetched, Refusal> {
    match limits.address {
        Some(address) if url.0.scheme() == "http" => {
            fetch_with(&Transport::Plain(address), url, limits).await
        }
        _ => fetch_card_over(url, limits, web_tls(url)?).await,
    }
}

/// As [`fetch_card`], over TLS as the caller has configured it.
pub async fn fetch_card_over(
    url: &CardUrl,
    limits: FetchLimits,
    tls: ClientConfig,
) -> Result<Fetched, Refusal> {
    let mut builder = Client::builder();
    if let Some(address) = limits.address {
        // Port 0 stands for the port of the URL.
        builder = builder.resolve(url.host(), SocketAddr::new(address, 0));
    }
    fetch_with(&Transport::Web(build_client(builder, limits, tls)?), url, limits).await
}

/// How a card is asked for.
enum Transport {
    /// By a client that finds out where the host is, and may speak TLS.
    Web(Client),
    /// Over plain http at this address, whatever the host resolves to.
    Plain(IpAddr),
}

async fn fetch_with(transport: &Transport, url: &CardUrl, limits: FetchLimits) -> Result<Fetched, Refusal> {
    let (first, second) = url.addresses();
    let both = async {
        match fetch_one(transport, &first, limits).await? {
            Some(body) => Ok(Fetched { body, url: first.to_string() }),
            None => match second {
                Some(second) => match fetch_one(transport, &second, limits).await? {
                    Some(body) => Ok(Fetched { body, url: second.to_string() }),
                    None => Err(not_found(&second)),
                },
                None => Err(not_found(&first)),
            },
        }
    };
    match tokio::time::timeout(limits.total, both).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::new(
            Reason::FetchTimeout,
            format!("{} did not answer completely within {:?}", Quoted(url.0.as_str()), limits.total),
        )),
    }
}

fn no_tls(error: &dyn Error) -> Refusal {
    Refusal::new(Reason::FetchFailed, format!("TLS cannot be set up on this machine: {error}"))
}

/// TLS by ring and the system's roots, which plain http does not load.
fn web_tls(url: &CardUrl) -> Result<ClientConfig, Refusal> {
    if url.0.scheme() != "https" {
        return plain_tls();
    }
    let tls = tls_versions()?.with_platform_verifier().map_err(|error| no_tls(&error))?;
    Ok(tls.with_no_client_auth())
}

/// TLS that trusts nobody: plain http wants a configuration, too.
fn plain_tls() -> Result<ClientConfig, Refusal> {
    Ok(tls_versions()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn tls_versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Refusal> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| no_tls(&error))
}

/// A client that does nothing on its own.
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

/// The body, or `None` for a 404.
async fn fetch_one(
    transport: &Transport,
    url: &Url,
    limits: FetchLimits,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut body = BoundedBody::new(url.to_string(), limits.body);
    let accepted = match transport {
        Transport::Web(client) => fetch_by_client(client, url, &mut body).await?,
        Transport::Plain(address) => fetch_plainly(*address, url, limits, &mut body).await?,
    };
    Ok(accepted.then(|| body.finish()))
}

async fn fetch_by_client(client: &Client, url: &Url, body: &mut BoundedBody) -> Result<bool, Refusal> {
    let asked =
        client.get(url.clone()).header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
    let mut response = asked.send().await.map_err(|error| transport(url, &error, error.is_timeout()))?;
    if !accept(url, response.status(), response.headers())? {
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
    url: &Url,
    limits: FetchLimits,
    body: &mut BoundedBody,
) -> Result<bool, Refusal> {
    let port = url.port_or_known_default().unwrap_or_default();
    let dial = Dial { address: SocketAddr::new(address, port), connect: limits.connect, headers: HEADERS };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let request = Request::get(path)
        .header(HOST, url.authority())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .body(Empty::new())
        .map_err(|error| refuse(Reason::FetchFailed, url, &format!("cannot be asked for: {error}")))?;
    match plain::get(dial, request, |status, headers| accept(url, status, headers), body).await {
        Ok(accepted) => Ok(accepted),
        Err(PlainError::Unwanted(refusal)) => Err(refusal),
        Err(error) => Err(transport(url, &error, matches!(error, PlainError::Slow(_)))),
    }
}

/// Whether to read the answer; false for a 404.
fn accept(url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<bool, Refusal> {
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

/// `application/json` or `application/…+json`, in UTF-8 if it says so at all.
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

/// The innermost cause, because the outer ones only repeat the address.
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
        let addresses = |text| {
            let (first, second) = CardUrl::parse(text).unwrap().addresses();
            (first.to_string(), second.map(|url| url.to_string()))
        };
        assert_eq!(
            addresses("http://a:8000"),
            (
                "http://a:8000/.well-known/agent-card.json".to_owned(),
                Some("http://a:8000/.well-known/agent.json".to_owned())
            )
        );
        assert_eq!(addresses("http://a/card"), ("http://a/card".to_owned(), None));
        assert_eq!(addresses("http://a/?x=1"), ("http://a/?x=1".to_owned(), None));
    }
}

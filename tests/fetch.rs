//! Fetching from servers that attack each part of rules 1 and 2, on real loopback sockets.
//! Every server counts its connections, so that "was not followed" is seen and not assumed.
#![cfg(test)]

use countersign_core::limits::BODY_BYTES;
use countersign_core::refusal::Reason;
use countersign_io::fetch::{CardUrl, FetchLimits, Fetched, Representation, fetch_card};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CARD: &str = r#"{"name":"weather"}"#;

/// What a server does with one request, given its first line.
type Behaviour = fn(String, TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => return,
                        }
                    }
                    let request = String::from_utf8(request).unwrap();
                    behaviour(request, stream).await;
                });
            }
        });
        Self { address, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn limits() -> FetchLimits {
    FetchLimits {
        connect: Duration::from_millis(500),
        total: Duration::from_millis(800),
        body: BODY_BYTES,
        address: None,
    }
}

/// How often [`fetch`] asks for a card.
const WAYS: usize = 2;

/// Fetches a card as the command line does, and as the operator does, which knows the address. Both come to the same.
async fn fetch(url: &str) -> Result<Fetched, Reason> {
    let url = CardUrl::parse(url).unwrap();
    let mut found = Vec::new();
    for address in [None, Some(url.host().parse().unwrap())] {
        let limits = FetchLimits { address, ..limits() };
        found.push(fetch_card(&url, limits).await.map_err(|refusal| refusal.reason()));
    }
    assert_eq!(found[0], found[1]);
    found.remove(0)
}

async fn send(stream: &mut TcpStream, text: impl AsRef<[u8]>) {
    // The client hangs up as soon as it has seen enough; that is the point of several tests.
    let _ = stream.write_all(text.as_ref()).await;
}

fn answer(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn rule_02_a_card_is_returned_byte_for_byte_with_its_address() {
    let server =
        Server::start(|_, mut stream| Box::pin(async move { send(&mut stream, answer(JSON, CARD)).await }))
            .await;
    let fetched = fetch(&server.url("")).await.unwrap();
    assert_eq!(fetched.body, CARD.as_bytes());
    assert_eq!(fetched.url, server.url("/.well-known/agent-card.json"));
    assert_eq!(server.connections(), WAYS);
}

#[tokio::test]
async fn rule_02_the_request_asks_for_plain_json_and_carries_no_credentials() {
    let server = Server::start(|request, mut stream| {
        Box::pin(async move {
            let lower = request.to_lowercase();
            let plain = lower.contains("accept: application/json\r\n")
                && lower.contains("accept-encoding: identity\r\n")
                && !["authorization:", "cookie:", "referer:"].iter().any(|name| lower.contains(name));
            send(&mut stream, answer(JSON, if plain { "plain" } else { &lower })).await;
        })
    })
    .await;
    assert_eq!(String::from_utf8(fetch(&server.url("/card")).await.unwrap().body).unwrap(), "plain");
}

/// Answers with one card to requests with a version and with another to those without, with these headers. The path says
/// what the second answer is.
fn by_version(headers: &'static str) -> impl Fn(&str) -> String {
    move |request: &str| {
        let is_versioned = request.to_ascii_lowercase().contains("\r\na2a-version: 1.0\r\n");
        match (is_versioned, request.split(' ').nth(1).unwrap()) {
            (true, "/old") => "HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n".to_owned(),
            (false, "/gone") => "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n".to_owned(),
            (false, "/page") => answer("content-type: text/html\r\n", CARD),
            (true, _) | (false, "/same") => answer(&format!("{JSON}{headers}"), CARD),
            (false, _) => answer(&format!("{JSON}{headers}"), r#"{"name":"other"}"#),
        }
    }
}

#[tokio::test]
async fn rule_02_a_card_that_varies_by_version_is_asked_for_in_both_ways() {
    let server = Server::start(|request, mut stream| {
        Box::pin(
            async move { send(&mut stream, by_version("vary: Accept, a2a-Version\r\n")(&request)).await },
        )
    })
    .await;
    let both = fetch(&server.url("/card")).await.unwrap();
    assert_eq!((both.body, both.representation), (CARD.into(), Representation::Version1));
    assert_eq!(both.unversioned, Some(r#"{"name":"other"}"#.into()));
    assert_eq!(server.connections(), 2 * WAYS);
    // One card for all is one card, and no card is none that a client could see.
    for path in ["/same", "/gone"] {
        assert_eq!(fetch(&server.url(path)).await.unwrap().unversioned, None, "{path}");
    }
    assert_eq!(fetch(&server.url("/page")).await, Err(Reason::FetchEncoding));
}

#[tokio::test]
async fn rule_02_a_server_that_does_not_vary_is_asked_once_and_one_without_the_version_again() {
    let server = Server::start(|request, mut stream| {
        Box::pin(async move { send(&mut stream, by_version("vary: accept\r\n")(&request)).await })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await.unwrap().unversioned, None);
    assert_eq!(server.connections(), WAYS);
    let old = fetch(&server.url("/old")).await.unwrap();
    assert_eq!((old.representation, old.unversioned), (Representation::Unversioned, None));
    let any = Server::start(|request, mut stream| {
        Box::pin(async move { send(&mut stream, by_version("vary: *\r\n")(&request)).await })
    })
    .await;
    assert!(fetch(&any.url("/card")).await.unwrap().unversioned.is_some());
}

#[tokio::test]
async fn rule_02_a_redirect_is_refused_and_its_target_is_never_asked() {
    static TARGET: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let target =
        Server::start(|_, mut stream| Box::pin(async move { send(&mut stream, answer(JSON, CARD)).await }))
            .await;
    TARGET.set(target.url("/card")).unwrap();
    let server = Server::start(|request, mut stream| {
        Box::pin(async move {
            let status = request.split('/').nth(1).unwrap().split(' ').next().unwrap();
            let location = TARGET.get().unwrap();
            let text =
                format!("HTTP/1.1 {status} X\r\n{JSON}location: {location}\r\ncontent-length: 0\r\n\r\n");
            send(&mut stream, text).await;
        })
    })
    .await;
    for status in [301, 302, 303, 307, 308] {
        assert_eq!(fetch(&server.url(&format!("/{status}"))).await, Err(Reason::FetchRedirected), "{status}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn rule_02_headers_that_trickle_in_are_cut_off_at_the_total_time() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            send(&mut stream, "HTTP/1.1 200 OK\r\n").await;
            for index in 0..1000 {
                send(&mut stream, format!("x-{index}: y\r\n")).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::FetchTimeout));
}

#[tokio::test]
async fn rule_02_a_body_that_trickles_in_is_cut_off_at_the_total_time() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            send(&mut stream, format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 1000\r\n\r\n")).await;
            for _ in 0..1000 {
                send(&mut stream, " ").await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::FetchTimeout));
}

#[tokio::test]
async fn rule_02_the_time_covers_both_well_known_addresses_together() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            send(&mut stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("")).await, Err(Reason::FetchTimeout));
    assert_eq!(server.connections(), 2 * WAYS);
}

#[tokio::test]
async fn rule_01_a_body_without_a_length_is_refused_at_the_cap_and_not_cut_off() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            send(&mut stream, format!("HTTP/1.1 200 OK\r\n{JSON}connection: close\r\n\r\n{CARD}")).await;
            send(&mut stream, vec![b' '; 300 * 1024]).await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::BodyTooLarge));
}

#[tokio::test]
async fn rule_01_a_chunked_body_is_refused_at_the_cap() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            let head = format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n");
            send(&mut stream, head).await;
            for _ in 0..300 {
                send(&mut stream, format!("400\r\n{}\r\n", " ".repeat(1024))).await;
            }
            send(&mut stream, "0\r\n\r\n").await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::BodyTooLarge));
}

#[tokio::test]
async fn rule_01_a_promised_length_over_the_cap_is_refused_before_the_body_comes() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            let head = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 5000000000\r\n\r\n");
            send(&mut stream, head).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::BodyTooLarge));
}

#[tokio::test]
async fn rule_02_a_body_shorter_than_promised_is_not_a_card() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            send(&mut stream, format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 500\r\n\r\n{CARD}")).await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::FetchFailed));
}

#[tokio::test]
async fn rule_02_compressed_answers_and_other_content_types_are_refused() {
    let server = Server::start(|request, mut stream| {
        Box::pin(async move {
            let headers = match request.split(' ').nth(1).unwrap() {
                "/gzip" => "content-type: application/json\r\ncontent-encoding: gzip\r\n",
                "/identity" => "content-type: application/json\r\ncontent-encoding: identity\r\n",
                "/br" => {
                    "content-type: application/json\r\ncontent-encoding: identity\r\ncontent-encoding: br\r\n"
                }
                "/html" => "content-type: text/html\r\n",
                "/two" => "content-type: application/json\r\ncontent-type: text/html\r\n",
                "/latin" => "content-type: application/json; charset=iso-8859-1\r\n",
                "/a2a" => "content-type: application/a2a+json\r\n",
                _ => "",
            };
            send(&mut stream, answer(headers, CARD)).await;
        })
    })
    .await;
    for refused in ["/gzip", "/br", "/html", "/two", "/latin", "/none"] {
        assert_eq!(fetch(&server.url(refused)).await, Err(Reason::FetchEncoding), "{refused}");
    }
    for accepted in ["/a2a", "/identity"] {
        assert_eq!(fetch(&server.url(accepted)).await.unwrap().body, CARD.as_bytes(), "{accepted}");
    }
}

#[tokio::test]
async fn rule_02_only_a_404_at_a_bare_origin_leads_to_the_older_address() {
    let server = Server::start(|request, mut stream| {
        Box::pin(async move {
            let text = match request.split(' ').nth(1).unwrap() {
                "/.well-known/agent.json" => answer(JSON, CARD),
                _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
            };
            send(&mut stream, text).await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/")).await.unwrap().url, server.url("/.well-known/agent.json"));
    let before = server.connections();
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::FetchStatus));
    assert_eq!(server.connections(), before + WAYS);
}

#[tokio::test]
async fn a_refusal_names_both_addresses_that_were_asked() {
    let absent: Behaviour = |_, mut stream| {
        Box::pin(async move { send(&mut stream, "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n").await })
    };
    let broken: Behaviour = |request, mut stream| {
        Box::pin(async move {
            let is_older = request.split(' ').nth(1).unwrap() == "/.well-known/agent.json";
            let status = if is_older { 500 } else { 404 };
            send(&mut stream, format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")).await;
        })
    };
    for (behaviour, status) in [(absent, 404), (broken, 500)] {
        let server = Server::start(behaviour).await;
        let [older, first] =
            ["agent.json", "agent-card.json"].map(|name| server.url(&format!("/.well-known/{name}")));
        let refusal = fetch_card(&CardUrl::parse(&server.url("/")).unwrap(), limits()).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::FetchStatus);
        let told = format!("\"{older}\" answered {status}, and \"{first}\" answered 404 before");
        assert_eq!(refusal.message(), told);
    }
}

#[tokio::test]
async fn rule_02_other_statuses_are_refused_without_asking_again() {
    let server = Server::start(|request, mut stream| {
        Box::pin(async move {
            let status = request.split('/').nth(1).unwrap().split(' ').next().unwrap().to_owned();
            let status = if status == ".well-known" { "500".to_owned() } else { status };
            let length = CARD.len();
            send(&mut stream, format!("HTTP/1.1 {status} X\r\n{JSON}content-length: {length}\r\n\r\n{CARD}"))
                .await;
        })
    })
    .await;
    for status in ["201", "203", "206", "400", "403", "500", "503"] {
        assert_eq!(fetch(&server.url(&format!("/{status}"))).await, Err(Reason::FetchStatus), "{status}");
    }
    let before = server.connections();
    assert_eq!(fetch(&server.url("")).await, Err(Reason::FetchStatus));
    assert_eq!(server.connections(), before + WAYS);
}

#[tokio::test]
async fn rule_02_too_many_header_lines_are_refused() {
    let server = Server::start(|_, mut stream| {
        Box::pin(async move {
            let many = "x-a: y\r\n".repeat(500);
            send(&mut stream, answer(&format!("{JSON}{many}"), CARD)).await;
        })
    })
    .await;
    assert_eq!(fetch(&server.url("/card")).await, Err(Reason::FetchFailed));
}

#[tokio::test]
async fn rule_02_nobody_listening_and_plain_text_behind_https_are_failures() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(fetch(&format!("http://{closed}/")).await, Err(Reason::FetchFailed));
    let server =
        Server::start(|_, mut stream| Box::pin(async move { send(&mut stream, answer(JSON, CARD)).await }))
            .await;
    let https = server.url("/card").replace("http://", "https://");
    let found = fetch_card(&CardUrl::parse(&https).unwrap(), limits()).await.unwrap_err();
    assert!(matches!(found.reason(), Reason::FetchFailed | Reason::FetchTimeout));
}

/// The variables must be set before the process starts, so this test runs itself again as a child.
#[tokio::test]
async fn rule_02_proxy_variables_in_the_environment_are_not_used() {
    const CHILD: &str = "COUNTERSIGN_FETCH_THROUGH";
    if let Some((_, url)) = std::env::vars().find(|(name, _)| name == CHILD) {
        assert_eq!(fetch(&url).await.unwrap().body, CARD.as_bytes());
        return;
    }
    let answering: Behaviour =
        |_, mut stream| Box::pin(async move { send(&mut stream, answer(JSON, CARD)).await });
    let (proxy, server) = (Server::start(answering).await, Server::start(answering).await);
    let (through, url) = (proxy.url(""), server.url("/card"));
    let child = tokio::task::spawn_blocking(move || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "rule_02_proxy_variables_in_the_environment_are_not_used"])
            .env(CHILD, url)
            .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, through.clone())))
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
    });
    let output = child.await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((proxy.connections(), server.connections()), (0, WAYS));
}

#[tokio::test]
async fn rule_02_a_known_address_is_used_without_asking_dns() {
    let server =
        Server::start(|_, mut stream| Box::pin(async move { send(&mut stream, answer(JSON, CARD)).await }))
            .await;
    // `.invalid` never resolves (RFC 6761), so an answer can only have come from the address.
    let url = CardUrl::parse(&format!("http://agent.invalid:{}", server.address.port())).unwrap();
    let limits = FetchLimits { address: Some(server.address.ip()), ..limits() };
    assert_eq!(fetch_card(&url, limits).await.unwrap().body, CARD.as_bytes());
}

#[tokio::test]
async fn rule_02_each_card_is_asked_for_by_its_own_name_on_a_connection_of_its_own() {
    // It answers with the name that it was asked for.
    let named: Behaviour = |request, mut stream| {
        Box::pin(async move {
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
            send(&mut stream, answer(JSON, &format!(r#"{{"name":"{host}"}}"#))).await;
        })
    };
    let (one, other) = (Server::start(named).await, Server::start(named).await);
    for server in [&one, &other, &one] {
        let host = format!("agent.invalid:{}", server.address.port());
        let url = CardUrl::parse(&format!("http://{host}")).unwrap();
        let limits = FetchLimits { address: Some(server.address.ip()), ..limits() };
        let fetched = fetch_card(&url, limits).await.unwrap();
        assert_eq!(fetched.body, format!(r#"{{"name":"{host}"}}"#).as_bytes());
        assert!(fetched.url.starts_with(&format!("http://{host}/.well-known/")), "{}", fetched.url);
    }
    assert_eq!((one.connections(), other.connections()), (2, 1));
}

//! The webhook's server, as real clients call it.

use super::key_pair::make;
use super::limits::{BODY_BYTES, CONNECTIONS_OF_ADDRESS, PROGRESS};
use super::request::Reviewer;
use super::review::unit::review;
use super::review::{Decide, Decision};
use super::server::serve;
use crate::metrics::Metrics;
use crate::tls::{Current, certified};
use countersign_core::time::Seconds;
use countersign_io::clock::now;
use countersign_io::shutdown::{self, Trigger};
use countersign_plan::injection::NewPod;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATH: &str = "/mutate-workloads-authbridge";

/// A key pair for the server, with its certificate as its client trusts it.
fn key_pair() -> (CertifiedKey, CertificateDer<'static>) {
    let made = make(&["localhost".to_owned()], now(), now().plus(Seconds::new(3600))).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    (certified(vec![certificate.clone()], key).unwrap(), certificate)
}

struct Served {
    address: SocketAddr,
    current: Current,
    trusted: CertificateDer<'static>,
    metrics: Metrics,
    end: Trigger,
    ended: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Served {
    let (key, trusted) = key_pair();
    let (current, metrics, (end, stop)) = (Current::new(key), Metrics::default(), shutdown::channel());
    let decide: Decide = Arc::new(|request| {
        let name = request.object.as_ref().map(NewPod::name);
        assert_ne!(name, Some("panic"), "as a decision never should");
        Decision::unchanged()
    });
    let reviewer = Arc::new(Reviewer::new(decide, metrics.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = tokio::spawn(serve(listener, current.acceptor().unwrap(), reviewer, stop));
    Served { address, current, trusted, metrics, end, ended }
}

impl Served {
    async fn connect(&self, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// Status and body of the answer to a request on a connection of its own.
    async fn ask(&self, request: &[u8]) -> (u16, String) {
        let mut stream = self.connect(&self.trusted).await.unwrap();
        // A server that has answered already may refuse the rest.
        let _ = stream.write_all(request).await;
        answer(&mut stream).await.unwrap()
    }

    fn count(&self, result: &str) -> u32 {
        let text = self.metrics.text();
        let line = format!(
            "countersign_admissions_total{{webhook=\"mutate-workloads-authbridge\",result=\"{result}\"}} "
        );
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }
}

fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: webhook\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// Reads one answer; `None` if the connection ends before it.
async fn answer(stream: &mut TlsStream<TcpStream>) -> Option<(u16, String)> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().unwrap() {
                return Some((head.split(' ').nth(1)?.parse().unwrap(), body.to_owned()));
            }
        }
        let mut piece = [0; 4096];
        match timeout(Duration::from_secs(20), stream.read(&mut piece)).await.unwrap() {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(&piece[..length]),
        }
    }
}

#[tokio::test]
async fn every_request_has_an_answer_that_says_what_is_wrong_with_it() {
    let served = start().await;
    let good = review().to_string();
    let (status, body) = served.ask(&request("POST", PATH, &good)).await;
    assert!(status == 200 && body.contains(r#""uid":"u-1""#) && body.contains(r#""allowed":true"#), "{body}");
    let large = format!("{}{}", good, " ".repeat(BODY_BYTES));
    let chunk = "10000\r\n".to_owned() + &" ".repeat(0x10000) + "\r\n";
    let chunked = format!("POST {PATH} HTTP/1.1\r\nHost: webhook\r\nTransfer-Encoding: chunked\r\n\r\n");
    let endless = chunked.clone() + &chunk.repeat(BODY_BYTES / 0x10000 + 1);
    let in_chunks = format!("{chunked}{:x}\r\n{good}\r\n0\r\n\r\n", good.len());
    for (request, status, told) in [
        (in_chunks.into_bytes(), 200, "allowed"),
        (request("POST", &format!("{PATH}?timeout=3s"), &good), 200, "allowed"),
        (request("POST", "/", &good), 404, "nothing is served here\n"),
        (request("POST", "/mutate-workloads-authbridge/", &good), 404, "nothing is served here\n"),
        (request("GET", PATH, ""), 405, "send an AdmissionReview by POST\n"),
        (request("POST", PATH, ""), 400, "the body is no AdmissionReview"),
        (
            request("POST", PATH, "{}"),
            400,
            "the body is no AdmissionReview of admission.k8s.io/v1: missing field",
        ),
        (request("POST", PATH, &large), 413, "the body is larger than 4194304 bytes"),
        (endless.into_bytes(), 413, "the body is larger than 4194304 bytes"),
    ] {
        let (found, body) = served.ask(&request).await;
        assert!(found == status && body.contains(told), "{status}: {found} {body}");
    }
    for (result, count) in [("allowed", 3), ("malformed", 2), ("too_large", 2), ("timeout", 0)] {
        assert_eq!(served.count(result), count, "{result}");
    }
    // A decision that fails takes its own connection with it and no other.
    let panic = good.replace("weather-", "panic");
    let mut stream = served.connect(&served.trusted).await.unwrap();
    stream.write_all(&request("POST", PATH, &panic)).await.unwrap();
    assert_eq!(answer(&mut stream).await, None);
    assert_eq!(served.ask(&request("POST", PATH, &good)).await.0, 200);
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for() {
    let served = start().await;
    let good = review().to_string();
    let whole = request("POST", PATH, &good);
    let body = async {
        let (status, told) = served.ask(&whole[..whole.len() - 1]).await;
        assert!(status == 408 && told.contains("the body took too long"), "{status} {told}");
    };
    let head = async {
        let mut stream = served.connect(&served.trusted).await.unwrap();
        stream.write_all(b"POST ").await.unwrap();
        assert_eq!(answer(&mut stream).await, None);
    };
    let handshake = async {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        assert_eq!(
            timeout(Duration::from_secs(20), stream.read(&mut [0; 16])).await.unwrap().unwrap_or(0),
            0
        );
    };
    let others = async {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(served.ask(&whole).await.0, 200);
    };
    tokio::join!(body, head, handshake, others);
    assert_eq!((served.count("timeout"), served.count("allowed")), (1, 1));
}

#[tokio::test]
async fn a_new_certificate_is_presented_at_once_and_ends_no_connection() {
    let served = start().await;
    let good = request("POST", PATH, &review().to_string());
    let mut open = served.connect(&served.trusted).await.unwrap();
    open.write_all(&good).await.unwrap();
    assert_eq!(answer(&mut open).await.unwrap().0, 200);
    let (key, renewed) = key_pair();
    served.current.set(key);
    assert!(served.connect(&served.trusted).await.is_err(), "the old certificate is not presented any more");
    let mut other = served.connect(&renewed).await.unwrap();
    for stream in [&mut open, &mut other] {
        stream.write_all(&good).await.unwrap();
        assert_eq!(answer(stream).await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn nobody_is_kept_out_by_connections_that_ask_nothing() {
    let served = start().await;
    let asked = request("POST", PATH, &review().to_string());
    let mut own = served.connect(&served.trusted).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_OF_ADDRESS {
        held.push(TcpStream::connect(served.address).await.unwrap());
    }
    // It was idle for longest, and is the one that made room.
    let _ = own.write_all(&asked).await;
    assert_eq!(answer(&mut own).await, None);
    assert_eq!(served.ask(&asked).await.0, 200);
    drop(held);
}

#[tokio::test]
async fn bodies_that_are_announced_and_do_not_come_take_no_room() {
    let served = start().await;
    let announced =
        format!("POST {PATH} HTTP/1.1\r\nHost: webhook\r\nContent-Length: {BODY_BYTES}\r\n\r\n{{");
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = served.connect(&served.trusted).await.unwrap();
        stream.write_all(announced.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let good = request("POST", PATH, &review().to_string());
    assert_eq!(timeout(PROGRESS, served.ask(&good)).await.unwrap().0, 200);
    for mut stream in held {
        assert_eq!(answer(&mut stream).await.unwrap().0, 408);
        assert_eq!(answer(&mut stream).await, None, "and whoever sent it is sent away");
    }
}

#[tokio::test]
async fn at_the_end_late_requests_are_answered_and_then_no_more() {
    let served = start().await;
    let good = request("POST", PATH, &review().to_string());
    let [mut idle, mut busy] =
        [served.connect(&served.trusted).await, served.connect(&served.trusted).await].map(Result::unwrap);
    for stream in [&mut idle, &mut busy] {
        stream.write_all(&good).await.unwrap();
        assert_eq!(answer(stream).await.unwrap().0, 200);
    }
    served.end.request();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(served.ask(&good).await.0, 200, "API servers come until they have learned of the end");
    // A connection that is still in use is answered once more, and its client told to open the next one elsewhere.
    busy.write_all(&good).await.unwrap();
    assert_eq!(answer(&mut busy).await.unwrap().0, 200);
    let closed = timeout(Duration::from_millis(500), busy.read(&mut [0; 1])).await;
    assert_eq!(closed.expect("closed after its answer").unwrap_or(0), 0);
    let Served { ended, address, .. } = served;
    timeout(Duration::from_secs(10), ended).await.unwrap().unwrap().unwrap();
    assert_eq!(answer(&mut idle).await, None);
    assert!(TcpStream::connect(address).await.is_err());
}

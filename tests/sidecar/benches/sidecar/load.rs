//! Load on a fixed schedule: a request that is late because the one before it was slow counts from when it was due.

use crate::contender::Contender;
use countersign_sidecar_tests::http::{Request, Tls};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How much.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Requests per second, over all connections.
    pub(crate) rate: u32,
    /// For how long.
    pub(crate) time: Duration,
    /// How many connections.
    pub(crate) connections: usize,
}

/// What is asked, and where.
pub(crate) struct Target {
    address: SocketAddr,
    bytes: Arc<[u8]>,
    tls: Option<TlsConnector>,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Requests per second of the proxy's CPU time.
    pub(crate) per_core_second: f64,
    /// Median time from when a request was due.
    pub(crate) p50: Duration,
    /// 99th percentile of it.
    pub(crate) p99: Duration,
}

impl Target {
    /// This request, again and again.
    pub(crate) fn new(address: SocketAddr, request: &Request, tls: Option<Tls>) -> Self {
        let bytes = request.bytes(&address.to_string()).into();
        Self { address, bytes, tls: tls.map(|tls| TlsConnector::from(tls.config())) }
    }

    async fn connect(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(stream),
            Some(connector) => {
                let name = rustls::pki_types::ServerName::IpAddress(self.address.ip().into());
                Box::new(connector.connect(name, stream).await.unwrap())
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Load {
    /// One round against a proxy.
    pub(crate) fn run(self, contender: &Contender, target: &Target) -> Measured {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let each = self.connections;
        let total = self.rate * u32::try_from(self.time.as_secs()).unwrap();
        let rounds = total / u32::try_from(each).unwrap();
        let gap = Duration::from_secs(1) * u32::try_from(each).unwrap() / self.rate;
        runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..each {
                let mut stream = target.connect().await;
                send_request(&mut stream, &target.bytes).await;
                streams.push(stream);
            }
            let cpu = contender.cpu();
            let begin = Instant::now() + Duration::from_millis(50);
            let mut running = Vec::new();
            for (number, mut stream) in streams.into_iter().enumerate() {
                let bytes = Arc::clone(&target.bytes);
                let offset = gap * u32::try_from(number).unwrap() / u32::try_from(each).unwrap();
                running.push(tokio::spawn(async move {
                    let mut times = Vec::new();
                    for round in 0..rounds {
                        let due = begin + offset + gap * round;
                        tokio::time::sleep_until(due.into()).await;
                        send_request(&mut stream, &bytes).await;
                        times.push(due.elapsed());
                    }
                    times
                }));
            }
            let mut times = Vec::new();
            for one in running {
                times.extend(one.await.unwrap());
            }
            let used = contender.cpu().saturating_sub(cpu);
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100];
            let per_core_second = f64::from(rounds * u32::try_from(each).unwrap()) / used.as_secs_f64();
            Measured { per_core_second, p50: at(50), p99: at(99) }
        })
    }
}

/// One request, and its answer to the end.
async fn send_request(stream: &mut Box<dyn Stream>, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let (mut read, mut buffer) = (0, [0; 8192]);
    let mut end = None;
    while end.is_none_or(|end| read < end) {
        let length = stream.read(&mut buffer[read..]).await.unwrap();
        assert!(length > 0, "the proxy closed a connection");
        read += length;
        if end.is_none()
            && let Some(head) = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n")
        {
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
            end = Some(head + 4 + 1024);
        }
    }
}

/// The middle one by requests per core-second.
pub(crate) fn median(results: &mut [Measured]) -> Measured {
    results.sort_by(|one, other| one.per_core_second.total_cmp(&other.per_core_second));
    results[results.len() / 2]
}

/// Connections that asked once and wait for their next request.
pub(crate) fn idle_connections(address: SocketAddr, count: usize) -> Vec<std::net::TcpStream> {
    use std::io::{Read, Write};
    let request = Request::new("GET", "/healthz").bytes(&address.to_string());
    let open = || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&request).unwrap();
        let (mut read, mut buffer) = (0, [0; 4096]);
        while read < 1024 {
            read += stream.read(&mut buffer).unwrap();
        }
        stream
    };
    (0..count).map(|_| open()).collect()
}

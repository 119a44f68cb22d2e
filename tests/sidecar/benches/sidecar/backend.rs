//! The server behind the proxies: answers to requests without bodies, as cheaply as possible, on a thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The path of an answer of [`BIG_BYTES`], which needs no token.
pub(crate) const BIG: &str = "/.well-known/big";
/// The path of an answer that comes after [`HELD`].
pub(crate) const LATE: &str = "/late";
/// Length of every other answer, in bytes.
pub(crate) const ANSWER_BYTES: usize = 1024;

const BIG_BYTES: usize = 1024 * 1024;
const HELD: Duration = Duration::from_mins(2);
/// Send buffer of a connection, in bytes: answers that nobody takes must not fill the memory of the kernel.
const SEND_BUFFER: u32 = 64 * 1024;

/// The running server.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    held: Arc<AtomicUsize>,
}

impl Server {
    /// Starts it for as long as the process lives.
    pub(crate) fn start() -> Self {
        let (told, address) = std::sync::mpsc::channel();
        let held = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Answers {
            held: Arc::clone(&held),
            small: answer(ANSWER_BYTES),
            big: (first_line(BIG), answer(BIG_BYTES)),
            late: first_line(LATE),
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_send_buffer_size(SEND_BUFFER).unwrap();
                socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                let listener = socket.listen(4096).unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(Arc::clone(&answers).serve(stream));
                }
            });
        });
        Self { address: address.recv().unwrap(), held }
    }

    /// How many requests wait for their answer.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

struct Answers {
    held: Arc<AtomicUsize>,
    small: Vec<u8>,
    /// How a request for the big answer begins, and that answer.
    big: (Vec<u8>, Vec<u8>),
    /// How a request for the late answer begins.
    late: Vec<u8>,
}

fn first_line(path: &str) -> Vec<u8> {
    format!("GET {path} ").into_bytes()
}

fn answer(bytes: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes)).into_bytes()
}

impl Answers {
    /// Requests one after the other.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&buffer[..length]),
            }
            while let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let (first_line, big) = &self.big;
                let answer = if read.starts_with(first_line) { big } else { &self.small };
                if read.starts_with(&self.late) && !self.holds(&mut stream).await {
                    return;
                }
                read.drain(..end + 4);
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Waits; false if the other side has hung up meanwhile.
    async fn holds(&self, stream: &mut TcpStream) -> bool {
        self.held.fetch_add(1, Ordering::Relaxed);
        let waited = tokio::time::timeout(HELD, stream.read(&mut [0; 1])).await;
        self.held.fetch_sub(1, Ordering::Relaxed);
        waited.is_err()
    }
}

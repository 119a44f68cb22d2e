//! One connection, plain or TLS, that can be written to and read from in any order.
//! Reading waits at most half a minute, so that a test ends where a server does not answer.

use super::reply::{Framing, Reply};
use super::{Request, Tls};
use anyhow::{Context, Result, bail};
use rustls::{ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(2);

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection to a server.
pub struct Connection {
    stream: Stream,
    host: String,
    /// What was read and not used yet.
    waiting: Vec<u8>,
}

impl Connection {
    /// Connects to `address` (`127.0.0.1:80`).
    pub fn open(address: &str) -> Result<Self> {
        let tcp = TcpStream::connect(address).with_context(|| format!("no connection to {address}"))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        Ok(Self { stream: Stream::Plain(tcp), host: address.to_owned(), waiting: Vec::new() })
    }

    /// Connects to `address` from another address of this machine, such as `127.0.0.2`: as another peer.
    pub fn open_from(source: &str, address: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tcp = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source.parse()?, 0))?;
            Ok::<_, anyhow::Error>(socket.connect(address.parse()?).await?.into_std()?)
        })?;
        tcp.set_nonblocking(false)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        Ok(Self { stream: Stream::Plain(tcp), host: address.to_owned(), waiting: Vec::new() })
    }

    /// Connects to `address` and finishes the TLS handshake. With TLS 1.3 a server judges a client's
    /// certificate after that: a refusal shows when something is read.
    pub fn open_tls(address: &str, tls: &Tls) -> Result<Self> {
        let mut connection = Self::open(address)?;
        let Stream::Plain(mut tcp) = connection.stream else { bail!("a connection begins plain") };
        let mut session = tls.session()?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp).with_context(|| format!("no TLS with {address}"))?;
        }
        connection.stream = Stream::Tls(Box::new(StreamOwned::new(session, tcp)));
        Ok(connection)
    }

    /// The certificate that the server showed, in DER; none without TLS.
    pub fn server_certificate(&self) -> Option<Vec<u8>> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => Some(tls.conn.peer_certificates()?.first()?.to_vec()),
        }
    }

    /// Sends a request and reads its final answer.
    pub fn send(&mut self, request: &Request) -> Result<Reply> {
        let bytes = request.bytes(&self.host);
        self.write(&bytes)?;
        loop {
            let reply = self.read_reply(request.is_head())?;
            if reply.status == 101 || reply.status >= 200 {
                return Ok(reply);
            }
        }
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stream: &mut dyn Write = match &mut self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls,
        };
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// Says that nothing more will be written.
    pub fn finish_writing(&mut self) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => Ok(tcp.shutdown(Shutdown::Write)?),
            Stream::Tls(tls) => {
                tls.conn.send_close_notify();
                Ok(tls.flush()?)
            }
        }
    }

    /// Reads the next answer, be it interim; `head` says that it answers a `HEAD`.
    pub fn read_reply(&mut self, head: bool) -> Result<Reply> {
        let line_end = b"\r\n\r\n";
        let mut reply = Reply::parse(&self.read_until(line_end)?)?;
        match reply.framing(head)? {
            Framing::None => {}
            Framing::Length(length) => reply.body = self.read_exactly(length)?,
            Framing::UntilEnd => reply.body = self.read_rest(PATIENCE)?,
            Framing::Chunks => loop {
                let size = self.read_until(b"\r\n")?;
                let size = String::from_utf8_lossy(&size);
                let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
                if size == 0 {
                    while self.read_until(b"\r\n")?.len() > 2 {}
                    break;
                }
                reply.body.extend(self.read_exactly(size)?);
                self.read_exactly(2)?;
            },
        }
        Ok(reply)
    }

    /// Reads up to and with `mark`.
    pub fn read_until(&mut self, mark: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.waiting.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.waiting.drain(..at + mark.len()).collect());
            }
            if self.read_more()? == 0 {
                bail!("the connection ended after {:?}", String::from_utf8_lossy(&self.waiting));
            }
        }
    }

    /// Reads so many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.waiting.len() < count {
            if self.read_more()? == 0 {
                bail!("the connection ended after {} of {count} bytes", self.waiting.len());
            }
        }
        Ok(self.waiting.drain(..count).collect())
    }

    /// Reads what comes until the other side closes, resets, or is silent for so long.
    pub fn read_rest(&mut self, silence: Duration) -> Result<Vec<u8>> {
        self.set_patience(silence)?;
        loop {
            match self.read_more() {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.set_patience(PATIENCE)?;
        Ok(std::mem::take(&mut self.waiting))
    }

    /// True if the other side closes or resets the connection within so long, whatever it sends before.
    pub fn is_closed_within(&mut self, limit: Duration) -> Result<bool> {
        self.set_patience(limit)?;
        let closed = loop {
            match self.read_some() {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        };
        self.set_patience(PATIENCE)?;
        Ok(closed)
    }

    fn set_patience(&mut self, limit: Duration) -> Result<()> {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        };
        Ok(tcp.set_read_timeout(Some(limit))?)
    }

    fn read_more(&mut self) -> Result<usize> {
        self.read_some().context("nothing could be read from the connection")
    }

    fn read_some(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(&mut buffer)?,
            Stream::Tls(tls) => tls.read(&mut buffer)?,
        };
        self.waiting.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

//! `agent ADDRESS FOLDER`: serves `FOLDER/<host>.json` as the card of every host that it is asked for.
//! A folder of that name means that the agent accepts and never answers; no file means
//! 404. What is in `FOLDER/<host>.raw` goes out as it is, headers and all, so that an agent can answer as badly as it likes.
//! Requests without the header `A2A-Version` get `FOLDER/<host>.unversioned` instead, if it is there.
//! `FOLDER/<host>@<address>.json` is the card for those who connect to this address, where the agent has several.
//! What is posted is appended to `FOLDER/posted`, and a byte to `FOLDER/<host>.asked` (and to
//! `FOLDER/<host>@<address>.asked`) for each time that a card was asked for, where the folder can be written.
//! With a third argument, a folder with `svid.pem`, `key.pem` and `bundle.pem`, it serves over mutual TLS: a client
//! must show a certificate of the bundle.
//! Enough of HTTP/1.1 for one request per connection, so that it runs in an image without a shell.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, folder, tls) = match arguments.as_slice() {
        [address, folder] => (address, folder, None),
        [address, folder, identity] => (address, folder, Some(Arc::new(configure(Path::new(identity))?))),
        _ => return Err(Error::other("usage: agent ADDRESS FOLDER [IDENTITY]")),
    };
    let listener = TcpListener::bind(address)?;
    let folder = PathBuf::from(folder);
    for stream in listener.incoming() {
        let (stream, folder, tls) = (stream?, folder.clone(), tls.clone());
        std::thread::spawn(move || serve(stream, &folder, tls));
    }
    Ok(())
}

fn serve(stream: TcpStream, folder: &Path, tls: Option<Arc<ServerConfig>>) -> std::io::Result<()> {
    let address = stream.local_addr()?.ip().to_string();
    let Some(tls) = tls else { return answer(stream, folder, &address) };
    let mut stream = StreamOwned::new(ServerConnection::new(tls).map_err(Error::other)?, stream);
    answer(&mut stream, folder, &address)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Mutual TLS as the files of a folder say.
fn configure(folder: &Path) -> std::io::Result<ServerConfig> {
    let certificates = |name| {
        let read = CertificateDer::pem_file_iter(folder.join(name)).map_err(Error::other)?;
        read.collect::<Result<Vec<_>, _>>().map_err(Error::other)
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("bundle.pem")?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(Error::other)?;
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_client_cert_verifier(clients.build().map_err(Error::other)?)
        .with_single_cert(certificates("svid.pem")?, key)
        .map_err(Error::other)
}

fn answer(stream: impl Read + Write, folder: &Path, address: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut host, mut length, mut is_versioned) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(Error::other)?;
        }
        is_versioned |= line.to_ascii_lowercase().starts_with("a2a-version:");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("host:") {
            // One file per agent: the first two labels are the Service and its namespace.
            let value = value.trim().split(':').next().unwrap_or_default();
            host = value.split('.').take(2).collect::<Vec<_>>().join(".");
        }
    }
    if length > 0 {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut posted = std::fs::File::options().create(true).append(true).open(folder.join("posted"))?;
        posted.write_all(&body)?;
        let mut stream = reader.into_inner();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        return stream.flush();
    }
    for asked in [format!("{host}.asked"), format!("{host}@{address}.asked")] {
        // In an image the folder may belong to somebody else.
        let file = std::fs::File::options().create(true).append(true).open(folder.join(asked));
        let _ = file.and_then(|mut file| file.write_all(b"."));
    }
    let own = folder.join(format!("{host}@{address}.json"));
    let file = if own.exists() { own } else { folder.join(format!("{host}.json")) };
    if file.is_dir() {
        std::thread::sleep(Duration::from_hours(1));
    }
    let unversioned = folder.join(format!("{host}.unversioned"));
    let raw =
        if !is_versioned && unversioned.exists() { unversioned } else { folder.join(format!("{host}.raw")) };
    if let Ok(answer) = std::fs::read(raw) {
        let mut stream = reader.into_inner();
        stream.write_all(&answer)?;
        return stream.flush();
    }
    let (status, body) = match std::fs::read(file).or_else(|_| std::fs::read(folder.join("card.json"))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let mut stream = reader.into_inner();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)?;
    stream.flush()
}

//! What a test asks of the wire. `wire get URL` sends one request over plain HTTP, through the proxy that `HTTP_PROXY`
//! names if there is one, and prints status line and body. `wire capture PORT FILE` writes the payloads of all TCP segments to
//! and from PORT that cross any interface of its network namespace to FILE, until it is stopped.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// `ETH_P_ALL` of `linux/if_ether.h` in network byte order. A bridge takes frames before whoever asks for IPv4 alone.
const ALL: i32 = 0x0300;
/// Number of TCP in an IPv4 header.
const TCP: u8 = 6;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["get", url] => get(url),
        ["capture", port, file] => capture(port.parse().map_err(Error::other)?, file),
        _ => Err(Error::other("usage: wire get URL | wire capture PORT FILE")),
    }
}

fn get(url: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").ok_or_else(|| Error::other("an http:// URL"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let proxy = std::env::var("HTTP_PROXY").ok();
    let (address, target) = match &proxy {
        Some(proxy) => (proxy.trim_start_matches("http://"), url.to_owned()),
        None => (authority, format!("/{path}")),
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    std::io::stdout().write_all(&answer)
}

fn capture(port: u16, file: &str) -> Result<()> {
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(ALL)))?;
    let mut to = std::fs::File::create(file)?;
    let mut packet = vec![0; 1 << 16];
    loop {
        let length = socket.read(&mut packet)?;
        if let Some(payload) = packet.get(..length).and_then(|packet| payload(packet, port)) {
            to.write_all(payload)?;
        }
    }
}

/// Payload of a TCP segment to or from `port` in an IPv4 packet (RFC 791, RFC 9293).
fn payload(packet: &[u8], port: u16) -> Option<&[u8]> {
    let words = |byte: u8| usize::from(byte) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let segment = packet.get(words(packet.first()? & 0x0f)..total)?;
    let is_v4 = packet.first()? >> 4 == 4;
    let ports = [segment.get(..2)?, segment.get(2..4)?];
    if !is_v4 || *packet.get(9)? != TCP || !ports.contains(&port.to_be_bytes().as_slice()) {
        return None;
    }
    segment.get(words(segment.get(12)? >> 4)..)
}

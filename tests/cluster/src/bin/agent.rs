//! `agent ADDRESS FOLDER`: serves `FOLDER/<host>.json` as the card of every host that it is asked for.
//! A folder of that name means that the agent accepts and never answers; no file means 404. What is in
//! `FOLDER/<host>.raw` goes out as it is, headers and all, so that an agent can answer as badly as it likes.
//! Enough of HTTP/1.1 for one request per connection, so that it runs in an image without a shell.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder] = arguments.as_slice() else {
        return Err(std::io::Error::other("usage: agent ADDRESS FOLDER"));
    };
    let listener = TcpListener::bind(address)?;
    let folder = PathBuf::from(folder);
    for stream in listener.incoming() {
        let (stream, folder) = (stream?, folder.clone());
        std::thread::spawn(move || answer(stream, &folder));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut host = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("host:") {
            // One file per agent: the first two labels are the Service and its namespace.
            let value = value.trim().split(':').next().unwrap_or_default();
            host = value.split('.').take(2).collect::<Vec<_>>().join(".");
        }
    }
    let file = folder.join(format!("{host}.json"));
    if file.is_dir() {
        std::thread::sleep(Duration::from_secs(3600));
    }
    if let Ok(answer) = std::fs::read(folder.join(format!("{host}.raw"))) {
        return stream.write_all(&answer);
    }
    let (status, body) = match std::fs::read(file).or_else(|_| std::fs::read(folder.join("card.json"))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

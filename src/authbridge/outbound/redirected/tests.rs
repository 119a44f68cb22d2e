//! An open tunnel holds nothing of the configuration that opened it.

use super::*;
use crate::config::{Checked, Reading, parse_config};
use crate::events::SessionStore;
use crate::identity::WorkloadIdentity;
use crate::process_state::{Epochs, ProcessState, session_bounds};
use crate::runtime_config::ActiveConfig;
use crate::serve::{Bounds, Listeners};
use crate::stats::Stats;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::sleep;

const TEXT: &str = "mode: proxy-sidecar
listener: {reverse_proxy_backend: 'http://127.0.0.1:8001'}
pipeline: {dangerously_allow_unauthenticated: true}
";
const LONG: Duration = Duration::from_secs(5);

fn checked() -> Checked {
    parse_config(TEXT, &|_| None, Reading::Strict).unwrap()
}

fn process_state(stats: &Stats) -> ProcessState {
    ProcessState {
        identity: WorkloadIdentity::new(),
        store: SessionStore::new(session_bounds(&checked().config)),
        stats: stats.clone(),
        epochs: Epochs::default(),
    }
}

/// A server that answers each byte with itself; its address.
async fn echo() -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    at
}

async fn answers(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).await.unwrap();
    let mut read = vec![0; bytes.len()];
    timeout(LONG, client.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(read, bytes);
}

/// `ClientHello` that names nobody.
fn hello() -> Vec<u8> {
    let suites_and_extensions = [0, 0, 2, 0x13, 1, 1, 0, 0, 0];
    [&[22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3][..], &[7; 32], &suites_and_extensions].concat()
}

#[tokio::test]
async fn an_open_tunnel_keeps_no_configuration_that_was_replaced() {
    for is_tls in [true, false] {
        let (stats, destination, first) = (Stats::new(), echo().await, hello());
        let process = process_state(&stats);
        let runtime = RuntimeConfig::new(&checked(), &process, None).unwrap();
        let active = ActiveConfig::new(runtime, process.epochs.clone());
        let (_end, stop) = countersign_io::shutdown::channel();
        let handler = Arc::new(OutboundHandler::new(active.clone(), stats.clone(), stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(async move {
            let serve = |stream, arrival| {
                let (handler, stream) = (Arc::clone(&handler), Prefixed::new(stream));
                async move {
                    if is_tls {
                        handler.pass_tls(stream, arrival, destination).await;
                    } else {
                        handler.pass_other(stream, arrival, destination).await;
                    }
                }
            };
            let listeners = Listeners::new("test", || Bounds::new((9, 9), 1 << 24, 9), stats);
            listeners.run(listener, stop, Duration::ZERO, serve).await;
        });
        answers(&mut client, if is_tls { &first } else { b"a" }).await;
        let old = Arc::downgrade(&active.current());
        active.replace(RuntimeConfig::new(&checked(), &process, old.upgrade().as_deref()).unwrap());
        let is_gone = async {
            while old.upgrade().is_some() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, is_gone).await.expect("the tunnel keeps it");
        answers(&mut client, b"b").await;
    }
}

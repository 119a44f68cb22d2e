//! Uploads over HTTP/2 while memory is taken.

use super::*;
use crate::body::ProxyBody;
use crate::serve::{Arrival, Connection, Handler, Listeners, Prefixed, Times, TunnelTimes, serve_http};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct Uploads(watch::Receiver<u64>);

impl Handler for Uploads {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<ProxyBody> {
        let ticket = connection.ticket();
        let _ = request.into_body().collect().await;
        Response::new(ProxyBody::full("done")).map(|body| body.answers(ticket))
    }
    fn epochs(&self) -> watch::Receiver<u64> {
        self.0.clone()
    }
    fn is_over(&self, _: &Connection) -> bool {
        false
    }
    fn is_cut(&self, _: &Connection) -> bool {
        false
    }
}

/// HEADERS of a request with these flags; 4 is `END_HEADERS`, 1 `END_STREAM`.
fn head(flags: u8, stream: u8) -> Vec<u8> {
    vec![0, 0, 6, 1, flags, 0, 0, 0, stream, 0x83, 0x84, 0x86, 0x41, 1, b'a']
}

#[tokio::test]
async fn an_upload_under_way_is_not_ended_for_memory() {
    let (_keep, epochs) = watch::channel(0);
    let handler = Arc::new(Uploads(epochs));
    let times = Times {
        header: Duration::from_millis(500),
        idle: LONG,
        tunnel: TunnelTimes { idle: LONG, half_closed: LONG, keepalive: LONG },
    };
    let (_end, stop) = countersign_io::shutdown::channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (told, mut arrivals) = tokio::sync::mpsc::unbounded_channel::<Crowd>();
    tokio::spawn(async move {
        let serve = |stream, arrival: Arrival| {
            let handler = Arc::clone(&handler);
            let _ = told.send(arrival.place.crowd.clone());
            async move {
                let connection = Arc::new(Connection::to_agent(arrival, None, None, 0));
                serve_http(Prefixed::new(stream), connection, handler, times).await;
            }
        };
        let bounds = || Bounds { connections: 99, per_peer: 99, heads: 200, waiting: 16, calls: 99 };
        Listeners::new("test", bounds, Stats::new()).run(listener, stop, Duration::ZERO, serve).await;
    });
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(&[PREFACE, &head(5, 1)].concat()).await.unwrap();
        clients.push(client);
    }
    let crowd = arrivals.recv().await.unwrap();
    let mut read = vec![0; 4096];
    for client in &mut clients {
        while timeout(Duration::from_millis(50), client.read(&mut read)).await.is_ok() {}
    }
    // Each has a request under way now, of which the body is to come.
    for client in &mut clients {
        client.write_all(&head(4, 3)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Memory is full, and somebody else has the turn.
    let other = crowd.enter(from("10.0.0.9")).unwrap();
    let mut full = Vec::new();
    while crowd.with(|members| members.half_read_units()) < 200 {
        full.push(other.read(HeadCost::One, LONG).await.unwrap());
    }
    let _turn = crowd.0.turns.turn(other.peer).await;
    for client in &mut clients {
        client.write_all(&[0, 0, 1, 0, 1, 0, 0, 0, 3, b'x']).await.unwrap();
    }
    let mut ended = 0;
    for client in &mut clients {
        let mut all = Vec::new();
        while let Ok(Ok(count @ 1..)) = timeout(Duration::from_secs(1), client.read(&mut read)).await {
            all.extend_from_slice(&read[..count]);
        }
        if !all.windows(4).any(|window| window == b"done") {
            ended += 1;
        }
    }
    assert_eq!(ended, 0, "of 10 uploads were ended");
}

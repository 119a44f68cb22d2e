//! A connection of HTTP/2 as a client sees it.

use super::*;
use crate::serve::{Bounds, Listeners};
use crate::stats::Stats;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct Slow {
    epochs: watch::Receiver<u64>,
    units: Mutex<Vec<u64>>,
}

impl Handler for Slow {
    async fn handle(
        self: Arc<Self>,
        _: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<ProxyBody> {
        let ticket = connection.ticket();
        sleep(Duration::from_millis(20)).await;
        self.units.lock().unwrap().push(connection.pending.units());
        Response::new(ProxyBody::full("ok")).map(|body| body.answers(ticket))
    }
    fn epochs(&self) -> watch::Receiver<u64> {
        self.epochs.clone()
    }
    fn is_over(&self, _: &Connection) -> bool {
        false
    }
    fn is_cut(&self, _: &Connection) -> bool {
        false
    }
}

fn get(stream: u8) -> Vec<u8> {
    vec![0, 0, 6, 1, 5, 0, 0, 0, stream, 0x82, 0x84, 0x86, 0x41, 1, b'a']
}

#[tokio::test]
async fn a_connection_does_not_rest_while_a_request_is_under_way() {
    let (_keep, epochs) = watch::channel(0);
    let handler = Arc::new(Slow { epochs, units: Mutex::default() });
    let long = Duration::from_mins(1);
    let times = Times {
        header: long,
        idle: long,
        tunnel: TunnelTimes { idle: long, half_closed: long, keepalive: long },
    };
    let (_end, stop) = countersign_io::shutdown::channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (seen, stats) = (Arc::clone(&handler), Stats::new());
    tokio::spawn(async move {
        let serve = |stream, arrival| {
            let handler = Arc::clone(&handler);
            async move {
                let connection = Arc::new(Connection::to_agent(arrival, None, None, 0));
                serve_http(Prefixed::new(stream), connection, handler, times).await;
            }
        };
        let listeners = Listeners::new("test", || Bounds::new((9, 9), 1 << 24, 9), stats);
        listeners.run(listener, stop, Duration::ZERO, serve).await;
    });
    client.write_all(PREFACE).await.unwrap();
    let mut read = vec![0; 4096];
    for number in 0..20_u8 {
        client.write_all(&get(2 * number + 1)).await.unwrap();
        // It is answered, and rests.
        while timeout(Duration::from_millis(100), client.read(&mut read)).await.is_ok() {}
    }
    let units = seen.units.lock().unwrap().clone();
    assert_eq!(units, vec![8; 20], "while a request is under way");
}

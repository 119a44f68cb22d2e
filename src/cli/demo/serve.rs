//! The HTTP server of an agent: serves one card on the loopback address.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server, which stops on drop.
pub(super) struct Server {
    port: u16,
    task: JoinHandle<()>,
}

impl Server {
    /// The TCP port of the server.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server on a free port.
pub(super) async fn start(card: Vec<u8>) -> std::io::Result<Server> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let answer = move || async move { ([(CONTENT_TYPE, "application/json")], card) };
    let routes = Router::new().route("/.well-known/agent-card.json", get(answer));
    let task = tokio::spawn(async move {
        // If the server fails, the fetch fails and its card is refused, which shows the problem.
        let _ = axum::serve(listener, routes).await;
    });
    Ok(Server { port, task })
}

//! An agent as far as a verifier sees it: an HTTP server on the loopback address that serves one card.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running agent; it ends when this is dropped.
pub(super) struct Server {
    port: u16,
    task: JoinHandle<()>,
}

impl Server {
    /// The port that it listens on.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts an agent on a free port.
pub(super) async fn start(card: Vec<u8>) -> std::io::Result<Server> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let answer = move || async move { ([(CONTENT_TYPE, "application/json")], card) };
    let routes = Router::new().route("/.well-known/agent-card.json", get(answer));
    let task = tokio::spawn(async move {
        // An agent that stops serving shows as a refusal of its card.
        let _ = axum::serve(listener, routes).await;
    });
    Ok(Server { port, task })
}

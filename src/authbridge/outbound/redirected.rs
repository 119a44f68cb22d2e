//! Redirected connections that are passed on unread: TLS by the name in its first message, and every other protocol than
//! HTTP/1 by its destination alone.

use super::connect::Target;
use super::exchange::NAME;
use super::handler::{OutboundHandler, decide_redirected};
use super::lease::{Passes, Redirected};
use super::opening::{OPENING_BYTES, Opening, parse_opening};
use super::routes::{RouteDecision, TokenAction};
use super::rules::Routing;
use crate::client_hello::{CLIENT_HELLO_BYTES, Hello, parse_client_hello};
use crate::config::RouteTls;
use crate::denial::{Code, Denial};
use crate::host::Host;
use crate::runtime_config::RuntimeConfig;
use crate::serve::{Arrival, Begins, Connection, Handler, Prefixed, Stream, TunnelTimes, falls, join};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What comes first on a connection whose client was silent at the beginning.
pub(super) enum First {
    /// The client began, with this protocol.
    Client(Begins),
    /// The server did, and everything was passed on until the end; or the connection is over for another reason.
    Over,
}

impl OutboundHandler {
    /// Tunnels a redirected TLS connection to its original destination, if the route for the name in its `ClientHello`
    /// allows that. TLS is not terminated, so no token can be added.
    pub(super) async fn pass_tls(
        &self,
        stream: Prefixed<TcpStream>,
        arrival: Arrival,
        destination: SocketAddr,
    ) {
        let patience = self.runtime().times().header;
        let Some((mut stream, name)) = server_name(stream, patience).await else { return };
        let connection = Connection::of_agent(arrival, Some(destination));
        // Boxed, so that an open tunnel does not reserve the state of its opening.
        let host = name.clone().unwrap_or_else(|| destination.ip().to_string());
        match Box::pin(self.open_tls(name, destination, &connection)).await {
            Ok(times) => connection.run_tunnel(&mut stream, times, self.epochs()).await,
            Err(denial) => self.refused(&denial, &host),
        }
    }

    /// Opens the tunnel by the configuration of now: a client that stayed silent must not use rules that were replaced
    /// meanwhile. Only its times are kept, as what is open for hours must not keep a configuration with its tasks.
    async fn open_tls(
        &self,
        name: Option<String>,
        destination: SocketAddr,
        connection: &Connection,
    ) -> Result<TunnelTimes, Denial> {
        let runtime = self.runtime();
        let routing = runtime.outbound.routing();
        let host = match name {
            None => Host::of(destination.ip()),
            Some(name) => Host::parse(&name).map_err(|why| Denial::new(Code::BadRequest, why))?,
        };
        let mut target = Target { host, port: destination.port(), address: Some(destination) };
        let (decision, redirected) = decide_redirected(&routing.table, &mut target, destination).await;
        let to = (target, Some(redirected), Passes::Unread);
        self.tunnel(&runtime, &routing, to, &decision, connection).await?;
        Ok(runtime.times().tunnel)
    }

    /// Tunnels a redirected connection of another protocol to its destination, if the routes allow that address: nothing in
    /// the bytes is a name that could be compared.
    pub(super) async fn pass_other(
        &self,
        mut stream: Prefixed<TcpStream>,
        arrival: Arrival,
        destination: SocketAddr,
    ) {
        let connection = Connection::of_agent(arrival, Some(destination));
        match Box::pin(self.open_other(destination, &connection)).await {
            Ok(times) => {
                self.passes_other(destination);
                connection.run_tunnel(&mut stream, times, self.epochs()).await;
            }
            Err(denial) => self.refused(&denial, &destination.ip().to_string()),
        }
    }

    /// As [`Self::open_tls`], by the address alone.
    async fn open_other(
        &self,
        destination: SocketAddr,
        connection: &Connection,
    ) -> Result<TunnelTimes, Denial> {
        let runtime = self.runtime();
        let routing = runtime.outbound.routing();
        let (target, decision) = by_address(&routing, destination);
        stays_plain(&runtime, &decision)?;
        let to = (target, Some(Redirected::unnamed(destination)), Passes::Unencrypted);
        self.tunnel(&runtime, &routing, to, &decision, connection).await?;
        Ok(runtime.times().tunnel)
    }

    /// Waits for the first bytes of either side of a connection whose client is silent. Protocols in which the server begins
    /// need a server for that; a client that begins after all is treated as if it had begun at once.
    pub(super) async fn first(
        &self,
        stream: &mut Prefixed<TcpStream>,
        arrival: &Arrival,
        destination: SocketAddr,
    ) -> First {
        let times = self.runtime().times();
        let Some(mut server) = self.open(destination).await else {
            // Not refused yet: the client may speak HTTP, whose rules are others.
            return match timeout(times.header, stream.begins()).await {
                Ok(Ok(begins)) => First::Client(begins),
                _ => First::Over,
            };
        };
        let mut bytes = [0; 4096];
        let read = tokio::select! {
            begins = timeout(times.idle, stream.begins()) => {
                return begins.ok().and_then(Result::ok).map_or(First::Over, First::Client);
            }
            read = server.read(&mut bytes) => read.ok().filter(|read| *read > 0),
        };
        // Asked again: the rules may have been replaced while both were silent.
        if let Some(greeting) = read.and_then(|read| bytes.get(..read)).filter(|_| self.may_pass(destination))
        {
            self.passes_other(destination);
            let _ticket = arrival.place.pending.ticket();
            if stream.write_all(greeting).await.is_ok() {
                let stands = || self.may_pass(destination);
                tokio::select! {
                    () = join(stream, &mut server, None, times.tunnel) => {}
                    () = falls(Some(&stands), self.epochs()) => {}
                }
            }
        }
        First::Over
    }

    /// Connects to an address, if the rules for addresses allow that; nothing is counted, because it may not be used.
    async fn open(&self, destination: SocketAddr) -> Option<Box<dyn Stream>> {
        if !self.may_pass(destination) {
            return None;
        }
        let runtime = self.runtime();
        let routing = runtime.outbound.routing();
        let (target, decision) = by_address(&routing, destination);
        runtime
            .outbound
            .dialer(&routing, target, RouteTls::Plain, &decision)
            .connect()
            .await
            .ok()
            .map(|(stream, _)| stream)
    }

    /// True if the rules for addresses let bytes pass that are not read.
    fn may_pass(&self, destination: SocketAddr) -> bool {
        let runtime = self.runtime();
        let (_, decision) = by_address(&runtime.outbound.routing(), destination);
        matches!(decision.token, TokenAction::Keep { .. }) && stays_plain(&runtime, &decision).is_ok()
    }

    /// Counts a connection that is passed on unread, and tells its destination once.
    fn passes_other(&self, destination: SocketAddr) {
        self.stats.outbound.other_protocol.inc();
        if self.told.is_new(destination) {
            tracing::info!(
                %destination,
                "a connection that is neither HTTP/1.1 nor TLS is passed on unread, by the rules for its address"
            );
        }
    }

    fn refused(&self, denial: &Denial, host: &str) {
        self.stats.denied(denial.code);
        self.quiet.log_to(denial.code.text(), &denial.message, Some(host));
    }
}

/// The decision about a connection that names nobody.
fn by_address(routing: &Routing, destination: SocketAddr) -> (Target, RouteDecision) {
    let host = Host::of(destination.ip());
    let decision = routing.table.decide(&host);
    (Target { host, port: destination.port(), address: Some(destination) }, decision)
}

/// Refuses bytes that would go out unencrypted where the route, or `mtls.mode`, asks for TLS.
fn stays_plain(runtime: &RuntimeConfig, decision: &RouteDecision) -> Result<(), Denial> {
    if runtime.outbound.tls(decision) == RouteTls::Plain || decision.token == TokenAction::Deny {
        return Ok(());
    }
    let why = "this protocol goes out unencrypted; a route for its address with `tls: plain` allows that";
    Err(Denial::new(Code::Forbidden, why).by(NAME))
}

/// Tells HTTP/1 from other protocols, and puts the bytes back. Who does not end a first line in time speaks another one.
pub(super) async fn opening(
    stream: Prefixed<TcpStream>,
    patience: Duration,
) -> (Prefixed<TcpStream>, Opening) {
    let told = |read: &[u8]| match parse_opening(read) {
        Opening::Incomplete if read.len() < OPENING_BYTES => None,
        told => Some(told),
    };
    let (stream, told) = peek(stream, patience, 512, told).await;
    (stream, told.unwrap_or(Opening::Other))
}

/// Reads the server name of a `ClientHello`, and puts the bytes back; `None` if there is no whole hello in time.
async fn server_name(
    stream: Prefixed<TcpStream>,
    patience: Duration,
) -> Option<(Prefixed<TcpStream>, Option<String>)> {
    let told = |read: &[u8]| match parse_client_hello(read) {
        Hello::Name(name) => Some(Some(name)),
        Hello::Incomplete if read.len() < CLIENT_HELLO_BYTES => None,
        Hello::Incomplete | Hello::Other => Some(None),
    };
    let (stream, name) = peek(stream, patience, 2048, told).await;
    Some((stream, name.flatten()?))
}

/// Reads until `told` needs no more bytes, and puts them back; `None` if the client ends or takes longer than `patience`.
async fn peek<T>(
    mut stream: Prefixed<TcpStream>,
    patience: Duration,
    capacity: usize,
    told: impl Fn(&[u8]) -> Option<T>,
) -> (Prefixed<TcpStream>, Option<T>) {
    let mut read = Vec::with_capacity(capacity);
    let enough = async {
        loop {
            if let Some(told) = told(&read) {
                return Some(told);
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
    };
    let told = timeout(patience, enough).await.ok().flatten();
    (stream.push_back(&read), told)
}

#[cfg(test)]
mod tests;

//! Destination of a request, claimed and real: before a token is added, both must be the same server. Otherwise a
//! request could name a trusted host, be sent to another address, and carry the token there.

use super::exchange::NAME;
use super::grant::Granted;
use super::routes::TokenAction;
use super::rules::OutboundRules;
use crate::config::RouteTls;
use crate::denial::{Code, Denial};
use crate::host::Host;
use crate::limits::RESOLVE;
use crate::quiet::Quiet;
use crate::upgrade::WebSocket;
use hyper::Request;
use hyper::http::uri::Authority;
use std::net::SocketAddr;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// True if `address`, where the kernel says that a connection goes, is one of the addresses of `host`.
pub(super) async fn belongs(host: &Host, port: u16, address: SocketAddr) -> bool {
    let is_it = |found: SocketAddr| {
        (found.ip().to_canonical(), found.port()) == (address.ip().to_canonical(), address.port())
    };
    if let Some(host) = host.address() {
        return is_it(SocketAddr::new(host, port));
    }
    match timeout(RESOLVE, lookup_host((host.text(), port))).await {
        Ok(Ok(mut found)) => found.any(is_it),
        _ => false,
    }
}

/// Verifies that `address` is one of the addresses of `host`, which selects the token.
pub(super) async fn verify_destination(host: &Host, port: u16, address: SocketAddr) -> Result<(), Denial> {
    if belongs(host, port, address).await {
        Ok(())
    } else {
        let why = "the Host header names a server that is not at the address of this connection";
        Err(Denial::new(Code::Forbidden, why).by(NAME))
    }
}

impl OutboundRules {
    /// Decides about a `request` to `authority` that Envoy forwards to `destination`. The destination is read only if a
    /// token is added, because only then must Envoy be configured to tell it.
    pub(crate) async fn authorize(
        &self,
        authority: &Authority,
        destination: impl FnOnce() -> Result<SocketAddr, Denial> + Send,
        request: &Request<()>,
        quiet: &Quiet,
    ) -> Result<Granted, Denial> {
        let host = Host::parse(authority.host()).map_err(|why| Denial::new(Code::BadRequest, why))?;
        let decision = self.routing().table.decide(&host);
        // `server_spiffe_id` implies mTLS, so such a route is refused here too.
        if !matches!(decision.tls, None | Some(RouteTls::Plain)) {
            let why = "the route asks for TLS to the server; who connects here is Envoy, so its cluster must say so";
            return Err(Denial::new(Code::Forbidden, why).by(NAME));
        }
        if matches!(decision.token, TokenAction::Exchange(..) | TokenAction::Own(_)) {
            // `port_u16` is `None` for an absent port and for an invalid one; only the absent one is 80.
            let port = if authority.as_str() == authority.host() { Some(80) } else { authority.port_u16() };
            let port = port.ok_or_else(|| Denial::new(Code::BadRequest, "the target has no usable port"))?;
            verify_destination(&host, port, destination()?).await?;
        }
        self.grant_or_observe(&decision, request.headers(), WebSocket::requested(request), quiet).await
    }
}

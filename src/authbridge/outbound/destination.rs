//! Where a request says that it goes, and where it really goes: before a token is given, both must be the same server.

use super::exchange::NAME;
use super::grant::Granted;
use super::routes::{TokenAction, normalize_host};
use super::rules::OutboundRules;
use crate::config::RouteTls;
use crate::denial::{Code, Denial};
use crate::quiet::Quiet;
use crate::upgrade::WebSocket;
use hyper::Request;
use hyper::http::uri::Authority;
use std::net::SocketAddr;
use tokio::net::lookup_host;

/// A redirected connection says by its Host header which token it gets, and the kernel says where it goes: `address`
/// must be one of that host's.
pub(super) async fn verify_destination(host: &str, port: u16, address: SocketAddr) -> Result<(), Denial> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let belongs = match lookup_host((bare, port)).await {
        Ok(mut found) => found.any(|found| found == address),
        Err(_) => false,
    };
    if belongs {
        Ok(())
    } else {
        let why = "the Host header names a server that is not at the address of this connection";
        Err(Denial::new(Code::Forbidden, why).by(NAME))
    }
}

impl OutboundRules {
    /// Judges a `request` that names `authority`, and that another proxy passes on to `destination`, which is asked for
    /// only where it matters.
    pub(crate) async fn authorize(
        &self,
        authority: &Authority,
        destination: impl FnOnce() -> Result<SocketAddr, Denial> + Send,
        request: &Request<()>,
        quiet: &Quiet,
    ) -> Result<Granted, Denial> {
        let host = normalize_host(authority.host());
        let decision = self.routing().table.decide(&host);
        // Also where a route says who the server is: that means mTLS.
        if !matches!(decision.tls, None | Some(RouteTls::Plain)) {
            let why = "the route asks for TLS to the server; who connects here is Envoy, so its cluster must say so";
            return Err(Denial::new(Code::Forbidden, why).by(NAME));
        }
        if matches!(decision.token, TokenAction::Exchange(..) | TokenAction::Own(_)) {
            // A port that is none is not an absent one, although both are `None`.
            let port = if authority.as_str() == authority.host() { Some(80) } else { authority.port_u16() };
            let port = port.ok_or_else(|| Denial::new(Code::BadRequest, "the target has no usable port"))?;
            verify_destination(&host, port, destination()?).await?;
        }
        match self.grant(&decision, request.headers()).await {
            // What is said on a WebSocket is judged by nobody, so that none is opened on trust.
            Err(denial) if self.observes && WebSocket::requested(request).is_none() => {
                quiet.log("a request would have been denied", &denial.message);
                Ok(Granted { authorization: None, did: ("observe", "denied") })
            }
            granted => granted,
        }
    }
}

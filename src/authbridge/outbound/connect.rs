//! Connections to servers: plain, with TLS by the roots of this machine, or with mTLS to an expected SPIFFE ID.

use super::happy_eyeballs::{first_of, plan_attempts};
use super::routes::{RouteDecision, Table};
use crate::config::RouteTls;
use crate::denial::DeniedAddress;
use crate::host::Host;
use crate::identity::{Snapshot, VerifiedPeer, WorkloadIdentity};
use crate::limits::{DIAL, DIAL_STAGGER, HANDSHAKE, RESOLVE};
use crate::peers::{PeerPolicy, namespace_of};
use crate::serve::{Stream, TunnelTimes};
use crate::stats::Stats;
use crate::tls::{mtls_client, system_client};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Server of a request; part of the key of a connection pool.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Name or address.
    pub(super) host: Host,
    /// TCP port.
    pub(super) port: u16,
    /// Original destination of a redirected connection, which is dialled instead of what the host resolves to.
    pub(super) address: Option<SocketAddr>,
}

/// Where a connection leads.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    /// Address that was connected to.
    pub(super) address: SocketAddr,
    /// Server that proved a SPIFFE ID by mTLS.
    pub(super) server: Option<Arc<VerifiedPeer>>,
}

/// Opener of connections to one server, by one route decision. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dialer {
    inner: Arc<DialerInner>,
}

struct DialerInner {
    target: Target,
    tls: RouteTls,
    expected: Option<Arc<PeerPolicy>>,
    identity: WorkloadIdentity,
    forbidden: Vec<u16>,
    table: Arc<Table>,
    stats: Stats,
    /// Made once, because it reads the root certificates of this machine.
    system: OnceLock<TlsConnector>,
    times: TunnelTimes,
}

impl Dialer {
    /// A dialer to `target`. `forbidden` are the sidecar's own ports on this machine: a request to one would loop, or
    /// reach the admin servers with the sidecar's loopback privilege. `table` denies addresses of the target.
    pub(super) fn new(
        target: Target,
        tls: RouteTls,
        decision: &RouteDecision,
        identity: &WorkloadIdentity,
        (forbidden, table): (Vec<u16>, Arc<Table>),
        (stats, times): (Stats, TunnelTimes),
    ) -> Self {
        let expected = decision.server.clone();
        let (identity, system) = (identity.clone(), OnceLock::new());
        Self {
            inner: Arc::new(DialerInner {
                target,
                tls,
                expected,
                identity,
                forbidden,
                table,
                stats,
                system,
                times,
            }),
        }
    }

    /// Opens a connection, with its handshake done.
    pub(super) async fn connect(&self) -> io::Result<(Box<dyn Stream>, Reached)> {
        self.inner.open().await
    }
}

/// The result of a step, which may take at most `limit`.
async fn within<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, step).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
    }
}

impl DialerInner {
    async fn open(&self) -> io::Result<(Box<dyn Stream>, Reached)> {
        let stream = self.tcp().await?;
        let reached = Reached { address: stream.peer_addr()?, server: None };
        let proven = Arc::default();
        let connector = match self.tls {
            RouteTls::Plain => return Ok((Box::new(stream), reached)),
            RouteTls::System => {
                if let Some(connector) = self.system.get() {
                    connector.clone()
                } else {
                    let made = system_client().map_err(io::Error::other)?;
                    self.system.get_or_init(|| made).clone()
                }
            }
            RouteTls::Mtls => {
                mtls_client(&self.identity, self.server()?, &proven).map_err(io::Error::other)?
            }
        };
        let name = ServerName::try_from(self.target.host.text().to_owned()).map_err(io::Error::other)?;
        match within(HANDSHAKE, connector.connect(name, stream)).await {
            Ok(stream) => {
                self.stats.tls.outbound_tls_succeeded.inc();
                let server = proven.get().cloned().map(Arc::new);
                Ok((Box::new(stream), Reached { server, ..reached }))
            }
            Err(error) => {
                self.stats.tls.outbound_failed.inc();
                Err(error)
            }
        }
    }

    fn server(&self) -> io::Result<PeerPolicy> {
        let own = self.identity.current().ok_or_else(|| io::Error::other("there is no identity yet"))?;
        Ok(expected_server(self.expected.as_ref(), &own, &self.target.host))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let Target { host, port, address } = &self.target;
        let addresses: Vec<SocketAddr> = match (address, host.address()) {
            (Some(address), _) => vec![*address],
            (None, Some(address)) => vec![SocketAddr::new(address, *port)],
            (None, None) => within(RESOLVE, lookup_host((host.text(), *port))).await?.collect(),
        };
        let mut allowed = Vec::with_capacity(addresses.len());
        let mut refused = None;
        for address in plan_attempts(&addresses) {
            match self.refuse(address) {
                Some(error) => refused = Some(error),
                None => allowed.push(address),
            }
        }
        if let Some(error) = refused.filter(|_| allowed.is_empty()) {
            return Err(error);
        }
        let stream =
            first_of(allowed, DIAL_STAGGER, |address| within(DIAL, TcpStream::connect(address))).await?;
        let _ = stream.set_nodelay(true);
        self.times.probe(&stream);
        Ok(stream)
    }

    /// Why no connection to this address is opened; `None` if one may be.
    fn refuse(&self, address: SocketAddr) -> Option<io::Error> {
        let Target { host, address: original, .. } = &self.target;
        if original.is_none() && self.table.denies_address(host, address.ip()) {
            self.stats.outbound.denied_by_route.inc();
            return Some(io::Error::other(DeniedAddress));
        }
        // An IPv4 address in an IPv6 one is not `is_loopback`, and connects all the same.
        let ip = address.ip().to_canonical();
        let here = ip.is_loopback() || ip.is_unspecified();
        (here && self.forbidden.contains(&address.port()))
            .then(|| io::Error::other("the address is the sidecar's own"))
    }
}

/// Policy for a server's SPIFFE ID: that of the `route`, or the default for the host.
pub(super) fn expected_server(route: Option<&Arc<PeerPolicy>>, own: &Snapshot, host: &Host) -> PeerPolicy {
    route.map_or_else(|| default_server(own.id(), host.text()), |expected| expected.as_ref().clone())
}

/// Returns the policy for the SPIFFE ID of a server whose route has no `server_spiffe_id`: every workload of the
/// namespace that `host` names. `tool.team1`, `tool.team1.svc` and `tool.team1.svc.cluster.local` name the namespace
/// `team1`; the single label `tool` names the namespace of `own`. If `host` is an IP address or a name of another form,
/// or `own` contains no namespace, the policy admits every workload of the trust domain.
fn default_server(own: &countersign_core::spiffe::SpiffeId, host: &str) -> PeerPolicy {
    let mut labels = host.split('.').skip(1);
    let namespace = match (labels.next(), labels.next()) {
        (None, _) => namespace_of(own),
        (Some(namespace), None | Some("svc")) => Some(namespace),
        (Some(_), Some(_)) => None,
    };
    let domain = own.trust_domain().clone();
    match namespace.filter(|_| namespace_of(own).is_some() && host.parse::<std::net::IpAddr>().is_err()) {
        Some(namespace) => PeerPolicy::namespace(domain, namespace.to_owned()),
        None => PeerPolicy::domain(domain),
    }
}

impl Service<Uri> for Dialer {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let (stream, reached) = dialer.connect().await?;
            Ok(Wire { stream: TokioIo::new(stream), reached })
        })
    }
}

/// Adapter of a stream to the traits that hyper's client needs of a connection.
pub(super) struct Wire {
    stream: TokioIo<Box<dyn Stream>>,
    reached: Reached,
}

impl Wire {
    /// The stream, and where it leads.
    pub(super) fn into_parts(self) -> (Box<dyn Stream>, Reached) {
        (self.stream.into_inner(), self.reached)
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::spiffe::SpiffeId;

    #[test]
    fn a_server_must_be_in_the_namespace_that_its_name_says() {
        let id = |text: &str| SpiffeId::parse(text).unwrap();
        let own = id("spiffe://a.org/ns/team1/sa/me");
        let team1 = id("spiffe://a.org/ns/team1/sa/tool");
        let team2 = id("spiffe://a.org/ns/team2/sa/tool");
        for (host, one, two) in [
            ("tool", true, false),
            ("tool.team1", true, false),
            ("tool.team2.svc", false, true),
            ("tool.team2.svc.cluster.local", false, true),
            ("tool.example.com", true, true),
            ("10.0.0.1", true, true),
        ] {
            let policy = default_server(&own, host);
            assert_eq!((policy.admits(&team1), policy.admits(&team2)), (one, two), "{host}");
            assert!(!policy.admits(&id("spiffe://b.org/ns/team1/sa/tool")), "{host}");
        }
    }
}

//! Connections to the agent that the kernel redirected here from the agent's own ports. They pass the same gate as those to the
//! reverse proxy, and go on to the port that the caller connected to.

use super::connection::serve;
use super::handler::InboundHandler;
use crate::config::Addresses;
use crate::serve::{Arrival, original_destination};
use hyper::http::uri::Authority;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Serves a redirected connection to its end, or closes one that must not be passed on.
pub(crate) async fn serve_redirected(inbound: Arc<InboundHandler>, stream: TcpStream, arrival: Arrival) {
    let agent = match stream.local_addr() {
        Ok(local) => {
            let addresses = &inbound.active.current().addresses;
            agent_behind(local, original_destination(&stream), addresses)
        }
        Err(_) => return,
    };
    match agent {
        Ok(agent) => serve(inbound, stream, arrival, agent).await,
        Err(why) => inbound.quiet.log("a connection was closed", why),
    }
}

/// Decides where a connection goes that arrived at `local` and was going to `destination`: to that port of the agent, or for
/// the reverse proxy's port (`None`) where the configuration says.
fn agent_behind(
    local: SocketAddr,
    destination: Option<SocketAddr>,
    addresses: &Addresses,
) -> Result<Option<Authority>, &'static str> {
    let destination = destination.ok_or("the kernel does not know where it was going")?;
    // Also for another address of the pod: the port is what leads back here.
    if destination.port() == local.port() {
        return Err("it was made to the transparent inbound listener itself, and not redirected");
    }
    // Otherwise a packet that a neighbour merely routes through this pod would make it call any address.
    if destination.ip().to_canonical() != local.ip().to_canonical() {
        return Err("it was not going to the address at which it arrived");
    }
    if addresses.inbound.as_ref().is_some_and(|(proxy, _)| proxy.address.port() == destination.port()) {
        return Ok(None);
    }
    if addresses.closed_ports().any(|port| port == destination.port()) {
        return Err("it was going to a port of the sidecar that is not for callers of the agent");
    }
    let agent = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    Authority::try_from(agent.to_string()).map(Some).map_err(|_| "its destination cannot be connected to")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Reading, parse_config};

    fn addresses() -> Addresses {
        let text = "mode: proxy-sidecar
listener: {transparent_inbound_addr: ':8083', transparent_proxy_addr: ':8082', reverse_proxy_backend: 'http://127.0.0.1:8001'}
pipeline:
  dangerously_allow_unauthenticated: true
";
        parse_config(text, &|_| None, Reading::Strict).unwrap().addresses
    }

    #[test]
    fn a_redirected_connection_goes_to_the_port_of_its_caller_and_never_back_to_the_sidecar() {
        let addresses = addresses();
        for (local, destination, agent) in [
            ("10.0.0.2:8083", "10.0.0.2:8000", Ok(Some("10.0.0.2:8000"))),
            ("[::ffff:10.0.0.2]:8083", "10.0.0.2:8000", Ok(Some("10.0.0.2:8000"))),
            ("[fd00::2]:8083", "[fd00::2]:80", Ok(Some("[fd00::2]:80"))),
            ("127.0.0.1:8083", "127.0.0.1:8000", Ok(Some("127.0.0.1:8000"))),
            ("10.0.0.2:8083", "10.0.0.2:8080", Ok(None)),
            ("10.0.0.2:8083", "10.0.0.2:8083", Err("not redirected")),
            ("[::ffff:10.0.0.2]:8083", "10.0.0.2:8083", Err("not redirected")),
            ("[fd00::2]:8083", "[fd00::3]:8083", Err("not redirected")),
            ("10.0.0.2:8083", "10.0.0.3:8000", Err("not going to the address")),
            ("10.0.0.2:8083", "203.0.113.5:8080", Err("not going to the address")),
            ("10.0.0.2:8083", "10.0.0.2:8081", Err("a port of the sidecar")),
            ("10.0.0.2:8083", "10.0.0.2:8082", Err("a port of the sidecar")),
            ("10.0.0.2:8083", "10.0.0.2:9091", Err("a port of the sidecar")),
            ("10.0.0.2:8083", "10.0.0.2:9093", Err("a port of the sidecar")),
            ("10.0.0.2:8083", "10.0.0.2:9094", Err("a port of the sidecar")),
        ] {
            let found = agent_behind(local.parse().unwrap(), Some(destination.parse().unwrap()), &addresses);
            match (&found, agent) {
                (Ok(found), Ok(agent)) => assert_eq!(found.as_ref().map(Authority::as_str), agent),
                (Err(found), Err(why)) => assert!(found.contains(why), "{local} {destination}: {found}"),
                _ => panic!("{local} {destination}: {found:?}"),
            }
        }
        let unknown = agent_behind("10.0.0.2:8083".parse().unwrap(), None, &addresses);
        assert!(unknown.unwrap_err().contains("does not know"));
    }
}

//! Addresses in the configuration: of listeners, and of the agent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Address of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// IP address and port; unspecified IPv6 stands for every interface of both families.
    pub address: SocketAddr,
    /// True if the file names only a port.
    pub only_port: bool,
}

impl ListenAddress {
    /// Parses `:8080`, `127.0.0.1:8080` or `[::1]:8080`. Names are not resolved: an answer of DNS must not decide on which
    /// interface the sidecar listens.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SYNTAX: &str = "is not an address such as :8080 or 127.0.0.1:8080";
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| SYNTAX)?;
            let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
            return Ok(Self { address, only_port: true });
        }
        let address = match text.strip_prefix("localhost:") {
            Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().map_err(|_| SYNTAX)?),
            None => text.parse().map_err(|_| SYNTAX)?,
        };
        Ok(Self { address, only_port: false })
    }

    /// The address on loopback if the configuration names only a port; otherwise unchanged.
    #[must_use]
    pub fn on_loopback(self) -> Self {
        if self.only_port {
            Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.address.port()), ..self }
        } else {
            self
        }
    }
}

/// Address of the agent, which is reached by plain HTTP in the same pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// `host:port`; port 80 if the URL names none.
    pub authority: String,
}

impl Backend {
    /// Parses a URL such as `http://127.0.0.1:8001`, without user and path.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SYNTAX: &str = "is not a URL such as http://127.0.0.1:8001";
        let authority = text.strip_prefix("http://").ok_or(SYNTAX)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let host_and_port = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(host_and_port) {
            return Err(SYNTAX);
        }
        let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        Ok(Self { authority: with_port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_every_interface_unless_loopback_is_asked_for() {
        let port = ListenAddress::parse(":8081").unwrap();
        assert_eq!(port.address.to_string(), "[::]:8081");
        assert_eq!(port.on_loopback().address.to_string(), "127.0.0.1:8081");
        let named = ListenAddress::parse("0.0.0.0:1").unwrap();
        assert_eq!(named.on_loopback(), named);
        for text in ["", "8080", ":x", ":99999", "host:1", "::1:80"] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_backend_is_a_host_and_a_port() {
        assert_eq!(Backend::parse("http://127.0.0.1:8001").unwrap().authority, "127.0.0.1:8001");
        assert_eq!(Backend::parse("http://localhost/").unwrap().authority, "localhost:80");
        for text in ["", "127.0.0.1:8001", "https://a:1", "http://", "http://a/b", "http://u@a", "http://a?b"]
        {
            assert!(Backend::parse(text).is_err(), "{text}");
        }
    }
}

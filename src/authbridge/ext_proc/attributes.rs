//! Attributes that Envoy sends with a request. No caller can set one: the direction comes from Envoy's listener, the
//! address from the connection, and the identity from the handshake. A missing one denies the request.

use super::messages::{ProcessingRequest, Struct, ValueKind};
use crate::denial::{Code, Denial};
use crate::events::Direction;
use crate::identity::VerifiedPeer;
use countersign_core::encoding::Digest;
use countersign_core::spiffe::SpiffeId;
use countersign_io::clock::now;
use std::net::SocketAddr;

/// Key under which the filter sends its attributes.
const FILTER: &str = "envoy.filters.http.ext_proc";
/// `TrafficDirection` of the listener (`envoy/config/core/v3/base.proto`).
const DIRECTION: &str = "xds.listener_direction";
const INBOUND: f64 = 1.0;
const OUTBOUND: f64 = 2.0;
/// Address to which a connection was made before it was redirected.
const DESTINATION: &str = "destination.address";
const PEER: &str = "connection.uri_san_peer_certificate";
const PEER_DIGEST: &str = "connection.sha256_peer_certificate_digest";

/// Attributes of one request.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(Option<&'a Struct>);

impl<'a> Attributes<'a> {
    /// The attributes in a message; none if another filter's name is on them.
    pub(super) fn of(request: &'a ProcessingRequest) -> Self {
        Self(request.attributes.get(FILTER))
    }

    fn get(self, name: &str) -> Option<&'a ValueKind> {
        self.0?.fields.get(name)?.kind.as_ref()
    }

    fn text(self, name: &str) -> Option<&'a str> {
        match self.get(name)? {
            ValueKind::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Direction of the request, by the listener of Envoy that it came to.
    pub(super) fn direction(self) -> Result<Direction, Denial> {
        let is = |number: &f64, direction: f64| number.total_cmp(&direction).is_eq();
        match self.get(DIRECTION) {
            Some(ValueKind::Number(number)) if is(number, INBOUND) => Ok(Direction::Inbound),
            Some(ValueKind::Number(number)) if is(number, OUTBOUND) => Ok(Direction::Outbound),
            Some(_) => Err(unset("the listener of Envoy needs `traffic_direction: INBOUND` or `OUTBOUND`")),
            None => Err(unnamed(DIRECTION)),
        }
    }

    /// Address to which Envoy connects, if its cluster is one of original destinations. IPv4 in an IPv6 form is
    /// unmapped, so that it equals what a lookup gives.
    pub(super) fn destination(self) -> Result<SocketAddr, Denial> {
        let text = self.text(DESTINATION).ok_or_else(|| unnamed(DESTINATION))?;
        let address: SocketAddr = text
            .parse()
            .map_err(|_| unset("Envoy's `destination.address` is not an IP address and a port"))?;
        Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Peer that Envoy authenticated by mTLS; `None` on a plain connection.
    pub(super) fn peer(self) -> Result<Option<VerifiedPeer>, Denial> {
        let Some(id) = self.text(PEER) else { return Ok(None) };
        let id = SpiffeId::parse(id).map_err(|_| {
            Denial::new(Code::Forbidden, "the certificate of the caller does not name a SPIFFE ID first")
        })?;
        let digest = self.text(PEER_DIGEST).ok_or_else(|| unnamed(PEER_DIGEST))?;
        let leaf_sha256 = digest_of(digest)
            .ok_or_else(|| unset("Envoy's digest of the caller's certificate is not hexadecimal"))?;
        // Envoy verified the chain in the handshake and does not send it, so there is none to verify again.
        Ok(Some(VerifiedPeer { id, leaf_sha256, valid_until: now(), chain: Vec::new() }))
    }
}

/// Denial for an attribute that Envoy's configuration does not request.
fn unnamed(attribute: &str) -> Denial {
    unset(format!("Envoy's ext_proc filter must name `{attribute}` in `request_attributes`"))
}

fn unset(message: impl Into<String>) -> Denial {
    Denial::new(Code::CannotVerify, message)
}

fn digest_of(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let [high, low] = pair.map(digit);
        *byte = high? << 4 | low?;
    }
    Some(Digest::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext_proc::messages::ProtoValue;
    use countersign_core::encoding::sha256;

    fn request(filter: &str, attributes: &[(&str, ValueKind)]) -> ProcessingRequest {
        let fields = attributes
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), ProtoValue { kind: Some(kind.clone()) }))
            .collect();
        ProcessingRequest {
            told: None,
            attributes: [(filter.to_owned(), Struct { fields })].into(),
            observability_mode: false,
        }
    }

    fn text(text: &str) -> ValueKind {
        ValueKind::Text(text.to_owned())
    }

    #[test]
    fn the_direction_is_the_listeners_or_none() {
        let direction = |filter, kind| Attributes::of(&request(filter, &[(DIRECTION, kind)])).direction();
        assert_eq!(direction(FILTER, ValueKind::Number(1.0)), Ok(Direction::Inbound));
        assert_eq!(direction(FILTER, ValueKind::Number(2.0)), Ok(Direction::Outbound));
        for kind in [
            ValueKind::Number(0.0),
            ValueKind::Number(1.5),
            ValueKind::Number(f64::NAN),
            text("1"),
            text("OUTBOUND"),
        ] {
            let denial = direction(FILTER, kind).unwrap_err();
            assert_eq!(denial.code, Code::CannotVerify);
            assert!(denial.message.contains("traffic_direction"), "{}", denial.message);
        }
        let denial = direction("another.filter", ValueKind::Number(1.0)).unwrap_err();
        assert!(denial.message.contains("request_attributes"), "{}", denial.message);
    }

    #[test]
    fn a_destination_is_an_address_in_one_form() {
        let destination = |kind| Attributes::of(&request(FILTER, &[(DESTINATION, kind)])).destination();
        assert_eq!(destination(text("10.0.0.1:80")).unwrap().to_string(), "10.0.0.1:80");
        assert_eq!(destination(text("[::ffff:10.0.0.1]:80")).unwrap().to_string(), "10.0.0.1:80");
        assert_eq!(destination(text("[fd00::1]:80")).unwrap().to_string(), "[fd00::1]:80");
        for kind in [text(""), text("10.0.0.1"), text("tool:80"), text("/run/socket"), ValueKind::Number(1.0)]
        {
            assert_eq!(destination(kind).unwrap_err().code, Code::CannotVerify);
        }
    }

    #[test]
    fn a_peer_is_a_spiffe_id_with_its_certificate() {
        let id = "spiffe://example.org/ns/a/sa/b";
        let digest = sha256(b"certificate");
        let whole = request(FILTER, &[(PEER, text(id)), (PEER_DIGEST, text(&digest.to_string()))]);
        let peer = Attributes::of(&whole).peer().unwrap().unwrap();
        assert_eq!((peer.id.as_str(), peer.leaf_sha256), (id, digest));
        assert_eq!(Attributes::of(&request(FILTER, &[])).peer(), Ok(None));
        assert_eq!(Attributes::of(&request(FILTER, &[(PEER, text(""))])).peer(), Ok(None));
        for (id, digest, code) in [
            ("https://example.org", &*"a".repeat(64), Code::Forbidden),
            (id, "", Code::CannotVerify),
            (id, "abc", Code::CannotVerify),
            (id, &*"g".repeat(64), Code::CannotVerify),
            (id, &*"é".repeat(32), Code::CannotVerify),
        ] {
            let request = request(FILTER, &[(PEER, text(id)), (PEER_DIGEST, text(digest))]);
            assert_eq!(Attributes::of(&request).peer().unwrap_err().code, code, "{id} {digest}");
        }
    }
}

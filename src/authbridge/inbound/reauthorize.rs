//! Authorization of open connections to the agent: whether one may carry another request, or stay a tunnel, is decided
//! by the mTLS settings and bundles in force now. Otherwise a revoked peer would stay as long as its connection.

use crate::config::MtlsMode;
use crate::denial::{Code, Denial};
use crate::identity::VerifiedPeer;
use crate::runtime_config::RuntimeConfig;
use crate::serve::Connection;
use countersign_core::refusal::Refusal;
use countersign_core::time::Timestamp;
use countersign_io::clock::now;

/// Authorizes a connection for one more request. Within an epoch that is done once, because nothing that it depends on
/// changes. An expired certificate is verified each time, until it is also past the clock skew that chains are granted.
pub(super) fn authorize_connection(
    connection: &Connection,
    runtime: &RuntimeConfig,
    epoch: u64,
) -> Result<(), Denial> {
    let ran_out = connection.peer.as_ref().is_some_and(|peer| now() > peer.valid_until);
    if ran_out || !connection.was_admitted_at(epoch) {
        authorize_at(connection, runtime, |_| now())?;
        connection.admit_at(epoch);
    }
    Ok(())
}

/// Authorizes a tunnel to the agent. SVIDs live for minutes and tunnels for hours, so an expired chain is verified as of
/// its last second: expiry alone does not cut a tunnel, while a removed authority or peer does.
pub(super) fn authorize_tunnel(connection: &Connection, runtime: &RuntimeConfig) -> Result<(), Denial> {
    authorize_at(connection, runtime, |peer| now().min(peer.valid_until))
}

fn authorize_at(
    connection: &Connection,
    runtime: &RuntimeConfig,
    at: impl FnOnce(&VerifiedPeer) -> Timestamp,
) -> Result<(), Denial> {
    let mtls = runtime.terminator.as_ref();
    let mtls =
        mtls.map(|(terminator, mode)| (*mode, |peer: &VerifiedPeer| terminator.verify_again(peer, at(peer))));
    authorize_peer(mtls, connection.peer.as_deref())
}

/// Authorizes the peer of a connection by the mode in `mtls` and its verification; `None` means that mTLS is off.
fn authorize_peer(
    mtls: Option<(MtlsMode, impl FnOnce(&VerifiedPeer) -> Result<(), Refusal>)>,
    peer: Option<&VerifiedPeer>,
) -> Result<(), Denial> {
    match (mtls, peer) {
        (None, _) | (Some((MtlsMode::Permissive, _)), None) => Ok(()),
        (Some((MtlsMode::Strict, _)), None) => {
            let why = "mtls.mode is strict, and this connection has no TLS: open one with a certificate";
            Err(Denial::new(Code::Forbidden, why))
        }
        (Some((_, verify)), Some(peer)) => verify(peer).map_err(|refusal| {
            Denial::new(Code::Forbidden, format!("the caller may no longer connect: {}", refusal.message()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::encoding::sha256;
    use countersign_core::refusal::Reason;
    use countersign_core::spiffe::SpiffeId;

    #[test]
    fn a_connection_stands_by_the_mode_and_the_peers_of_now() {
        let id = SpiffeId::parse("spiffe://example.org/ns/a/sa/b").unwrap();
        let peer = VerifiedPeer { id, leaf_sha256: sha256(b"leaf"), valid_until: now(), chain: Vec::new() };
        let gone = || Err(Refusal::new(Reason::PeerIdentityMismatch, "it is not on the list"));
        for (mode, peer, admitted, stands) in [
            (None, None, false, true),
            (None, Some(&peer), false, true),
            (Some(MtlsMode::Permissive), None, false, true),
            (Some(MtlsMode::Permissive), Some(&peer), true, true),
            (Some(MtlsMode::Permissive), Some(&peer), false, false),
            (Some(MtlsMode::Strict), None, true, false),
            (Some(MtlsMode::Strict), Some(&peer), true, true),
            (Some(MtlsMode::Strict), Some(&peer), false, false),
        ] {
            let verify = |_: &VerifiedPeer| if admitted { Ok(()) } else { gone() };
            let decision = authorize_peer(mode.map(|mode| (mode, verify)), peer);
            assert_eq!(decision.is_ok(), stands, "{mode:?}, {}, {admitted}", peer.is_some());
            assert!(decision.map_or_else(|denial| denial.code == Code::Forbidden, |()| true));
        }
    }
}

//! Inputs of a verification besides the card: trust bundle, policy, expected signer, history and time.

use crate::bundle::Bundle;
use crate::history::History;
use crate::policy::Policy;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// Bundle, policy, expected signer, history and time, against which a card is verified.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The authorities of the policy's trust domain.
    pub bundle: &'a Bundle,
    /// The acceptance policy of the trust domain.
    pub policy: &'a Policy,
    /// The SPIFFE ID that must have signed; `None` accepts any workload of the trust domain.
    pub expected: Option<&'a SpiffeId>,
    /// The memory of the workload, for `witnessed` freshness.
    pub history: Option<&'a History>,
    /// The time of the verification.
    pub now: Timestamp,
}

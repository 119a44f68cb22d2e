//! Inputs of a signature, so that a refusal names the one that it is about.

use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::x509::leaf_facts;

/// Input of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Card to sign.
    Card,
    /// Private key.
    Key,
    /// Certificates of the key.
    Chain,
}

/// Refusal with the input that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignRefused {
    pub(super) input: Input,
    pub(super) refusal: Refusal,
}

impl SignRefused {
    /// Refusal of a signature by a key with this chain.
    pub(super) fn of(refusal: Refusal, chain: &[Vec<u8>]) -> Self {
        let leaf = chain.first().and_then(|leaf| leaf_facts(leaf).err());
        let input = match refusal.reason() {
            Reason::SigningKeyUnusable => Input::Key,
            Reason::ChainTooLarge | Reason::CertificateExpired => Input::Chain,
            _ if leaf.as_ref() == Some(&refusal) => Input::Chain,
            _ => Input::Card,
        };
        Self { input, refusal }
    }
}

/// Name of an SVID that no file holds.
pub(super) fn of_workload_api(socket: &str) -> String {
    format!("the SVID of the Workload API at {}", Quoted(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_about_the_input_that_has_the_problem() {
        let broken = [b"no certificate".to_vec()];
        let of_leaf = leaf_facts(&broken[0]).unwrap_err();
        let refused = |reason| Refusal::new(reason, "as found");
        for (refusal, chain, input) in [
            (refused(Reason::CardMemberType), &broken[..], Input::Card),
            (refused(Reason::SigningKeyUnusable), &broken[..], Input::Key),
            (refused(Reason::ChainTooLarge), &[][..], Input::Chain),
            (refused(Reason::CertificateExpired), &broken[..], Input::Chain),
            (of_leaf.clone(), &broken[..], Input::Chain),
            (refused(of_leaf.reason()), &broken[..], Input::Card),
        ] {
            assert_eq!(SignRefused::of(refusal.clone(), chain).input, input, "{refusal}");
        }
        assert_eq!(of_workload_api("/a\nb"), "the SVID of the Workload API at \"/a\\u{a}b\"");
    }
}

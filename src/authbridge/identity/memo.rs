//! Chains that were verified again under one state of the identity. One peer may have thousands of tunnels, all of which are
//! asked about at once when the state changes.

use crate::limits::VERIFIED_AGAIN;
use countersign_core::encoding::{Digest, Sha256};
use countersign_core::refusal::Refusal;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Results by digest of the whole chain: another chain for the same leaf is another question.
#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<BTreeMap<Digest, Result<(), Refusal>>>);

impl Memo {
    /// The result for `chain`, which `verify` finds once. Beyond [`VERIFIED_AGAIN`] chains it does each time.
    pub(super) fn get_or(
        &self,
        chain: &[Vec<u8>],
        verify: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let digest = digest_of(chain);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&digest) {
            return found.clone();
        }
        let found = verify();
        if known.len() < VERIFIED_AGAIN {
            known.insert(digest, found.clone());
        }
        found
    }
}

/// Digest of the certificates and where each of them ends.
fn digest_of(chain: &[Vec<u8>]) -> Digest {
    let mut hasher = Sha256::new();
    for certificate in chain {
        hasher.update(&certificate.len().to_be_bytes());
        hasher.update(certificate);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::refusal::Reason;

    #[test]
    fn each_chain_is_verified_once_whatever_the_result() {
        let (memo, mut verified) = (Memo::default(), 0);
        let refused = || Refusal::new(Reason::ChainEncoding, "no");
        for _ in 0..1000 {
            for (chain, is_good) in [
                (vec![b"ab".to_vec(), b"c".to_vec()], true),
                (vec![b"a".to_vec(), b"bc".to_vec()], false),
                (vec![b"ab".to_vec()], false),
            ] {
                let found = memo.get_or(&chain, || {
                    verified += 1;
                    if is_good { Ok(()) } else { Err(refused()) }
                });
                assert_eq!(found.is_ok(), is_good);
            }
        }
        assert_eq!(verified, 3);
    }

    #[test]
    fn no_more_are_kept_than_the_bound_says() {
        let memo = Memo::default();
        for number in 0..VERIFIED_AGAIN + 10 {
            assert!(memo.get_or(&[number.to_be_bytes().to_vec()], || Ok(())).is_ok());
        }
        assert_eq!(memo.0.lock().unwrap().len(), VERIFIED_AGAIN);
    }
}

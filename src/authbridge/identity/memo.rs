//! Chains that were verified again under one state of the identity. One peer may have thousands of tunnels, all of which are
//! asked about at once when the state changes.

use crate::limits::VERIFIED_AGAIN;
use countersign_core::encoding::{Digest, Sha256};
use countersign_core::refusal::Refusal;
use countersign_core::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// Result of one verification, and the times for which it is known: a chain stays good until its first certificate ends,
/// and a refusal says nothing of the next second.
#[derive(Debug)]
struct Known {
    times: RangeInclusive<Timestamp>,
    found: Result<(), Refusal>,
}

/// Results by digest of the whole chain: another chain for the same leaf is another question.
#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<BTreeMap<Digest, Known>>);

impl Memo {
    /// The result for `chain` as of `at`, which `verify` finds with the last second of a good chain. Beyond
    /// [`VERIFIED_AGAIN`] chains it does each time.
    pub(super) fn get_or(
        &self,
        chain: &[Vec<u8>],
        at: Timestamp,
        verify: impl FnOnce() -> Result<Timestamp, Refusal>,
    ) -> Result<(), Refusal> {
        let digest = digest_of(chain);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = known.len() < VERIFIED_AGAIN;
        if let Some(known) = known.get(&digest).filter(|known| known.times.contains(&at)) {
            return known.found.clone();
        }
        let (until, found) = match verify() {
            Ok(valid_until) => (valid_until, Ok(())),
            Err(refusal) => (at, Err(refusal)),
        };
        if has_room || known.contains_key(&digest) {
            known.insert(digest, Known { times: at..=until, found: found.clone() });
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

    const fn second(at: i64) -> Timestamp {
        Timestamp::from_unix(at)
    }

    fn refused() -> Refusal {
        Refusal::new(Reason::ChainEncoding, "no")
    }

    #[test]
    fn each_chain_is_verified_once_in_a_second_whatever_the_result() {
        let (memo, mut verified) = (Memo::default(), 0);
        for _ in 0..1000 {
            for (chain, is_good) in [
                (vec![b"ab".to_vec(), b"c".to_vec()], true),
                (vec![b"a".to_vec(), b"bc".to_vec()], false),
                (vec![b"ab".to_vec()], false),
            ] {
                let found = memo.get_or(&chain, second(5), || {
                    verified += 1;
                    if is_good { Ok(second(9)) } else { Err(refused()) }
                });
                assert_eq!(found.is_ok(), is_good);
            }
        }
        assert_eq!(verified, 3);
    }

    #[test]
    fn a_good_chain_ends_with_its_first_certificate_and_a_refusal_with_the_second() {
        let (memo, chain) = (Memo::default(), [b"a".to_vec()]);
        // Each row: the time, whether it is verified then, what a verification finds, and what is answered.
        for (at, verifies, finds, is_good) in [
            (5, true, Err(refused()), false),
            (5, false, Ok(second(9)), false),
            // The clock was behind, or an authority became valid.
            (6, true, Ok(second(9)), true),
            (9, false, Err(refused()), true),
            (5, true, Ok(second(9)), true),
            (9, false, Err(refused()), true),
            (10, true, Err(refused()), false),
            (9, true, Ok(second(9)), true),
        ] {
            let mut verified = false;
            let found = memo.get_or(&chain, second(at), || {
                verified = true;
                finds.clone()
            });
            assert_eq!((verified, found.is_ok()), (verifies, is_good), "at {at}");
        }
    }

    #[test]
    fn no_more_are_kept_than_the_bound_says() {
        let memo = Memo::default();
        for number in 0..VERIFIED_AGAIN + 10 {
            assert!(memo.get_or(&[number.to_be_bytes().to_vec()], second(1), || Ok(second(2))).is_ok());
        }
        assert_eq!(memo.0.lock().unwrap().len(), VERIFIED_AGAIN);
    }
}

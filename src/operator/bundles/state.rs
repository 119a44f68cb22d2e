//! State of one bundle source over time: last accepted bundle, problem and revocation (rules 42–45).
//! Pure: content and time are arguments.

use countersign_core::bundle::{Bundle, BundleMemory, FallbackAfter, accept_bundle, parse_bundle};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::TrustDomain;
use countersign_core::time::{Seconds, Timestamp};
use std::sync::Arc;

/// State of one bundle source.
#[derive(Clone, Debug)]
pub(crate) struct SourceState {
    trust_domain: TrustDomain,
    good: Option<(Arc<Bundle>, BundleMemory)>,
    problem: Option<Refusal>,
    revoked: Option<Refusal>,
}

impl SourceState {
    /// Source that has not answered yet.
    pub(crate) const fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, good: None, problem: None, revoked: None }
    }

    /// Updates the state with the content of the source, or the reason for none.
    ///
    /// An empty bundle revokes at once (rule 44). Unusable content, or content older than the accepted bundle, leaves
    /// the last good bundle in force for a limited time (rule 45).
    pub(crate) fn update(&mut self, content: Result<Vec<u8>, Refusal>, now: Timestamp) {
        let memory = self.good.as_ref().map(|(_, memory)| *memory);
        let accepted = content
            .and_then(|bytes| parse_bundle(&self.trust_domain, bytes))
            .and_then(|bundle| accept_bundle(memory.as_ref(), bundle, now, false));
        match accepted {
            Ok(accepted) => {
                self.good = Some((Arc::new(accepted.bundle), accepted.memory));
                self.problem = None;
                self.revoked = None;
            }
            Err(refusal) => {
                if FallbackAfter::refusal(&refusal) == FallbackAfter::Revoked {
                    if let Some((_, memory)) = &mut self.good {
                        *memory = memory.after_revocation();
                    }
                    self.revoked = Some(refusal.clone());
                }
                self.problem = Some(refusal);
            }
        }
    }

    /// Current bundle at `now`, or the refusal without one. `limit` bounds how long the last good bundle counts.
    pub(crate) fn current(&self, now: Timestamp, limit: Seconds) -> Result<&Arc<Bundle>, Refusal> {
        if let Some(revoked) = &self.revoked {
            return Err(revoked.clone());
        }
        match &self.good {
            Some((bundle, memory)) => memory.freshness(now, limit).map(|_| bundle),
            None => Err(self.problem.clone().unwrap_or_else(|| {
                Refusal::new(
                    Reason::TrustDomainUnknown,
                    format!("no bundle was received for {} yet", self.trust_domain),
                )
            })),
        }
    }

    /// Problem of the source, whether or not the last good bundle still counts.
    pub(crate) const fn problem(&self) -> Option<&Refusal> {
        self.problem.as_ref()
    }

    /// Time at which the current bundle was last read.
    pub(crate) fn refreshed(&self) -> Option<Timestamp> {
        self.good.as_ref().map(|(_, memory)| memory.refreshed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: &[u8] = include_bytes!("../../../tests/fixtures/doc/bundle.json");
    const DAY: Seconds = Seconds::new(86_400);

    fn at(seconds: u32) -> Timestamp {
        Timestamp::from_unix(1_795_219_200).plus(Seconds::new(seconds))
    }

    fn with_good() -> SourceState {
        let mut state = SourceState::new(TrustDomain::parse("example.org").unwrap());
        assert_eq!(state.current(at(0), DAY).unwrap_err().reason(), Reason::TrustDomainUnknown);
        state.update(Ok(BUNDLE.to_vec()), at(0));
        assert!(state.current(at(0), DAY).is_ok());
        state
    }

    #[test]
    fn an_empty_bundle_revokes_at_once() {
        let mut state = with_good();
        state.update(Ok(br#"{"keys":[]}"#.to_vec()), at(1));
        assert_eq!(state.current(at(1), DAY).unwrap_err().reason(), Reason::BundleEmpty);
        state.update(Ok(b"{".to_vec()), at(2));
        assert_eq!(
            state.current(at(2), DAY).unwrap_err().reason(),
            Reason::BundleEmpty,
            "no way back by breaking"
        );
    }

    #[test]
    fn a_broken_bundle_leaves_the_last_good_one_for_its_limit() {
        let mut state = with_good();
        state.update(Ok(b"not a bundle".to_vec()), at(10));
        assert!(state.problem().is_some());
        assert!(state.current(at(86_400), DAY).is_ok());
        assert_eq!(state.current(at(86_401), DAY).unwrap_err().reason(), Reason::BundleStale);
        state.update(Ok(BUNDLE.to_vec()), at(86_500));
        assert!(state.current(at(86_500), DAY).is_ok() && state.problem().is_none());
    }

    #[test]
    fn a_source_that_is_gone_is_not_an_empty_bundle() {
        let mut state = with_good();
        let gone = Refusal::new(Reason::BundleMalformed, "the ConfigMap is gone");
        state.update(Err(gone), at(5));
        assert!(state.current(at(6), DAY).is_ok());
    }

    #[test]
    fn a_source_is_as_old_as_its_last_answer() {
        let mut state = with_good();
        state.update(Ok(BUNDLE.to_vec()), at(1_000_000));
        assert_eq!(state.refreshed(), Some(at(1_000_000)));
        assert!(state.current(at(1_086_400), DAY).is_ok());
        assert_eq!(state.current(at(1_086_401), DAY).unwrap_err().reason(), Reason::BundleStale);
    }
}

//! Types and reasons of the conditions of an AgentCard.
//! Users alert on these words, so no spelling may change.

/// Type of a condition of an AgentCard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// True if the card was fetched and not rejected.
    Synced,
    /// True if the signature of the card verifies.
    SignatureVerified,
    /// True if the Sigstore bundle of the card verifies.
    SigstoreVerified,
    /// True if any trust mechanism verified the agent.
    Verified,
    /// True if the signer belongs to the workload.
    Bound,
    /// True if NetworkPolicies and peer marks follow the verdict.
    Enforced,
    /// True if the card is synced and, where verification is required, verified and enforced.
    Ready,
}

impl ConditionType {
    /// Every type, in the order in status.
    pub const ALL: [Self; 7] = [
        Self::Synced,
        Self::SignatureVerified,
        Self::SigstoreVerified,
        Self::Verified,
        Self::Bound,
        Self::Enforced,
        Self::Ready,
    ];

    /// The word in status; stable across releases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::SignatureVerified => "SignatureVerified",
            Self::SigstoreVerified => "SigstoreVerified",
            Self::Verified => "Verified",
            Self::Bound => "Bound",
            Self::Enforced => "Enforced",
            Self::Ready => "Ready",
        }
    }
}

/// Declares the reasons with their spelling, which is the name itself unless given.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $(= $text:literal)?;)+) => {
        /// The reason of a condition of an AgentCard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConditionReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ConditionReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word in status; stable across releases.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => reasons!(@text $name $($text)?),)+
                }
            }
        }
    };
    (@text $name:ident) => { stringify!($name) };
    (@text $name:ident $text:literal) => { $text };
}

reasons! {
    /// Synced: the card was fetched.
    SyncSucceeded;
    /// Synced, Bound: the workload does not exist.
    WorkloadNotFound;
    /// Synced: the target is not labelled as an agent.
    NotAgentWorkload;
    /// Synced: the workload could not be read.
    WorkloadError;
    /// Synced: the workload has no ready Pod.
    WorkloadNotReady;
    /// Synced: the workload names no protocol.
    NoProtocol;
    /// Synced: there is no Service of the workload's name.
    ServiceNotFound;
    /// Synced: the card was not asked for, because no signer of it could be accepted.
    NotRequested;
    /// Synced, Verified: the card could not be fetched.
    FetchFailed;
    /// `SignatureVerified`: the signature verifies.
    SignatureValid;
    /// Synced, `SignatureVerified`, Verified: the signature does not verify.
    SignatureInvalid;
    /// `SignatureVerified`: it does not verify, but audit mode lets it pass.
    SignatureInvalidAudit;
    /// `SigstoreVerified`: the bundle verifies. Verified uses `SignatureVerified`.
    SigstoreVerified;
    /// Synced, `SigstoreVerified`: the bundle does not verify.
    SigstoreVerificationFailed;
    /// `SigstoreVerified`: it does not verify, but audit mode lets it pass.
    SigstoreVerificationFailedAudit;
    /// `SigstoreVerified`: the card has no bundle.
    SigstoreBundleNotFound;
    /// Verified: the server of the card proved its identity.
    MtlsVerified = "mTLSVerified";
    /// Verified: by the card's signature.
    SignatureVerified;
    /// Verified: by nothing.
    NotVerified;
    /// Bound: the signer belongs to the workload.
    Bound;
    /// Bound: it does not.
    NotBound;
    /// Bound, Enforced: there is no agent to bind to.
    AgentNotFound;
    /// Enforced: the policies of the workload are stored as the verdict calls for.
    PolicyApplied;
    /// Enforced: audit mode plans no policy.
    AuditMode;
    /// Enforced: the Pods use the network of their node, where no NetworkPolicy applies.
    HostNetwork;
    /// Enforced: the Pod template lacks the agent label, so no Pod gets the peer mark.
    PodsNotLabelled;
    /// Enforced: no Pod of the workload may get the peer mark.
    PodsNotMarked;
    /// Enforced: another AgentCard of the workload is refused.
    OtherCardRefused;
    /// Enforced: the policies wait for something that is not there yet.
    PolicyPending;
    /// Enforced: the API server refused a policy or a peer mark.
    PolicyRejected;
    /// Enforced: no policy can be planned for the workload as it is written.
    WorkloadInvalid;
    /// Ready: the card may be used.
    ReadyToServe;
    /// Ready: the card was fetched but not verified.
    VerificationFailed;
    /// Ready: the card could not be fetched.
    SyncFailed;
    /// Ready: the card is verified, but nothing enforces the verdict.
    NotEnforced;
    /// Ready: `spec.paused` is set.
    Paused;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn reasons_are_words_that_a_condition_may_carry_and_differ() {
        let words: BTreeSet<&str> = ConditionReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), ConditionReason::ALL.len());
        assert!(words.contains("mTLSVerified") && words.contains("SignatureInvalidAudit"));
        for word in words {
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
        }
    }
}

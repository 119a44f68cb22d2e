//! Verification of one signature: header, key source, identity and times, then the check over each canonical form.
//! No check uses a key that neither a chain nor the policy vouches for (rules 12–45, 56, 58).

use super::against::Against;
use super::outcome::SignatureOutcome;
use crate::budget::WorkBudget;
use crate::canon::Profile;
use crate::card::RawSignature;
use crate::encoding::{Digest, decode_base64url};
use crate::jws::{Header, PublicKey, parse_header, verify_signature};
use crate::limits::SHORT_KEY_ID_DIGITS;
use crate::policy::{DenyList, Freshness, PinnedKey};
use crate::refusal::{Reason, Refusal};
use crate::spiffe::SpiffeId;
use crate::text::Quoted;
use crate::time::{InUnits, Seconds, Timestamp};
use crate::x509::{Moments, ProvenChains, VerifiedChain};
use std::sync::Arc;

pub(super) struct Candidate<'c> {
    index: usize,
    raw: RawSignature<'c>,
    header: Option<Header>,
    key: Option<KeySource>,
    signature: Vec<u8>,
    /// The refusal of a chain that is not valid now; the signature then counts only over witnessed content (rule 57).
    expired: Option<Refusal>,
    /// Profile that the policy does not allow and over which the signature would verify; for the refusal alone.
    disallowed: Option<Profile>,
    state: State,
}

enum State {
    Open,
    Verified(Profile),
    Refused(Refusal),
}

/// The key source of a signature, of which there must be exactly one (rule 27).
pub(super) enum KeySource {
    Chain(VerifiedChain),
    Pinned(PinnedKey),
}

impl KeySource {
    pub(super) fn public_key(&self) -> &PublicKey {
        match self {
            Self::Chain(chain) => chain.leaf_key(),
            Self::Pinned(pinned) => &pinned.key,
        }
    }

    pub(super) fn spiffe_id(&self) -> &SpiffeId {
        match self {
            Self::Chain(chain) => chain.spiffe_id(),
            Self::Pinned(pinned) => &pinned.spiffe_id,
        }
    }

    pub(super) const fn chain(&self) -> Option<&VerifiedChain> {
        match self {
            Self::Chain(chain) => Some(chain),
            Self::Pinned(_) => None,
        }
    }
}

impl<'c> Candidate<'c> {
    /// Checks everything about a signature that does not depend on the canonical form.
    pub(super) fn open(
        index: usize,
        raw: RawSignature<'c>,
        against: Against<'_>,
        chains: &mut ProvenChains<'_>,
        budget: &mut WorkBudget,
    ) -> Self {
        let (header, key, signature, expired, disallowed) = (None, None, Vec::new(), None, None);
        let mut candidate =
            Self { index, raw, header, key, signature, expired, disallowed, state: State::Open };
        if let Err(refusal) = candidate.try_open(against, chains, budget) {
            candidate.state = State::Refused(refusal);
        }
        candidate
    }

    fn try_open(
        &mut self,
        against: Against<'_>,
        chains: &mut ProvenChains<'_>,
        budget: &mut WorkBudget,
    ) -> Result<(), Refusal> {
        let policy = against.policy;
        let mut header =
            parse_header(self.raw.protected, self.raw.header, policy.algorithms, policy.require_key_id)?;
        self.signature = decode_base64url(self.raw.signature)?;
        let chain = header.chain.take();
        let header = self.header.insert(header);
        let pinned = header.key_id.as_ref().and_then(|key_id| policy.pinned_keys.get(key_id));
        let key = self.key.insert(match (chain, pinned) {
            (Some(_), Some(_)) => {
                let found = "the signature brings an x5c chain and its `kid` names a pinned key";
                return Err(Refusal::new(Reason::KeySourceAmbiguous, found));
            }
            (None, None) => {
                let found = "the protected header has no `x5c`, and its `kid` names no pinned key";
                return Err(Refusal::new(Reason::KeySourceMissing, found));
            }
            (None, Some(pinned)) => KeySource::Pinned(pinned.clone()),
            (Some(chain), None) => {
                let (chain, expired) = verify_fresh_chain(chain, against, chains, budget)?;
                self.expired = expired;
                KeySource::Chain(chain)
            }
        });
        refuse_denied(key, &policy.deny)?;
        if let Some(chain) = key.chain() {
            refuse_other_leaf(header, chain.leaf_sha256())?;
        }
        if !header.algorithm.fits(key.public_key().kind()) {
            let found =
                format!("`alg` is {}, the signer's key is {:?}", header.algorithm, key.public_key().kind());
            return Err(Refusal::new(Reason::AlgorithmKeyMismatch, found));
        }
        refuse_times(header, key.chain(), policy.chain.skew, against.now)
    }

    /// Index of the signature in `signatures`, from 0.
    pub(super) const fn index(&self) -> usize {
        self.index
    }

    /// True if the chain is not valid now, so that the signature counts only over witnessed content.
    pub(super) const fn is_expired(&self) -> bool {
        self.expired.is_some()
    }

    /// Refuses a signature under an expired chain whose content was not witnessed, or too long ago (rule 57).
    ///
    /// `content` computes the SHA-256 of a form. The witness is for the content: a new signature over equal content
    /// does not renew it.
    pub(super) fn need_witness(
        &mut self,
        against: Against<'_>,
        content: impl FnOnce(Profile) -> Result<Digest, Refusal>,
    ) {
        let State::Verified(profile) = self.state else { return };
        if let Err(refusal) = content(profile).and_then(|digest| self.refuse_unwitnessed(digest, against)) {
            self.state = State::Refused(refusal);
        }
    }

    fn refuse_unwitnessed(&self, content: Digest, against: Against<'_>) -> Result<(), Refusal> {
        let (Some(expired), Freshness::Witnessed { max_age }) = (&self.expired, against.policy.freshness)
        else {
            return Ok(());
        };
        let Some(witness) = against.history.and_then(|history| history.witness(content)) else {
            let found = format!("{}; this content was not verified before that", expired.message());
            return Err(Refusal::new(Reason::WitnessMissing, found));
        };
        let skew = against.policy.chain.skew;
        if against.now.since(witness) > i64::from(max_age.get()) || witness > against.now.plus(skew) {
            let found = format!(
                "the content was last verified under a valid leaf at {witness}; the limit is {}",
                InUnits::of(max_age)
            );
            return Err(Refusal::new(Reason::WitnessTooOld, found));
        }
        Ok(())
    }

    /// True if the header says that the whole document was signed.
    pub(super) fn names_whole(&self) -> bool {
        self.header.as_ref().and_then(|header| header.form) == Some(Profile::JcsRaw)
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(super) const fn protected(&self) -> &'c str {
        self.raw.protected
    }

    /// Checks the signature over one form. `SignatureInvalid` leaves the signature open for the next form.
    pub(super) fn check(&mut self, input: &[u8], profile: Profile, budget: &mut WorkBudget) {
        let (Some(header), Some(key)) = (&self.header, &self.key) else { return };
        let checked = budget
            .spend(key.public_key().kind().cost())
            .and_then(|()| verify_signature(header.algorithm, key.public_key(), input, &self.signature));
        match checked {
            Ok(()) => self.state = State::Verified(profile),
            Err(refusal) if refusal.reason() == Reason::SignatureInvalid => {}
            Err(refusal) => self.state = State::Refused(refusal),
        }
    }

    /// Notes whether the signature would verify over a form that the policy does not allow. It stays open, and a budget
    /// that is spent leaves nothing noted.
    pub(super) fn check_disallowed(&mut self, input: &[u8], profile: Profile, budget: &mut WorkBudget) {
        let (Some(header), Some(key), None) = (&self.header, &self.key, self.disallowed) else { return };
        let checked = budget
            .spend(key.public_key().kind().cost())
            .and_then(|()| verify_signature(header.algorithm, key.public_key(), input, &self.signature));
        if checked.is_ok() {
            self.disallowed = Some(profile);
        }
    }

    /// The profile under which the signature verified, with its key and header.
    pub(super) fn verified(&self) -> Option<(Profile, &KeySource, &Header)> {
        match self.state {
            State::Verified(profile) => Some((profile, self.key.as_ref()?, self.header.as_ref()?)),
            State::Open | State::Refused(_) => None,
        }
    }

    /// The outcome of the signature; `unproven` makes the refusal of one that verified over no allowed form, from the
    /// form over which it would.
    pub(super) fn outcome(
        &self,
        unproven: impl FnOnce(Option<Profile>) -> Refusal,
        expected: Option<&SpiffeId>,
    ) -> SignatureOutcome {
        let spiffe_id = self.key.as_ref().map(KeySource::spiffe_id);
        let result = match &self.state {
            State::Open => Err(unproven(self.disallowed)),
            State::Refused(refusal) => Err(refusal.clone()),
            State::Verified(profile) => match (spiffe_id, expected) {
                (Some(found), Some(expected)) if found != expected => Err(identity_mismatch(found, expected)),
                _ => Ok(*profile),
            },
        };
        SignatureOutcome {
            index: self.index,
            key_id: self.header.as_ref().and_then(|header| header.key_id.clone()),
            algorithm: self.header.as_ref().map(|header| header.algorithm),
            spiffe_id: spiffe_id.cloned(),
            result,
        }
    }
}

pub(crate) fn identity_mismatch(found: &SpiffeId, expected: &SpiffeId) -> Refusal {
    let message = format!("the card is signed by {found}; the workload is {expected}");
    Refusal::new(Reason::IdentityMismatch, message)
}

/// Verifies the chain at `now`. Under `witnessed`, an expired chain is verified at its end instead and returned with
/// the refusal: whether its content was witnessed is known only once the signed form is (rule 57).
fn verify_fresh_chain(
    chain: Vec<Vec<u8>>,
    against: Against<'_>,
    chains: &mut ProvenChains<'_>,
    budget: &mut WorkBudget,
) -> Result<(VerifiedChain, Option<Refusal>), Refusal> {
    let Against { policy, now, .. } = against;
    let proof = chains.prove(chain, budget)?;
    match VerifiedChain::check_times(Arc::clone(&proof), &policy.chain, Moments::live(now)) {
        Err(expired)
            if expired.reason() == Reason::CertificateExpired
                && matches!(policy.freshness, Freshness::Witnessed { .. }) =>
        {
            let leaf_at = proof.not_after();
            VerifiedChain::check_times(proof, &policy.chain, Moments { now, leaf_at })
                .map(|chain| (chain, Some(expired)))
        }
        live => live.map(|chain| (chain, None)),
    }
}

/// Refuses a denied SPIFFE ID, public key or key identifier (rule 58).
fn refuse_denied(key: &KeySource, deny: &DenyList) -> Result<(), Refusal> {
    let denied = |what: &str| Err(Refusal::new(Reason::Denied, format!("{what} is on the deny-list")));
    if deny.spiffe_ids.contains(key.spiffe_id()) {
        return denied(key.spiffe_id().as_str());
    }
    if !deny.public_keys.is_empty() {
        let spki = key.public_key().spki_sha256();
        if deny.public_keys.contains(&spki) {
            return denied(&format!("the public key {spki}"));
        }
    }
    let Some(chain) = key.chain() else { return Ok(()) };
    let mut identifiers = chain.subject_key_id().into_iter().chain(chain.issuer_key_ids());
    match identifiers.find(|identifier| deny.key_identifiers.contains(*identifier)) {
        Some(_) => denied("a key identifier of the chain"),
        None => Ok(()),
    }
}

/// Refuses a header whose `x5t#S256`, or whose `kid` in kagenti's form, names another leaf than the one in use (rules
/// 25 and 26).
fn refuse_other_leaf(header: &Header, leaf: Digest) -> Result<(), Refusal> {
    if header.thumbprint.is_some_and(|thumbprint| thumbprint != leaf) {
        let found = format!("`x5t#S256` does not name the leaf, whose SHA-256 is {leaf}");
        return Err(Refusal::new(Reason::ThumbprintMismatch, found));
    }
    let short = header.key_id.as_ref().filter(|key_id| {
        key_id.len() == SHORT_KEY_ID_DIGITS && key_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    match short {
        Some(key_id) if !leaf.to_hex().starts_with(key_id.as_bytes()) => {
            let found = format!("`kid` is {}, the leaf's SHA-256 is {leaf}", Quoted(key_id));
            Err(Refusal::new(Reason::KeyIdMismatch, found))
        }
        _ => Ok(()),
    }
}

/// Enforces `iat` and `exp` if present, and `iat` within the life of the leaf (rule 56).
fn refuse_times(
    header: &Header,
    chain: Option<&VerifiedChain>,
    skew: Seconds,
    now: Timestamp,
) -> Result<(), Refusal> {
    let refuse = |found: String| Err(Refusal::new(Reason::SignatureTimes, found));
    if let Some(issued_at) = header.issued_at {
        if issued_at > now.plus(skew) {
            return refuse(format!("`iat` is {issued_at}, now is {now}"));
        }
        if let Some((from, to)) = chain.map(|chain| (chain.not_before(), chain.not_after()))
            && (issued_at.plus(skew) < from || issued_at > to.plus(skew))
        {
            return refuse(format!("`iat` is {issued_at}, outside the leaf's life from {from} to {to}"));
        }
    }
    if let Some(expires_at) = header.expires_at {
        if expires_at.plus(skew) < now {
            return refuse(format!("`exp` is {expires_at}, now is {now}"));
        }
        if header.issued_at.is_some_and(|issued_at| issued_at >= expires_at) {
            return refuse(format!("`exp` is {expires_at}, not after `iat`"));
        }
    }
    Ok(())
}

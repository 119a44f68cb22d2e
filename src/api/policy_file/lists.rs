//! Lists of a policy file: what is denied, who has to sign, and which keys are trusted without a certificate.

use super::words::{Id, KeyIdentifier, Sha256};
use countersign_core::jws::PublicKey;
use countersign_core::limits::SIGNATURES;
use countersign_core::policy::{DenyList, PinnedKey, SignerRule};
use countersign_core::spiffe::SpiffeId;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Identities, keys and cards that are refused whatever proof they bring (rule 58).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Deny {
    /// SPIFFE IDs of workloads that may not sign.
    spiffe_ids: Vec<Id>,
    /// Subject key identifiers of leaves or issuers.
    key_identifiers: Vec<KeyIdentifier>,
    /// SHA-256 of the `SubjectPublicKeyInfo` of leaves or pinned keys.
    public_keys: Vec<Sha256>,
    /// SHA-256 of cards: of the bytes as received, or of a canonical form, which no other spelling of the card evades.
    cards: Vec<Sha256>,
}

impl Deny {
    /// True if nothing is denied.
    pub(super) const fn is_empty(&self) -> bool {
        let Self { spiffe_ids, key_identifiers, public_keys, cards } = self;
        spiffe_ids.is_empty() && key_identifiers.is_empty() && public_keys.is_empty() && cards.is_empty()
    }

    /// Identities that may not sign.
    pub(super) fn identities(&self) -> impl Iterator<Item = &SpiffeId> {
        self.spiffe_ids.iter().map(|id| &id.0)
    }

    /// Adds the entries to a list.
    pub(super) fn add_to(&self, list: &mut DenyList) {
        list.spiffe_ids.extend(self.spiffe_ids.iter().map(|id| id.0.clone()));
        list.key_identifiers.extend(self.key_identifiers.iter().map(|id| id.0.clone()));
        list.public_keys.extend(self.public_keys.iter().map(|digest| digest.0));
        list.cards.extend(self.cards.iter().map(|digest| digest.0));
    }
}

/// Signatures that a card needs besides one of the expected workload (rule 54).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Signers {
    /// One good signature is enough.
    AnyOf,
    /// Every signature on the card must be good.
    AllOf,
    /// At least this many different SPIFFE IDs must have signed.
    Threshold(SignerCount),
    /// Each of these SPIFFE IDs must have signed.
    Named(Vec<Id>),
}

/// Number of different SPIFFE IDs, from 1 to the most signatures of a card.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "u64")]
#[schemars(with = "u8", inline, transform = range_of_signatures)]
pub(super) struct SignerCount(usize);

impl TryFrom<u64> for SignerCount {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        let known = usize::try_from(count).ok().filter(|count| (1..=SIGNATURES).contains(count));
        known.map(Self).ok_or_else(|| {
            format!("{count} is none of 1 to {SIGNATURES}: a card has at most {SIGNATURES} signatures")
        })
    }
}

/// Replaces the range of the count's integer type by what a card can have.
fn range_of_signatures(schema: &mut schemars::Schema) {
    schema.remove("format");
    schema.insert("minimum".to_owned(), 1.into());
    schema.insert("maximum".to_owned(), SIGNATURES.into());
}

impl Signers {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Named(ids) if ids.is_empty())
    }

    /// Number of identities that must have signed, if a card cannot have so many signatures.
    pub(super) fn excess(&self) -> Option<usize> {
        let count = self.identities().collect::<BTreeSet<_>>().len();
        (count > SIGNATURES).then_some(count)
    }

    /// Identities that must have signed.
    pub(super) fn identities(&self) -> impl Iterator<Item = &SpiffeId> {
        let named = match self {
            Self::Named(ids) => ids.as_slice(),
            Self::AnyOf | Self::AllOf | Self::Threshold(_) => &[],
        };
        named.iter().map(|id| &id.0)
    }

    pub(super) fn rule(&self) -> SignerRule {
        match self {
            Self::AnyOf => SignerRule::AnyOf,
            Self::AllOf => SignerRule::AllOf,
            Self::Threshold(count) => SignerRule::Threshold(count.0),
            Self::Named(ids) => SignerRule::Named(ids.iter().map(|id| id.0.clone()).collect()),
        }
    }
}

/// Public key that is trusted without a certificate, for cards that are signed outside SPIFFE (rule 27).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Pinned {
    /// Key ID by which a signature names the key.
    pub(super) key_id: String,
    /// SPIFFE ID of the workload that holds the private key.
    spiffe_id: Id,
    /// Public key, PEM `PUBLIC KEY`.
    public_key: Pem,
}

impl Pinned {
    pub(super) fn key(&self) -> PinnedKey {
        PinnedKey { key: self.public_key.0.clone(), spiffe_id: self.spiffe_id.0.clone() }
    }

    pub(super) const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id.0
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Pem(PublicKey);

impl TryFrom<String> for Pem {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map_err(|_| "publicKey is not PEM with one block PUBLIC KEY".to_owned())?;
        PublicKey::from_spki(&der).map(Self).map_err(|refusal| refusal.message().to_owned())
    }
}

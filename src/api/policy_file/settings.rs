//! Settings of one trust domain. Every member is optional: what is left out stays as it was.

use super::lists::{Deny, Pinned, Signers};
use super::words::{AlgorithmName, ProfileName, Span};
use crate::yaml::PathStep::{self, Index, Key};
use countersign_core::canon::ProfileSet;
use countersign_core::json::Numbers;
use countersign_core::jws::AlgorithmSet;
use countersign_core::limits::{CLOCK_SKEW_MAX, SIGNATURES};
use countersign_core::policy::{Coverage, Freshness, Policy};
use countersign_core::spiffe::TrustDomain;
use countersign_core::text::Quoted;
use countersign_core::time::Seconds;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Longest time since a content was verified under a valid leaf, unless set.
const WITNESS_AGE: Seconds = Seconds::new(24 * 60 * 60);

/// Path from the settings to a member of them, or to an element of its list.
pub(super) type Member = Vec<PathStep<'static>>;

/// Settings that callers choose before the file: flags of older installations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base {
    /// Canonical forms; `None` for the default of the core.
    pub profiles: Option<ProfileSet>,
    /// Freshness.
    pub freshness: Freshness,
}

impl Base {
    /// Policy of a trust domain without a file.
    pub fn policy(self, trust_domain: TrustDomain) -> Policy {
        let mut policy = Policy::new(trust_domain);
        policy.profiles = self.profiles.unwrap_or(policy.profiles);
        policy.freshness = self.freshness;
        policy
    }
}

/// Settings of one trust domain, or of all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Settings {
    /// Longest lifetime of an X.509-SVID; `0` for no limit. Default: 24h.
    max_svid_lifetime: Option<Span>,
    /// Time by which an issuer may date an X.509-SVID back, beyond its longest lifetime. Default: 2m.
    svid_backdating: Option<Span>,
    /// Tolerated difference between the clocks of issuer and verifier. Default: 60s.
    clock_skew: Option<Span>,
    /// Reading of the numbers in a card. Default: strict.
    numbers: Option<NumbersWord>,
    /// Treatment of members that decide about security and are not signed. Default: strict.
    coverage: Option<CoverageWord>,
    /// Canonical forms that a signature may cover.
    profiles: Option<Vec<ProfileName>>,
    /// JWS algorithms that a signature may use. Default: ES256, ES384, RS256, PS256.
    algorithms: Option<Vec<AlgorithmName>>,
    /// True refuses a signature without `kid`. Default: true.
    require_key_id: Option<bool>,
    /// Condition under which a card is fresh. Default: live.
    freshness: Option<FreshnessWord>,
    /// With `freshness: witnessed`, the longest time since the content was verified under a valid SVID. Default: 24h.
    max_witness_age: Option<Span>,
    /// Signatures that a card needs besides one of the expected workload. Default: anyOf.
    signers: Option<Signers>,
    /// What is refused whatever proof it brings.
    deny: Deny,
    /// Keys that are trusted without a certificate.
    pinned_keys: Vec<Pinned>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum NumbersWord {
    /// Refuse numbers that cannot be kept exactly.
    Strict,
    /// Read every number as an IEEE 754 double, as the A2A SDKs do.
    Binary64,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum CoverageWord {
    /// Refuse the card.
    Strict,
    /// Accept the signed part and list the rest.
    Report,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum FreshnessWord {
    /// The SVID is valid now.
    Live,
    /// The SVID is valid now, or this content was verified under a valid one lately.
    Witnessed,
}

/// Policy with the settings of `layers`, of which the first that sets a member counts. What is denied or pinned in any
/// layer counts.
pub(super) fn apply(layers: &[&Settings], mut policy: Policy) -> Policy {
    if let Some(limit) = first(layers, |settings| settings.max_svid_lifetime.as_ref()) {
        policy.chain.max_svid_lifetime = (!limit.0.is_zero()).then_some(limit.0);
    }
    if let Some(backdating) = first(layers, |settings| settings.svid_backdating.as_ref()) {
        policy.chain.backdating = backdating.0;
    }
    if let Some(skew) = first(layers, |settings| settings.clock_skew.as_ref()) {
        policy.chain.skew = skew.0;
    }
    if let Some(numbers) = first(layers, |settings| settings.numbers.as_ref()) {
        policy.numbers = match numbers {
            NumbersWord::Strict => Numbers::Strict,
            NumbersWord::Binary64 => Numbers::Binary64,
        };
    }
    if let Some(coverage) = first(layers, |settings| settings.coverage.as_ref()) {
        policy.coverage = match coverage {
            CoverageWord::Strict => Coverage::Strict,
            CoverageWord::Report => Coverage::Report,
        };
    }
    if let Some(profiles) = first(layers, |settings| settings.profiles.as_ref()) {
        policy.profiles = profiles.iter().fold(ProfileSet::NONE, |set, profile| set.with(profile.0));
    }
    if let Some(algorithms) = first(layers, |settings| settings.algorithms.as_ref()) {
        policy.algorithms = algorithms.iter().map(|algorithm| algorithm.0).collect::<AlgorithmSet>();
    }
    if let Some(required) = first(layers, |settings| settings.require_key_id.as_ref()) {
        policy.require_key_id = *required;
    }
    if let Some(signers) = first(layers, |settings| settings.signers.as_ref()) {
        policy.signers = signers.rule();
    }
    policy.freshness = freshness(layers, policy.freshness);
    for settings in layers.iter().rev() {
        settings.deny.add_to(&mut policy.deny);
        for pinned in &settings.pinned_keys {
            if pinned.spiffe_id().trust_domain() == &policy.trust_domain {
                policy.pinned_keys.insert(pinned.key_id.clone(), pinned.key());
            }
        }
    }
    policy
}

fn first<'a, T>(layers: &[&'a Settings], of: impl Fn(&'a Settings) -> Option<&'a T>) -> Option<&'a T> {
    layers.iter().copied().find_map(of)
}

fn freshness(layers: &[&Settings], base: Freshness) -> Freshness {
    let (is_witnessed, age) = match base {
        Freshness::Live => (false, WITNESS_AGE),
        Freshness::Witnessed { max_age } => (true, max_age),
    };
    let word = first(layers, |settings| settings.freshness.as_ref());
    let is_witnessed = word.map_or(is_witnessed, |word| matches!(word, FreshnessWord::Witnessed));
    let max_age = first(layers, |settings| settings.max_witness_age.as_ref()).map_or(age, |age| age.0);
    if is_witnessed { Freshness::Witnessed { max_age } } else { Freshness::Live }
}

impl Settings {
    /// True if nothing is set.
    pub(super) const fn is_empty(&self) -> bool {
        let Self {
            max_svid_lifetime: None,
            svid_backdating: None,
            clock_skew: None,
            numbers: None,
            coverage: None,
            profiles: None,
            algorithms: None,
            require_key_id: None,
            freshness: None,
            max_witness_age: None,
            signers: None,
            deny,
            pinned_keys,
        } = self
        else {
            return false;
        };
        deny.is_empty() && pinned_keys.is_empty()
    }

    /// Settings under which no card could count, or that undermine a rule: path of the member and what to do.
    pub(super) fn problems(&self, domain: Option<&TrustDomain>) -> Vec<(Member, String)> {
        let mut problems: Vec<(Member, String)> = Vec::new();
        if let Some(skew) = self.clock_skew.as_ref().filter(|skew| skew.0 > CLOCK_SKEW_MAX) {
            let found = format!(
                "it is {}s; write {}s or less, and mend clocks that differ by more",
                skew.0.get(),
                CLOCK_SKEW_MAX.get()
            );
            problems.push((vec![Key("clockSkew")], found));
        }
        if self.max_witness_age.as_ref().is_some_and(|age| age.0.is_zero()) {
            problems.push((vec![Key("maxWitnessAge")], "it is zero; write freshness: live".to_owned()));
        }
        let lists = [
            (vec![Key("profiles")], self.profiles.as_ref().is_some_and(Vec::is_empty)),
            (vec![Key("algorithms")], self.algorithms.as_ref().is_some_and(Vec::is_empty)),
            (vec![Key("signers"), Key("named")], self.signers.as_ref().is_some_and(Signers::is_empty)),
        ];
        let empty = "it is an empty list, so no card could count; leave it out for the default";
        problems.extend(
            lists.into_iter().filter(|(_, is_empty)| *is_empty).map(|(member, _)| (member, empty.to_owned())),
        );
        problems.extend(self.signers.as_ref().and_then(Signers::excess).map(|count| {
            let found = format!(
                "it names {count} SPIFFE IDs, and a card has at most {SIGNATURES} signatures; name {SIGNATURES} at most"
            );
            (vec![Key("signers"), Key("named")], found)
        }));
        problems.extend(domain.into_iter().flat_map(|domain| self.foreign_identities(domain)));
        let mut key_ids = BTreeSet::new();
        let twice = self.pinned_keys.iter().enumerate().filter(|(_, pinned)| !key_ids.insert(&pinned.key_id));
        problems.extend(twice.map(|(index, pinned)| {
            let found = format!("the key ID {} occurs twice; keep one", Quoted(&pinned.key_id));
            (vec![Key("pinnedKeys"), Index(index), Key("keyId")], found)
        }));
        problems
    }

    /// Identities of another trust domain: none of them signs in this one, so the entry would have no effect, or one that no
    /// card could meet.
    fn foreign_identities(&self, domain: &TrustDomain) -> Vec<(Member, String)> {
        let denied = self.deny.identities().enumerate();
        let denied = denied.map(|(index, id)| (vec![Key("deny"), Key("spiffeIds"), Index(index)], id));
        let required = self.signers.iter().flat_map(Signers::identities).enumerate();
        let required = required.map(|(index, id)| (vec![Key("signers"), Key("named"), Index(index)], id));
        let pinned = self.pinned_keys.iter().enumerate().map(|(index, pinned)| {
            (vec![Key("pinnedKeys"), Index(index), Key("spiffeId")], pinned.spiffe_id())
        });
        let all = denied.chain(required).chain(pinned);
        all.filter(|(_, id)| id.trust_domain() != domain)
            .map(|(member, id)| {
                let found = format!(
                    "{} is of the trust domain {}, and nobody of that signs for {domain}; move the entry to \
                     trustDomains: {}",
                    Quoted(id.as_str()),
                    id.trust_domain(),
                    id.trust_domain()
                );
                (member, found)
            })
            .collect()
    }
}

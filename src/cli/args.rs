//! Arguments that several commands share, with their parsers.
//! A malformed value is an error of its flag and never falls back to a default.

use super::exit::Unusable;
use countersign_core::bundle::{Bundle, BundleSet, parse_bundle};
use countersign_core::canon::Profile;
use countersign_core::json::Numbers;
use countersign_core::limits::{BUNDLE_BYTES, CLOCK_SKEW_MAX};
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::text::Quoted;
use countersign_core::time::{Seconds, Timestamp};
use countersign_io::{clock, files};
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Format of a result on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For scripts: stable names and codes.
    Json,
}

/// Rule by which the JSON numbers in a card are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum NumbersArg {
    /// Refuse numbers that cannot be kept exactly.
    Strict,
    /// Read every number as an IEEE 754 double, as the A2A SDKs do.
    Binary64,
}

impl From<NumbersArg> for Numbers {
    fn from(arg: NumbersArg) -> Self {
        match arg {
            NumbersArg::Strict => Self::Strict,
            NumbersArg::Binary64 => Self::Binary64,
        }
    }
}

/// A bundle file, and its trust domain if the flag names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BundleArg {
    trust_domain: Option<TrustDomain>,
    file: PathBuf,
}

/// Flags that name the trust bundles and the trust domain of the signer.
#[derive(Debug, clap::Args)]
pub(super) struct AuthorityArgs {
    /// Trust bundle of the trust domain: SPIFFE JSON, JWKS, PEM or a bundle map; `TD=FILE` for another
    /// domain. May be repeated.
    #[arg(long = "bundle", value_name = "[TD=]FILE", required = true, value_parser = parse_bundle_arg)]
    bundles: Vec<BundleArg>,
    /// Trust domain that the signer must belong to, for example `example.org`; that of --expect-id, if absent.
    #[arg(long, value_name = "TD", value_parser = parse_trust_domain)]
    trust_domain: Option<TrustDomain>,
}

/// The bundles of the flags, with warnings about unused entries.
#[derive(Debug)]
pub(super) struct Authority {
    bundles: BundleSet,
    trust_domain: TrustDomain,
    /// One line for each bundle, or entry of a bundle, that was not used.
    pub(super) warnings: Vec<String>,
}

impl AuthorityArgs {
    /// Makes the arguments for a command whose flags are optional.
    pub(super) fn new(bundles: Vec<BundleArg>, trust_domain: TrustDomain) -> Self {
        Self { bundles, trust_domain: Some(trust_domain) }
    }

    /// Reads every bundle. An unreadable bundle of another domain is an error as well, although this card does not need
    /// that bundle: a pipeline should learn of it before a card does.
    pub(super) fn read(&self, expected: Option<&SpiffeId>) -> Result<Authority, Unusable> {
        let trust_domain = self.trust_domain(expected)?;
        let (bundles, mut warnings) = read_bundles(&self.bundles, &trust_domain)?;
        let unused = self.bundles.iter().filter_map(|arg| {
            let other = arg.trust_domain.as_ref().filter(|domain| **domain != trust_domain)?;
            let file = arg.file.to_string_lossy();
            Some(format!(
                "warning: --bundle {other}={} is not used: the signer must be of the trust domain {trust_domain}",
                Quoted(&file)
            ))
        });
        warnings.extend(unused);
        if bundles.get(&trust_domain).is_err() {
            let given: Vec<&str> = bundles.iter().map(|bundle| bundle.trust_domain().as_str()).collect();
            return Err(Unusable::new(format!(
                "no bundle is given for the trust domain {trust_domain}, only for {}; add --bundle {trust_domain}=FILE",
                given.join(" and ")
            )));
        }
        Ok(Authority { bundles, trust_domain, warnings })
    }

    fn trust_domain(&self, expected: Option<&SpiffeId>) -> Result<TrustDomain, Unusable> {
        match (&self.trust_domain, expected.map(SpiffeId::trust_domain)) {
            (Some(named), Some(expected)) if named != expected => Err(Unusable::new(format!(
                "--expect-id is of the trust domain {expected} and --trust-domain is {named}; leave one of them out"
            ))),
            (Some(domain), _) | (None, Some(domain)) => Ok(domain.clone()),
            (None, None) => Err(Unusable::new("name the trust domain of the signer with --trust-domain")),
        }
    }
}

impl Authority {
    /// The trust domain that the signer must belong to.
    pub(super) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The bundle of the signer's trust domain.
    pub(super) fn bundle(&self) -> Result<&Bundle, Unusable> {
        self.bundles.get(&self.trust_domain).map_err(Unusable::new)
    }
}

/// Reads bundle files; a flag without a trust domain stands for `default`. Returns the bundles and one warning line for
/// each unused entry.
pub(super) fn read_bundles(
    args: &[BundleArg],
    default: &TrustDomain,
) -> Result<(BundleSet, Vec<String>), Unusable> {
    let (mut bundles, mut warnings) = (BundleSet::new(), Vec::new());
    for arg in args {
        let domain = arg.trust_domain.as_ref().unwrap_or(default);
        let bytes = files::read_file(&arg.file, BUNDLE_BYTES)?;
        let file = arg.file.to_string_lossy();
        let bundle = parse_bundle(domain, bytes).map_err(|refusal| {
            Unusable::new(format!("bundle {}: {refusal}; {}", Quoted(&file), refusal.reason().fix()))
        })?;
        warnings.extend(bundle.skipped().iter().map(|entry| {
            format!("warning: bundle {}: {} was not used: {}", Quoted(&file), entry.location, entry.why)
        }));
        let replaced = bundles.insert(bundle).map_err(Unusable::new)?;
        if replaced.is_some() {
            return Err(Unusable::new(format!(
                "two bundles are given for the trust domain {domain}; give one, because anchors of two \
                 documents are never pooled"
            )));
        }
    }
    Ok((bundles, warnings))
}

/// Flags for the time of the verification, the longest lifetime of an SVID and the tolerated clock skew.
#[derive(Debug, clap::Args)]
pub(super) struct TimeArgs {
    /// Judge as of this moment, for example 2026-11-21T00:10:00Z; now, if absent.
    #[arg(long, value_name = "RFC3339", value_parser = parse_moment)]
    at: Option<Timestamp>,
    /// Longest lifetime of an SVID; 0 for any.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_seconds)]
    max_svid_lifetime: Seconds,
    /// How far clocks may differ, at most 60 s, as in the cluster.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_skew)]
    skew: Seconds,
}

impl TimeArgs {
    /// The time at which to verify: `--at`, or now.
    pub(super) fn at(&self) -> Timestamp {
        self.at.unwrap_or_else(clock::now)
    }

    /// The chain policy of the flags.
    pub(super) fn chain_policy(&self) -> countersign_core::x509::ChainPolicy {
        let mut policy = countersign_core::x509::ChainPolicy::default();
        policy.max_svid_lifetime = (!self.max_svid_lifetime.is_zero()).then_some(self.max_svid_lifetime);
        policy.skew = self.skew;
        policy
    }
}

pub(super) fn parse_bundle_arg(text: &str) -> Result<BundleArg, String> {
    // Text before `=` is a trust domain if it has the form of one; a file of such a name is given as `./a=b`.
    if let Some((domain, file)) = text.split_once('=')
        && let Ok(trust_domain) = TrustDomain::parse(domain)
    {
        return match file {
            "" => Err("name a file after `=`".to_owned()),
            file => Ok(BundleArg { trust_domain: Some(trust_domain), file: file.into() }),
        };
    }
    Ok(BundleArg { trust_domain: None, file: text.into() })
}

pub(super) fn parse_trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(text).map_err(|refusal| refusal.message().to_owned())
}

pub(super) fn parse_spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(text).map_err(|refusal| refusal.message().to_owned())
}

pub(super) fn parse_profile(text: &str) -> Result<Profile, String> {
    Profile::from_id(text).ok_or_else(|| {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.id()).collect();
        format!("the profiles are {}", known.join(", "))
    })
}

/// Parses a span of whole seconds, such as `90s`, `15m`, `1h 30m`, or `0`.
pub(super) fn parse_seconds(text: &str) -> Result<Seconds, String> {
    if text == "0" {
        return Ok(Seconds::new(0));
    }
    let span = humantime::parse_duration(text).map_err(|_| "write a duration such as 90s, 15m or 24h")?;
    if span.subsec_nanos() != 0 {
        return Err("durations are counted in whole seconds".to_owned());
    }
    u32::try_from(span.as_secs())
        .map(Seconds::new)
        .map_err(|_| "the duration is longer than 136 years".to_owned())
}

fn parse_skew(text: &str) -> Result<Seconds, String> {
    let skew = parse_seconds(text)?;
    if skew > CLOCK_SKEW_MAX { Err("clocks may differ by 60s at most".to_owned()) } else { Ok(skew) }
}

fn parse_moment(text: &str) -> Result<Timestamp, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|moment| Timestamp::from_unix(moment.unix_timestamp()))
        .map_err(|_| "write a moment as in 2026-11-21T00:10:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_flag_names_a_domain_only_before_its_first_equals_sign() {
        let domain = |text| parse_bundle_arg(text).unwrap().trust_domain.map(|domain| domain.to_string());
        assert_eq!(domain("b.json"), None);
        assert_eq!(domain("example.org=b.json"), Some("example.org".to_owned()));
        assert_eq!(domain("./a=b.json"), None);
        assert!(parse_bundle_arg("example.org=").is_err());
    }

    #[test]
    fn durations_are_whole_seconds_and_zero_needs_no_unit() {
        assert_eq!(parse_seconds("0").unwrap().get(), 0);
        assert_eq!(parse_seconds("1h 30m").unwrap().get(), 5400);
        for bad in ["", "5", "-1s", "1500ms", "200years"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_may_carry_an_offset_and_never_lacks_one() {
        assert_eq!(parse_moment("1970-01-01T01:00:00+01:00").unwrap().as_unix(), 0);
        assert!(parse_moment("1970-01-01T01:00:00").is_err());
        assert!(parse_moment("1970-01-01").is_err());
    }
}

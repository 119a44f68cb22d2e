//! Words and texts of a policy file, each parsed to the type of the core that it stands for.

use crate::duration::parse_duration;
use crate::yaml::duration_text;
use countersign_core::canon::Profile;
use countersign_core::encoding::Digest;
use countersign_core::jws::Algorithm;
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::time::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};

/// Longest key identifier, in hexadecimal digits: a SHA-512.
const KEY_IDENTIFIER_DIGITS: usize = 128;

/// Makes a text of the file that is parsed to a type.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $of:ty, $parse:expr) => {
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        #[schemars(with = "String")]
        $(#[$doc])*
        pub(super) struct $name(pub(super) $of);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let parse: fn(&str) -> Result<$of, String> = $parse;
                parse(&text).map($name)
            }
        }
    };
}

/// Duration in whole seconds, such as `24h` or `90s`; `0` for none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub(super) struct Span(pub(super) Seconds);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_span(&duration_text(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

fn parse_span(text: &str) -> Result<Seconds, String> {
    let duration = parse_duration(text).map_err(|problem| format!("{text:?} {problem}"))?;
    if duration.subsec_nanos() != 0 {
        return Err(format!("{text:?} is not in whole seconds"));
    }
    u32::try_from(duration.as_secs())
        .map(Seconds::new)
        .map_err(|_| format!("{text:?} is longer than 136 years"))
}

text! {
    /// Name of a trust domain.
    Domain, TrustDomain, |text| TrustDomain::parse(text).map_err(|refusal| {
        let lower = TrustDomain::parse(&text.to_ascii_lowercase());
        let fix = lower.map(|domain| format!("; write {domain}")).unwrap_or_default();
        format!("{}{fix}", refusal.message())
    })
}
text! {
    /// SPIFFE ID of a workload.
    Id, SpiffeId, |text| SpiffeId::parse(text).map_err(|refusal| refusal.message().to_owned())
}
text! {
    /// SHA-256 in 64 hexadecimal digits.
    Sha256, Digest, |text| {
        Digest::from_hex(text).ok_or_else(|| format!("{text:?} is not a SHA-256 in 64 hexadecimal digits"))
    }
}
text! {
    /// Subject key identifier in hexadecimal digits, with or without colons.
    KeyIdentifier, Vec<u8>, |text| {
        let problem = || format!("{text:?} is not a key identifier in hexadecimal digits");
        let digits = text.replace(':', "");
        if digits.is_empty() || digits.len() > KEY_IDENTIFIER_DIGITS || !digits.is_ascii() {
            return Err(problem());
        }
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        // `from_str_radix` takes a sign as well, which is no digit.
        let byte = |pair: &str| match pair.len() {
            2 if !pair.starts_with('+') => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        };
        pairs.map(byte).collect::<Option<_>>().ok_or_else(problem)
    }
}
text! {
    /// Canonical form that a signature may cover.
    #[schemars(extend("enum" = Profile::ALL.map(Profile::id)))]
    ProfileName, Profile, |text| Profile::from_id(text).ok_or_else(|| {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.id()).collect();
        format!("{text:?} is no profile; the profiles are {}", known.join(", "))
    })
}
text! {
    /// JWS algorithm that a signature may use; `none` and HMAC are no choice.
    #[schemars(extend("enum" = Algorithm::ALL.map(Algorithm::name)))]
    AlgorithmName, Algorithm, |text| Algorithm::parse(text).map_err(|_| {
        let known: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        format!("{text:?} is no algorithm of a card; the algorithms are {}", known.join(", "))
    })
}

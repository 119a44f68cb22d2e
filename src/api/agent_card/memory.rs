//! The replay memory between `core::history` and the fields of a status.
//! A memory that cannot be read is an error, never an absent one: forgetting would accept a replay.

use super::status::time;
use super::verdict::CardVerdict;
use crate::core::canon::Profile;
use crate::core::encoding::Digest;
use crate::core::history::History;
use crate::core::jws::Algorithm;
use crate::core::text::Quoted;
use crate::core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use thiserror::Error;

/// A memory in status that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "status.verdict.{field} is {found}; the memory of the last accepted card is unusable, so delete the AgentCard \
     and create it again to forget it"
)]
pub struct MemoryError {
    field: &'static str,
    found: String,
}

impl CardVerdict {
    /// The memory of the last accepted card; `None` if there is none, an error if a part is missing or odd.
    pub fn history(&self) -> Option<Result<History, MemoryError>> {
        let parts = [
            self.profile.is_some(),
            self.algorithm.is_some(),
            self.digest.is_some(),
            self.first_verified.is_some(),
            self.leaf_not_before.is_some(),
        ];
        parts.contains(&true).then(|| self.read())
    }

    /// Replaces the memory.
    pub fn remember(&mut self, history: &History) {
        self.profile = Some(history.profile.id().to_owned());
        self.algorithm = Some(history.algorithm.name().to_owned());
        self.digest = Some(history.digest.to_string());
        self.first_verified = Some(time(history.first_verified));
        self.leaf_not_before = Some(time(history.leaf_not_before));
    }

    fn read(&self) -> Result<History, MemoryError> {
        Ok(History {
            leaf_not_before: moment("leafNotBefore", self.leaf_not_before.as_ref())?,
            digest: text("digest", self.digest.as_deref(), digest)?,
            first_verified: moment("firstVerified", self.first_verified.as_ref())?,
            profile: text("profile", self.profile.as_deref(), Profile::from_id)?,
            algorithm: text("algorithm", self.algorithm.as_deref(), |name| Algorithm::parse(name).ok())?,
        })
    }
}

fn moment(field: &'static str, value: Option<&Time>) -> Result<Timestamp, MemoryError> {
    let absent = || MemoryError { field, found: "absent".to_owned() };
    Ok(Timestamp::from_unix(value.ok_or_else(absent)?.0.as_second()))
}

fn text<T>(
    field: &'static str,
    value: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, MemoryError> {
    let found = || value.map_or_else(|| "absent".to_owned(), |text| Quoted(text).to_string());
    value.and_then(read).ok_or_else(|| MemoryError { field, found: found() })
}

/// 64 lower-case hexadecimal digits.
fn digest(hex: &str) -> Option<Digest> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let mut bytes = [0_u8; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)?.checked_mul(16)?.checked_add(nibble(*low)?)?;
    }
    Some(Digest::from_bytes(bytes))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::core::encoding::sha256;

    fn verdict() -> CardVerdict {
        serde_json::from_str(r#"{"outcome":"refused"}"#).unwrap()
    }

    fn history() -> History {
        History {
            leaf_not_before: Timestamp::from_unix(1_795_000_000),
            digest: sha256(b"card"),
            first_verified: Timestamp::from_unix(1_795_000_060),
            profile: Profile::KagentiGo,
            algorithm: Algorithm::EdDsa,
        }
    }

    #[test]
    fn a_memory_survives_the_way_through_status() {
        for profile in Profile::ALL {
            for algorithm in Algorithm::ALL {
                let before = History { profile, algorithm, ..history() };
                let mut verdict = verdict();
                verdict.remember(&before);
                let stored = serde_json::to_string(&verdict).unwrap();
                let read: CardVerdict = serde_json::from_str(&stored).unwrap();
                assert_eq!(read.history(), Some(Ok(before)));
                assert_eq!(read.outcome, Outcome::Refused);
            }
        }
    }

    #[test]
    fn no_memory_is_not_a_broken_one() {
        assert_eq!(verdict().history(), None);
    }

    #[test]
    fn a_broken_memory_is_an_error_that_names_the_field() {
        type Break = (&'static str, fn(&mut CardVerdict));
        let breaks: [Break; 7] = [
            ("profile", |v| v.profile = Some("jcs".to_owned())),
            ("algorithm", |v| v.algorithm = Some("none".to_owned())),
            ("digest", |v| v.digest = Some("A".repeat(64))),
            ("digest", |v| v.digest = Some("a".repeat(66))),
            ("digest", |v| v.digest = None),
            ("firstVerified", |v| v.first_verified = None),
            ("leafNotBefore", |v| v.leaf_not_before = None),
        ];
        for (field, spoil) in breaks {
            let mut verdict = verdict();
            verdict.remember(&history());
            spoil(&mut verdict);
            let error = verdict.history().unwrap().unwrap_err().to_string();
            assert!(error.contains(&format!("status.verdict.{field} is")), "{error}");
        }
    }
}

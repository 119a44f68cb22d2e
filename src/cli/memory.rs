//! The file that carries what is remembered of accepted cards from one run to the next.
//! It makes replay checks (rule 55) and `witnessed` freshness (rule 57) work without a running operator.

use super::exit::Unusable;
use crate::core::canon::Profile;
use crate::core::encoding::Digest;
use crate::core::history::History;
use crate::core::jws::Algorithm;
use crate::core::spiffe::SpiffeId;
use crate::core::text::Quoted;
use crate::core::time::Timestamp;
use crate::io::files::{FileError, read_file, write_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Largest memory file, in bytes: some 3,000 workloads.
const MEMORY_BYTES: usize = 1024 * 1024;
/// The version of the format that this program reads and writes.
const VERSION: u32 = 1;

/// The memory of many workloads and where it is kept.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    workloads: BTreeMap<String, Entry>,
}

/// [`History`] in the names and units of the file; times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    leaf_not_before: i64,
    digest: String,
    first_verified: i64,
    profile: String,
    algorithm: String,
}

impl Memory {
    /// Reads the file; one that does not exist is a memory without workloads.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let content = match read_file(path, MEMORY_BYTES) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| damaged(path, &format!("{error}")))?
            }
            Err(FileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Content { version: VERSION, workloads: BTreeMap::new() }
            }
            Err(error) => return Err(error.into()),
        };
        let memory = Self { path: path.to_owned(), content };
        if memory.content.version != VERSION {
            return Err(damaged(path, &format!("its version is {}", memory.content.version)));
        }
        // Every entry is read now: a damaged one is found before it is needed.
        for id in memory.content.workloads.keys() {
            let id = SpiffeId::parse(id).map_err(|refusal| damaged(path, refusal.message()))?;
            memory.history(&id)?;
        }
        Ok(memory)
    }

    /// What is remembered of a workload.
    pub(super) fn history(&self, id: &SpiffeId) -> Result<Option<History>, Unusable> {
        let Some(entry) = self.content.workloads.get(id.as_str()) else { return Ok(None) };
        let history = entry.history();
        history.map(Some).ok_or_else(|| damaged(&self.path, &format!("the entry of {id} cannot be read")))
    }

    /// Remembers a workload; the file is written only if something changed.
    pub(super) fn remember(mut self, id: &SpiffeId, history: History) -> Result<(), Unusable> {
        let entry = Entry::of(history);
        if self.content.workloads.get(id.as_str()) == Some(&entry) {
            return Ok(());
        }
        self.content.workloads.insert(id.as_str().to_owned(), entry);
        let mut json = serde_json::to_vec_pretty(&self.content).map_err(Unusable::new)?;
        json.push(b'\n');
        Ok(write_file(&self.path, &json)?)
    }
}

impl Entry {
    fn of(history: History) -> Self {
        Self {
            leaf_not_before: history.leaf_not_before.as_unix(),
            digest: history.digest.to_string(),
            first_verified: history.first_verified.as_unix(),
            profile: history.profile.id().to_owned(),
            algorithm: history.algorithm.name().to_owned(),
        }
    }

    fn history(&self) -> Option<History> {
        Some(History {
            leaf_not_before: Timestamp::from_unix(self.leaf_not_before),
            digest: parse_digest(&self.digest)?,
            first_verified: Timestamp::from_unix(self.first_verified),
            profile: Profile::from_id(&self.profile)?,
            algorithm: Algorithm::parse(&self.algorithm).ok()?,
        })
    }
}

fn parse_digest(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let start = index.checked_mul(2)?;
        *byte = u8::from_str_radix(hex.get(start..start.checked_add(2)?)?, 16).ok()?;
    }
    Some(Digest::from_bytes(bytes))
}

fn damaged(path: &Path, why: &str) -> Unusable {
    Unusable::new(format!(
        "the memory {} cannot be read: {why}; restore it, or remove it to accept older cards again",
        Quoted(&path.to_string_lossy())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_as_it_was() {
        let history = History {
            leaf_not_before: Timestamp::from_unix(1),
            digest: crate::core::encoding::sha256(b"card"),
            first_verified: Timestamp::from_unix(2),
            profile: Profile::KagentiGo,
            algorithm: Algorithm::Ps256,
        };
        assert_eq!(Entry::of(history).history(), Some(history));
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert!(parse_digest(&"a".repeat(64)).is_some());
        for bad in ["", &"a".repeat(63), &"+1".repeat(32), &"g".repeat(64)] {
            assert!(parse_digest(bad).is_none(), "{bad}");
        }
    }
}

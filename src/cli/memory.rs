//! The memory file, which carries the memory of accepted cards from one run to the next.
//! With the file, replay checks (rule 55) and `witnessed` freshness (rule 57) need no running operator.

use super::exit::Unusable;
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::encoding::Digest;
use countersign_core::history::{self, History};
use countersign_core::spiffe::SpiffeId;
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use countersign_io::files::{FileError, read_file, write_file};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Largest memory file, in bytes; holds about 3,000 workloads.
const MEMORY_BYTES: usize = 1024 * 1024;
/// Version of the format that is written.
const VERSION: u32 = 2;
/// Version without contents, whose entries cannot be compared with a card.
const VERSION_WITHOUT_CONTENTS: u32 = 1;

/// The memory of many workloads, with the path of its file.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    content: MemoryFile,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemoryFile {
    version: u32,
    workloads: BTreeMap<String, WorkloadEntry>,
}

/// The JSON form of a [`History`]; times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WorkloadEntry {
    contents: Vec<ContentEntry>,
    issued_after: Option<i64>,
    leaf_not_before: Option<i64>,
    profile: String,
    #[serde(default)]
    names_form: bool,
    #[serde(default)]
    weaker_forms: Vec<String>,
}

/// The JSON form of a [`countersign_core::history::Content`]; times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContentEntry {
    digest: String,
    witnessed_at: i64,
    signed_at: Option<i64>,
}

impl Memory {
    /// Reads the memory; a file that does not exist is a memory without workloads.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let content = match read_file(path, MEMORY_BYTES) {
            Ok(bytes) if is_card(&bytes) => return Err(no_memory(path)),
            Ok(bytes) => parse(&bytes).map_err(|problem| damaged(path, &problem))?,
            Err(FileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                MemoryFile { version: VERSION, workloads: BTreeMap::new() }
            }
            Err(FileError::Empty { .. }) => return Err(damaged(path, "it is empty")),
            Err(error) => return Err(error.into()),
        };
        let memory = Self { path: path.to_owned(), content };
        // A damaged entry of any workload fails now, and not in the run that first needs it.
        for id in memory.content.workloads.keys() {
            let id = SpiffeId::parse(id).map_err(|refusal| damaged(path, refusal.message()))?;
            memory.history(&id)?;
        }
        Ok(memory)
    }

    /// The memory of one workload, if there is one.
    pub(super) fn history(&self, id: &SpiffeId) -> Result<Option<History>, Unusable> {
        let Some(entry) = self.content.workloads.get(id.as_str()) else { return Ok(None) };
        let history = entry.history();
        history.map(Some).ok_or_else(|| damaged(&self.path, &format!("the entry of {id} cannot be read")))
    }

    /// Replaces the memory of one workload and writes the file, unless nothing changed.
    pub(super) fn remember(mut self, id: &SpiffeId, history: &History) -> Result<(), Unusable> {
        let entry = WorkloadEntry::of(history);
        if self.content.workloads.get(id.as_str()) == Some(&entry) {
            return Ok(());
        }
        self.content.workloads.insert(id.as_str().to_owned(), entry);
        let mut json = serde_json::to_vec_pretty(&self.content).map_err(Unusable::new)?;
        json.push(b'\n');
        Ok(write_file(&self.path, &json)?)
    }
}

/// Parses the file. One of [`VERSION_WITHOUT_CONTENTS`] is read as empty: the next accepted card starts the memory.
fn parse(bytes: &[u8]) -> Result<MemoryFile, String> {
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match versioned.version {
        VERSION => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        VERSION_WITHOUT_CONTENTS => Ok(MemoryFile { version: VERSION, workloads: BTreeMap::new() }),
        other => Err(format!("its version is {other}")),
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl WorkloadEntry {
    fn of(history: &History) -> Self {
        let content = |content: &history::Content| ContentEntry {
            digest: content.digest.to_string(),
            witnessed_at: content.witnessed_at.as_unix(),
            signed_at: content.signed_at.map(Timestamp::as_unix),
        };
        Self {
            contents: history.contents.iter().map(content).collect(),
            issued_after: history.issued_after.map(Timestamp::as_unix),
            leaf_not_before: history.leaf_not_before.map(Timestamp::as_unix),
            profile: history.profile.id().to_owned(),
            names_form: history.names_form,
            weaker_forms: history.weaker_forms.iter().map(|profile| profile.id().to_owned()).collect(),
        }
    }

    fn history(&self) -> Option<History> {
        let content = |entry: &ContentEntry| {
            Some(history::Content {
                digest: Digest::from_hex(&entry.digest)?,
                witnessed_at: Timestamp::from_unix(entry.witnessed_at),
                signed_at: entry.signed_at.map(Timestamp::from_unix),
            })
        };
        let history = History {
            contents: self.contents.iter().map(content).collect::<Option<_>>()?,
            issued_after: self.issued_after.map(Timestamp::from_unix),
            leaf_not_before: self.leaf_not_before.map(Timestamp::from_unix),
            profile: Profile::from_id(&self.profile)?,
            names_form: self.names_form,
            weaker_forms: self
                .weaker_forms
                .iter()
                .try_fold(ProfileSet::NONE, |forms, id| Some(forms.with(Profile::from_id(id)?)))?,
        };
        Some(history.completed())
    }
}

/// Members that a card has and a memory has not.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MembersOfCard {
    signatures: Option<IgnoredAny>,
    supported_interfaces: Option<IgnoredAny>,
    skills: Option<IgnoredAny>,
    capabilities: Option<IgnoredAny>,
    protocol_version: Option<IgnoredAny>,
}

/// True for a card, which somebody named in place of the memory.
fn is_card(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|found: MembersOfCard| {
        let MembersOfCard { signatures, supported_interfaces, skills, capabilities, protocol_version } =
            found;
        [signatures, supported_interfaces, skills, capabilities, protocol_version].iter().any(Option::is_some)
    })
}

fn no_memory(path: &Path) -> Unusable {
    Unusable::new(format!(
        "{} is a card and no memory file: give --memory another file, which `verify` makes if it does not exist, and name \
         the card without a flag",
        Quoted(&path.to_string_lossy())
    ))
}

fn damaged(path: &Path, why: &str) -> Unusable {
    Unusable::new(format!(
        "{} is no memory of accepted cards that can be read: {why}; give --memory the file that `verify` made, restored \
         from a copy if it was damaged; a new file starts without what older ones remember, and accepts older cards again",
        Quoted(&path.to_string_lossy())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_as_it_was() {
        let content = |text: &[u8], signed_at| history::Content {
            digest: countersign_core::encoding::sha256(text),
            witnessed_at: Timestamp::from_unix(2),
            signed_at,
        };
        let history = History {
            contents: vec![content(b"one", None), content(b"two", Some(Timestamp::from_unix(3)))],
            issued_after: Some(Timestamp::from_unix(1)),
            leaf_not_before: None,
            profile: Profile::KagentiGo,
            names_form: true,
            weaker_forms: ProfileSet::NONE.with(Profile::Spec841),
        };
        assert_eq!(WorkloadEntry::of(&history).history(), Some(history));
    }
}

//! Conversion of the replay memory between `core::history` and the fields of a status.
//! An unreadable memory is an error, never an absent one: forgetting would accept a replay (rule 55).

use super::status::time;
use super::verdict::{AcceptedContent, CardVerdict};
use countersign_core::canon::{Profile, ProfileSet};
use countersign_core::encoding::Digest;
use countersign_core::history::{Content, History};
use countersign_core::text::Quoted;
use countersign_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use thiserror::Error;

/// An unreadable field of the memory in status.
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
    /// Reads the memory; `None` if no field of it is set, an error if a field is missing or malformed.
    pub fn history(&self) -> Option<Result<History, MemoryError>> {
        let parts = [
            self.profile.is_some(),
            !self.contents.is_empty(),
            self.issued_after.is_some(),
            self.leaf_not_before.is_some(),
            self.names_form,
            !self.weaker_forms.is_empty(),
        ];
        parts.contains(&true).then(|| self.read())
    }

    /// Replaces the fields of the memory; the other fields stay.
    pub fn remember(&mut self, history: &History) {
        let content = |content: &Content| AcceptedContent {
            digest: content.digest.to_string(),
            witnessed_at: time(content.witnessed_at),
            signed_at: content.signed_at.map(time),
        };
        self.profile = Some(history.profile.id().to_owned());
        self.contents = history.contents.iter().map(content).collect();
        self.issued_after = history.issued_after.map(time);
        self.leaf_not_before = history.leaf_not_before.map(time);
        self.names_form = history.names_form;
        self.weaker_forms = history.weaker_forms.iter().map(|profile| profile.id().to_owned()).collect();
    }

    /// Reads every field. `contents` is empty in a status that a version without contents wrote.
    fn read(&self) -> Result<History, MemoryError> {
        let content = |content: &AcceptedContent| {
            Ok(Content {
                digest: text("contents.digest", Some(&content.digest), Digest::from_hex)?,
                witnessed_at: moment(&content.witnessed_at),
                signed_at: content.signed_at.as_ref().map(moment),
            })
        };
        let history = History {
            contents: self.contents.iter().map(content).collect::<Result<_, _>>()?,
            issued_after: self.issued_after.as_ref().map(moment),
            leaf_not_before: self.leaf_not_before.as_ref().map(moment),
            profile: text("profile", self.profile.as_deref(), Profile::from_id)?,
            names_form: self.names_form,
            weaker_forms: self.weaker_forms.iter().try_fold(ProfileSet::NONE, |forms, id| {
                text("weakerForms", Some(id), Profile::from_id).map(|profile| forms.with(profile))
            })?,
        };
        Ok(history.completed())
    }
}

fn moment(value: &Time) -> Timestamp {
    Timestamp::from_unix(value.0.as_second())
}

fn text<T>(
    field: &'static str,
    value: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, MemoryError> {
    let found = || value.map_or_else(|| "absent".to_owned(), |text| Quoted(text).to_string());
    value.and_then(read).ok_or_else(|| MemoryError { field, found: found() })
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use countersign_core::encoding::sha256;

    fn verdict() -> CardVerdict {
        serde_json::from_str(r#"{"outcome":"refused"}"#).unwrap()
    }

    fn history() -> History {
        let at = |seconds| Timestamp::from_unix(1_795_000_000_i64.saturating_add(seconds));
        let content =
            |text: &[u8], signed_at| Content { digest: sha256(text), witnessed_at: at(60), signed_at };
        History {
            contents: vec![content(b"one", Some(at(30))), content(b"two", None)],
            issued_after: Some(at(10)),
            leaf_not_before: Some(at(0)),
            profile: Profile::KagentiGo,
            names_form: true,
            weaker_forms: ProfileSet::NONE.with(Profile::KagentiGo).with(Profile::Spec841),
        }
    }

    #[test]
    fn a_memory_survives_the_way_through_status() {
        for profile in Profile::ALL {
            for (issued_after, leaf_not_before) in [(None, None), (history().issued_after, None)] {
                let before = History { issued_after, leaf_not_before, profile, ..history() };
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
    fn a_memory_from_before_contents_were_kept_knows_of_none() {
        let text = r#"{"outcome":"verified","profile":"spec841","algorithm":"ES256","digest":"00",
            "firstVerified":"2026-11-18T11:07:40Z","leafNotBefore":"2026-11-18T11:06:40Z"}"#;
        let verdict: CardVerdict = serde_json::from_str(text).unwrap();
        let history = verdict.history().unwrap().unwrap();
        assert!(history.contents.is_empty() && history.leaf_not_before.is_some());
    }

    #[test]
    fn no_memory_is_not_a_broken_one() {
        assert_eq!(verdict().history(), None);
    }

    #[test]
    fn a_broken_memory_is_an_error_that_names_the_field() {
        type Break = (&'static str, fn(&mut CardVerdict));
        let breaks: [Break; 5] = [
            ("weakerForms", |v| v.weaker_forms[1] = "jcs".to_owned()),
            ("profile", |v| v.profile = Some("jcs".to_owned())),
            ("profile", |v| v.profile = None),
            ("contents.digest", |v| v.contents[0].digest = "A".repeat(64)),
            ("contents.digest", |v| v.contents[1].digest = "a".repeat(66)),
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

//! What the operator asked of the API server, from the audit log.

use anyhow::Result;
use countersign_rig::Rig;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How the operator calls itself, if it does: every other client of a rig has another name.
const OPERATOR: [&str; 2] = ["countersign", "kube"];

/// The requests of the operator since a moment, but for those about its lease.
pub struct Audit {
    log: PathBuf,
    read: u64,
    rest: Vec<u8>,
    requests: Vec<Request>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// Namespace and name; empty where the request names none.
    pub place: (String, String),
    /// Path and query.
    pub uri: String,
    /// When it came, since 1970.
    pub asked: Duration,
    /// When it was answered, since 1970.
    pub answered: Duration,
}

impl Request {
    /// Whether it asks for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Audit {
    /// Everything since the API server started.
    pub fn from_the_start(rig: &Rig) -> Self {
        Self { log: rig.audit_log(), read: 0, rest: Vec::new(), requests: Vec::new() }
    }

    /// Everything from now on.
    pub fn from_now_on(rig: &Rig) -> Result<Self> {
        let read = std::fs::metadata(rig.audit_log())?.len();
        Ok(Self { read, ..Self::from_the_start(rig) })
    }

    /// The requests so far.
    pub fn requests(&mut self) -> Result<&[Request]> {
        let mut file = File::open(&self.log)?;
        if file.metadata()?.len() < self.read {
            // The API server began a new file.
            self.read = 0;
        }
        file.seek(SeekFrom::Start(self.read))?;
        self.read += u64::try_from(file.read_to_end(&mut self.rest)?)?;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        for line in std::mem::replace(&mut self.rest, rest).split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                self.requests.extend(request(&serde_json::from_slice(line)?));
            }
        }
        Ok(&self.requests)
    }

    /// The writes so far.
    pub fn writes(&mut self) -> Result<Vec<Request>> {
        Ok(self.requests()?.iter().filter(|request| request.is_write()).cloned().collect())
    }
}

fn request(event: &Value) -> Option<Request> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = &event["objectRef"];
    let by = event["userAgent"].as_str().unwrap_or_default();
    // A watch is logged when it starts and when it ends.
    let repeated = event["verb"] == "watch" && event["stage"] == "ResponseComplete";
    let ours = by.is_empty()
        || OPERATOR
            .iter()
            .any(|name| by.starts_with(name) && !by.starts_with("kube-") && !by.starts_with("kubectl"));
    if !ours || about["resource"] == "leases" || repeated {
        return None;
    }
    let part = about["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
    Some(Request {
        verb: text(&event["verb"]),
        resource: text(&about["resource"]) + &part,
        place: (text(&about["namespace"]), text(&about["name"])),
        uri: text(&event["requestURI"]),
        asked: time(&event["requestReceivedTimestamp"])?,
        answered: time(&event["stageTimestamp"])?,
    })
}

fn time(text: &Value) -> Option<Duration> {
    (OffsetDateTime::parse(text.as_str()?, &Rfc3339).ok()? - OffsetDateTime::UNIX_EPOCH).try_into().ok()
}

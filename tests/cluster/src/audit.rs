//! What the operator asked of the API server, from the audit log.

use anyhow::Result;
use countersign_rig::Rig;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How the operator calls itself, if it does: every other client of a rig has another name.
const OPERATOR: [&str; 2] = ["countersign", "kube"];

/// The requests of the operator since a moment, but for those about its lease.
pub struct Audit {
    log: PathBuf,
    /// The one namespace whose requests count, besides those about no namespace.
    only: Option<String>,
    read: u64,
    /// Whether what comes next is the end of a line that began earlier.
    within_a_line: bool,
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
    /// Status code of the answer; 0 if there was none.
    pub code: u64,
    /// When it came, since 1970.
    pub asked: Duration,
    /// When it was answered, since 1970.
    pub answered: Duration,
}

impl Request {
    /// Whether it asks for a change; a review (of a token, of access) is a question, although it is created.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && !self.resource.ends_with("reviews")
    }
}

impl Audit {
    /// Everything since the API server started.
    pub fn from_the_start(rig: &Rig) -> Self {
        Self::of(rig.audit_log())
    }

    fn of(log: PathBuf) -> Self {
        Self { log, only: None, read: 0, within_a_line: false, rest: Vec::new(), requests: Vec::new() }
    }

    /// Everything from now on.
    pub fn from_now_on(rig: &Rig) -> Result<Self> {
        Self::at_the_end_of(rig.audit_log())
    }

    /// The same for one namespace, and for what is in none.
    pub fn of_namespace(rig: &Rig, namespace: &str) -> Result<Self> {
        Ok(Self { only: Some(namespace.to_owned()), ..Self::from_now_on(rig)? })
    }

    fn at_the_end_of(log: PathBuf) -> Result<Self> {
        let read = std::fs::metadata(&log)?.len();
        // The last line may be half written: what is missing of it was asked before now.
        let within_a_line = read > 0 && last_byte(&log, read)? != b'\n';
        Ok(Self { read, within_a_line, ..Self::of(log) })
    }

    /// The requests so far.
    pub fn requests(&mut self) -> Result<&[Request]> {
        let mut file = File::open(&self.log)?;
        if file.metadata()?.len() < self.read {
            // The API server began a new file.
            (self.read, self.within_a_line) = (0, false);
        }
        file.seek(SeekFrom::Start(self.read))?;
        self.read += u64::try_from(file.read_to_end(&mut self.rest)?)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(&self.requests);
        };
        let rest = self.rest.split_off(end + 1);
        for line in std::mem::replace(&mut self.rest, rest).split(|byte| *byte == b'\n') {
            if !std::mem::take(&mut self.within_a_line) && !line.is_empty() {
                self.requests.extend(request(&serde_json::from_slice(line)?));
            }
        }
        Ok(&self.requests)
    }

    /// The writes so far.
    pub fn writes(&mut self) -> Result<Vec<Request>> {
        let only = self.only.clone();
        let counts = |request: &&Request| {
            let elsewhere = only.as_ref().is_some_and(|only| *only != request.place.0);
            request.is_write() && (!elsewhere || request.place.0.is_empty())
        };
        Ok(self.requests()?.iter().filter(counts).cloned().collect())
    }
}

fn last_byte(file: &Path, length: u64) -> Result<u8> {
    let mut byte = [0];
    File::open(file)?.read_exact_at(&mut byte, length - 1)?;
    Ok(byte[0])
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
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        asked: time(&event["requestReceivedTimestamp"])?,
        answered: time(&event["stageTimestamp"])?,
    })
}

fn time(text: &Value) -> Option<Duration> {
    (OffsetDateTime::parse(text.as_str()?, &Rfc3339).ok()? - OffsetDateTime::UNIX_EPOCH).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::Audit;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn what_is_missing_of_a_line_is_no_line() {
        let line = r#"{"verb":"patch","objectRef":{"resource":"pods","name":"N"},
            "requestReceivedTimestamp":"2026-01-01T00:00:00Z","stageTimestamp":"2026-01-01T00:00:00Z"}"#;
        let line = |name: &str| line.replace('\n', "").replace('N', name);
        let path = std::env::temp_dir().join(format!("audit-{}.log", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let (before, half) = (line("before"), line("half-written"));
        let (first, second) = half.split_at(half.len() / 2);
        write!(file, "{before}\n{first}").unwrap();
        let mut audit = Audit::at_the_end_of(path.clone()).unwrap();
        assert!(audit.requests().unwrap().is_empty());
        write!(file, "{second}").unwrap();
        assert!(audit.requests().unwrap().is_empty());
        let after = line("after");
        writeln!(file, "\n{after}").unwrap();
        let names: Vec<String> =
            audit.requests().unwrap().iter().map(|found| found.place.1.clone()).collect();
        assert_eq!(names, ["after"]);
        std::fs::remove_file(path).unwrap();
    }
}

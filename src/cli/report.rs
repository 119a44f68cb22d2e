//! The result of a verification, as JSON for scripts and as text for people.
//! The JSON members are a contract (`schemas/report.schema.json`): every member is always present, in this order, null or
//! empty without a value.

use super::exit::{Outcome, Unusable};
use super::page::{BAD, GOOD, Page, STRONG, styled};
use super::received::shown;
use countersign_core::jws::Algorithm;
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::text::Quoted;
use countersign_core::verify::SignatureOutcome;
use schemars::JsonSchema;
use serde::Serialize;

/// Version of the JSON members. A member that is added leaves the version; one that goes, or means something else, raises
/// it.
const REPORT_VERSION: u32 = 1;

/// The verdict in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum VerdictWord {
    Verified,
    Refused,
}

impl VerdictWord {
    const fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Refused => "refused",
        }
    }

    fn shown(self) -> String {
        styled(if self == Self::Verified { GOOD } else { BAD }, self.word())
    }
}

/// The coverage of the signature in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CoverageWord {
    Full,
    Partial,
}

/// Result of verifying one card or one SVID, printed as text or as one JSON object with every member present; members
/// without a value are null or empty.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Version of the members, raised when one goes or means something else.
    pub(super) schema_version: u32,
    /// Argument that named the card or SVID.
    pub(super) source: String,
    pub(super) verdict: VerdictWord,
    /// Code of the reason for a refusal, from a closed list.
    pub(super) reason: Option<&'static str>,
    /// Sentence about what was checked and found; its wording may change.
    pub(super) message: Option<String>,
    /// What to do about the refusal.
    pub(super) fix: Option<&'static str>,
    /// SPIFFE ID of the signer.
    pub(super) spiffe_id: Option<String>,
    /// SPIFFE ID that had to sign; null if any workload of the trust domain was accepted.
    pub(super) expected_id: Option<String>,
    /// Canonical form that the signature covers.
    pub(super) profile: Option<&'static str>,
    /// JWS algorithm of the signature.
    pub(super) algorithm: Option<&'static str>,
    /// Key ID in the protected header.
    pub(super) key_id: Option<String>,
    /// SHA-256 of the received bytes of the card, or of the SVID, in hexadecimal.
    pub(super) digest: Option<String>,
    /// End of the signature or of its certificate, whichever is first.
    pub(super) not_after: Option<String>,
    /// Whether the signature covers the whole document.
    pub(super) coverage: Option<CoverageWord>,
    /// JSON Pointers to uncovered members, at most 64: those that decide about security first.
    pub(super) uncovered: Vec<String>,
    /// Number of uncovered members beyond `uncovered`.
    pub(super) uncovered_unlisted: usize,
    /// Requests whose answers were verified, for a card that was fetched: two if they differ.
    pub(super) representations: Vec<&'static str>,
    /// Outcome of each entry of `signatures`, in their order.
    pub(super) signatures: Vec<SignatureReport>,
}

/// The outcome of one entry of `signatures`.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignatureReport {
    pub(super) index: usize,
    pub(super) key_id: Option<String>,
    pub(super) algorithm: Option<&'static str>,
    pub(super) outcome: VerdictWord,
    pub(super) reason: Option<&'static str>,
    pub(super) message: Option<String>,
    pub(super) spiffe_id: Option<String>,
    pub(super) profile: Option<&'static str>,
}

impl Report {
    /// Makes a verified result without any further value.
    pub(super) const fn verified() -> Self {
        Self {
            schema_version: REPORT_VERSION,
            source: String::new(),
            verdict: VerdictWord::Verified,
            reason: None,
            message: None,
            fix: None,
            spiffe_id: None,
            expected_id: None,
            profile: None,
            algorithm: None,
            key_id: None,
            digest: None,
            not_after: None,
            coverage: None,
            uncovered: Vec::new(),
            uncovered_unlisted: 0,
            representations: Vec::new(),
            signatures: Vec::new(),
        }
    }

    /// Makes a refused result with reason, message and fix.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self {
            verdict: VerdictWord::Refused,
            reason: Some(refusal.reason().code()),
            message: Some(refusal.message().to_owned()),
            fix: Some(refusal.reason().fix()),
            ..Self::verified()
        }
    }

    /// Outcome of the verdict, which decides the exit code.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.reason.and_then(Reason::from_code))
    }

    /// Writes one JSON object, indented, with a line break at its end.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, Unusable> {
        let mut json = serde_json::to_vec_pretty(self).map_err(Unusable::new)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Writes the result as text.
    pub(super) fn to_text(&self) -> Vec<u8> {
        let mut page = Page::new();
        page.line(format_args!("{}  {}", self.verdict.shown(), Quoted(&shown(&self.source))));
        let fields = [
            ("reason", self.reason.map(|code| format!("{code}: {}", title(code)))),
            ("found", self.message.clone()),
            ("fix", self.fix.map(str::to_owned)),
            ("rules", self.reason.and_then(rules)),
            ("signer", self.signer_text()),
            ("profile", self.profile.map(str::to_owned)),
            ("algorithm", self.algorithm.map(str::to_owned)),
            ("key ID", self.key_id.as_ref().map(|id| Quoted(id).to_string())),
            ("digest", self.digest.clone()),
            ("not after", self.not_after.clone()),
            ("coverage", self.coverage_text()),
            ("answer to", self.answers()),
        ];
        for (label, value) in fields {
            if let Some(value) = value {
                page.field(label, &value);
            }
        }
        if !self.signatures.is_empty() {
            page.line(styled(STRONG, "  signatures"));
        }
        for signature in &self.signatures {
            page.paragraph(4, &signature.text());
        }
        page.into_bytes()
    }

    fn signer_text(&self) -> Option<String> {
        let signer = self.spiffe_id.as_ref()?;
        Some(match self.expected_id {
            Some(_) => signer.clone(),
            None => format!("{signer}, where any workload of its trust domain was accepted"),
        })
    }

    fn answers(&self) -> Option<String> {
        let requests = self.representations.join(", and another one to those ");
        (!requests.is_empty()).then(|| format!("requests {requests}"))
    }

    fn coverage_text(&self) -> Option<String> {
        self.coverage.map(|coverage| match coverage {
            CoverageWord::Full => "full".to_owned(),
            CoverageWord::Partial if self.uncovered.is_empty() => {
                "partial: members that were left out before signing are not authenticated".to_owned()
            }
            CoverageWord::Partial => {
                let mut pointers: Vec<String> =
                    self.uncovered.iter().map(|at| Quoted(at).to_string()).collect();
                if self.uncovered_unlisted > 0 {
                    pointers.push(format!("and {} more", self.uncovered_unlisted));
                }
                format!("partial: not covered are {}", pointers.join(", "))
            }
        })
    }
}

impl From<&SignatureOutcome> for SignatureReport {
    fn from(found: &SignatureOutcome) -> Self {
        let refusal = found.result.as_ref().err();
        Self {
            index: found.index,
            key_id: found.key_id.clone(),
            algorithm: found.algorithm.map(Algorithm::name),
            outcome: if refusal.is_some() { VerdictWord::Refused } else { VerdictWord::Verified },
            reason: refusal.map(|refusal| refusal.reason().code()),
            message: refusal.map(|refusal| refusal.message().to_owned()),
            spiffe_id: found.spiffe_id.as_ref().map(ToString::to_string),
            profile: found.result.as_ref().ok().map(|profile| profile.id()),
        }
    }
}

impl SignatureReport {
    fn text(&self) -> String {
        let mut words = vec![format!("[{}] {}", self.index, self.outcome.word())];
        words.extend(self.algorithm.map(str::to_owned));
        words.extend(self.spiffe_id.clone());
        words.extend(self.profile.map(|profile| format!("({profile})")));
        if let (Some(reason), Some(message)) = (self.reason, &self.message) {
            words.push(format!("{reason}: {message}"));
        }
        words.join(" ")
    }
}

fn title(code: &str) -> &'static str {
    Reason::from_code(code).map_or("", Reason::title)
}

fn rules(code: &str) -> Option<String> {
    let rules: Vec<String> = Reason::from_code(code)?.rules().iter().map(u8::to_string).collect();
    let more = format!("see also `countersign explain {code}`");
    Some(if rules.is_empty() { more } else { format!("{}; {more}", rules.join(", ")) })
}

//! The verdict in status: the outcome with its reason, and the replay memory.
//! Status holds the memory so that a restarted operator refuses replays, too (rule 55).

use super::schema;
use countersign_core::canon::Profile;
use countersign_core::limits::REPLAY_CONTENTS;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Outcome of the last evaluation of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Signed by the identity of its workload.
    Verified,
    /// Not verified, for the reason given.
    Refused,
}

/// The verdict on the card, and what is remembered of the last accepted one.
///
/// `profile`, `algorithm`, `digest`, `firstVerified`, `contents`, `issuedAfter`, `leafNotBefore`, `namesForm` and
/// `weakerForms` are about the last
/// *accepted* card, also while the current one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CardVerdict {
    /// Whether the card is verified.
    pub outcome: Outcome,
    /// Why the card was refused, as one word; the list is in docs/reasons.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was checked and found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The canonical form of the strongest signature accepted so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The JWS algorithm of the last accepted signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// SHA-256 of the content that was last accepted, in the form that is signed, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When the verdict ends unless the card is signed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// How much of the card the signature covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// Members that the signature does not cover, as JSON Pointers: those that decide about security first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::pointers")]
    pub uncovered: Vec<String>,
    /// How many more members the signature does not cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncovered_unlisted: Option<i32>,
    /// When that content was first verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_verified: Option<Time>,
    /// The contents that the replicas of the workload serve, each accepted: usually one, more during a rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = REPLAY_CONTENTS))]
    pub contents: Vec<AcceptedContent>,
    /// The newest signature over a content that is served no longer; other content counts if it was signed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_after: Option<Time>,
    /// The `notBefore` of the oldest certificate in use when the content last changed; other content whose signature
    /// does not say when it was made counts under a certificate that is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_not_before: Option<Time>,
    /// Whether a signature said that it covers the whole card; other content then needs one that says so, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_form: bool,
    /// The canonical forms that leave out members of the content that decide about security; other content signed over one
    /// of them counts only if it was signed later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = Profile::ALL.len()))]
    pub weaker_forms: Vec<String>,
}

/// One content that replicas of a workload serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedContent {
    /// SHA-256 of the form that is signed, in hexadecimal digits.
    pub digest: String,
    /// When it was verified under a valid certificate; with witnessed freshness its age counts.
    pub witnessed_at: Time,
    /// When it was signed, as far as its signature tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_at: Option<Time>,
}

//! The explanation of one card: the steps of the pipeline, then the verdict of the verifier.
//! The steps only show intermediate results; the verdict never depends on them.

use super::step::Trace;
use crate::args::AuthorityArgs;
use crate::exit::Unusable;
use crate::page::counted;
use crate::policy::PolicyArgs;
use crate::received::{ReceivedCard, receive, shown};
use crate::verify::CardVerifier;
use countersign_core::budget::WorkBudget;
use countersign_core::canon::canonicalize;
use countersign_core::card::{Card, RawSignature};
use countersign_core::encoding::{Digest, sha256};
use countersign_core::json::Value;
use countersign_core::jws::{Header, parse_header};
use countersign_core::text::Quoted;
use countersign_core::verify::{Rejection, SignedCard};
use countersign_core::x509::{Moments, VerifiedChain, verify_chain};
use countersign_io::fetch::Representation;

/// The explanation of one card, with its verdict.
pub(super) struct Explained {
    pub(super) trace: Trace,
    pub(super) refused: bool,
    pub(super) warnings: Vec<String>,
}

/// Explains the card that `subject` names.
pub(super) fn explain(
    subject: &str,
    authority: &AuthorityArgs,
    policy: &PolicyArgs,
) -> Result<Explained, Unusable> {
    let authority = authority.read(policy.expect_id.as_ref())?;
    let verifier = CardVerifier {
        bundle: authority.bundle()?,
        policy: policy.policy(authority.trust_domain().clone()),
        expected: policy.expect_id.as_ref(),
        history: policy.memory()?.1,
        now: policy.at(),
    };
    let mut trace = Trace::new(&shown(subject));
    let mut refused = true;
    match receive(subject)? {
        Err(refusal) => trace.refused("receive the card", &refusal),
        Ok(mut received) => {
            let other = received.unversioned.take().map(|other| ReceivedCard {
                representation: Some(Representation::Unversioned),
                ..ReceivedCard::new(other, received.source.clone())
            });
            refused = explain_received(&verifier, received, &mut trace);
            // Clients may see either card, so one that is bad refuses both.
            if let Some(other) = other {
                refused |= explain_received(&verifier, other, &mut trace);
            }
        }
    }
    Ok(Explained { trace, refused, warnings: authority.warnings })
}

/// Explains a received card; returns true if the card is refused.
pub(crate) fn explain_received(
    verifier: &CardVerifier<'_>,
    received: ReceivedCard,
    trace: &mut Trace,
) -> bool {
    let size = received.bytes.len();
    let from = Quoted(&received.source).to_string();
    let mut found = vec![format!("{size} bytes from {from}"), format!("SHA-256 {}", received.digest)];
    found.extend(received.representation.map(|of| format!("the answer to a request {}", of.as_str())));
    trace.noted("receive the card", found);
    explain_authority(verifier, trace);
    explain_document(verifier, received.bytes, trace)
}

fn explain_authority(verifier: &CardVerifier<'_>, trace: &mut Trace) {
    let bundle = verifier.bundle;
    let sequence = bundle.sequence().map_or_else(String::new, |number| format!(", sequence {number}"));
    trace.noted(
        "read the trust bundle",
        vec![
            format!(
                "{} of {}{sequence}",
                counted(bundle.anchors().len(), "authority", "authorities"),
                bundle.trust_domain()
            ),
            format!("judged as of {}", verifier.now),
        ],
    );
}

/// Explains parsing, signatures, forms and verdict of the card; returns true if the card is refused.
fn explain_document(verifier: &CardVerifier<'_>, bytes: Vec<u8>, trace: &mut Trace) -> bool {
    const READ: &str = "read the card as strict JSON";
    let card = match Card::parse(bytes.clone(), verifier.policy.numbers) {
        Ok(card) => card,
        Err(refusal) => {
            trace.refused(READ, &refusal);
            return true;
        }
    };
    let mut found = Vec::new();
    let root = card.document().root().as_object();
    for member in ["name", "version"] {
        if let Some(text) = root.and_then(|root| root.get(member)).and_then(Value::as_str) {
            found.push(format!("{member} {}", Quoted(text)));
        }
    }
    let misleading = card.misleading_names();
    if !misleading.is_empty() {
        found.push(format!("invisible characters in {}", misleading.join(", ")));
    }
    found.push(counted(card.signatures().count(), "signature", "signatures"));
    trace.accepted(READ, found);
    for (index, raw) in card.signatures().enumerate() {
        explain_signature(verifier, index, raw, trace);
    }
    explain_forms(verifier, &card, trace);
    match verifier.verify(bytes) {
        Ok(signed) => {
            conclude(&signed, trace);
            false
        }
        Err(rejection) => {
            conclude_refused(&rejection, trace);
            true
        }
    }
}

fn explain_signature(verifier: &CardVerifier<'_>, index: usize, raw: RawSignature<'_>, trace: &mut Trace) {
    let policy = &verifier.policy;
    let step = format!("signature {index}: read its header");
    let header = match parse_header(raw.protected, raw.header, policy.algorithms, policy.require_key_id) {
        Ok(header) => header,
        Err(refusal) => return trace.refused(&step, &refusal),
    };
    trace.accepted(&step, describe_header(&header));
    let Some(chain) = &header.chain else { return };
    let step = format!("signature {index}: verify its certificate chain");
    let mut budget = WorkBudget::new(policy.budget);
    let moments = Moments::live(verifier.now);
    let domain = &policy.trust_domain;
    match verify_chain(chain, domain, verifier.bundle, &policy.chain, moments, &mut budget) {
        Err(refusal) => trace.refused(&step, &refusal),
        Ok(chain) => trace.accepted(&step, describe_chain(&chain)),
    }
}

fn describe_header(header: &Header) -> Vec<String> {
    let key_id = header.key_id.as_ref().map_or_else(|| "none".to_owned(), |id| Quoted(id).to_string());
    let mut found = vec![format!("alg {}, kid {key_id}", header.algorithm.name())];
    match &header.chain {
        Some(chain) => {
            found.push(format!("x5c with {}", counted(chain.len(), "certificate", "certificates")));
        }
        None => found.push("no x5c".to_owned()),
    }
    for (name, time) in [("iat", header.issued_at), ("exp", header.expires_at)] {
        found.extend(time.map(|time| format!("{name} {time}")));
    }
    found
}

fn describe_chain(chain: &VerifiedChain) -> Vec<String> {
    vec![
        chain.spiffe_id().to_string(),
        format!("{} key, leaf SHA-256 {}", chain.leaf_key().kind(), chain.leaf_sha256()),
        format!("valid from {} to {}", chain.not_before(), chain.not_after()),
        format!("ends in the authority {}", chain.anchor_sha256()),
    ]
}

/// Lists length and digest of each canonical form that a signature may cover.
fn explain_forms(verifier: &CardVerifier<'_>, card: &Card, trace: &mut Trace) {
    let mut seen: Vec<(Digest, &str)> = Vec::new();
    let found = verifier
        .policy
        .profiles
        .iter()
        .map(|profile| match canonicalize(card.document(), profile) {
            Err(refusal) => format!("{profile}: no such form, because {}", refusal.message()),
            Ok(bytes) => {
                let digest = sha256(&bytes);
                if let Some((_, first)) = seen.iter().find(|(other, _)| *other == digest) {
                    return format!("{profile}: the same bytes as {first}");
                }
                seen.push((digest, profile.id()));
                format!("{profile}: {} bytes, SHA-256 {digest}", bytes.len())
            }
        })
        .collect();
    trace.noted("write the canonical forms", found);
}

fn conclude(signed: &SignedCard, trace: &mut Trace) {
    for outcome in signed.signatures() {
        explain_outcome(outcome, trace);
    }
    let mut found = vec![signed.coverage().id().to_owned()];
    found.extend(signed.uncovered().iter().map(|member| {
        let weight = if member.decides_security() { "decides about security" } else { "does not decide" };
        format!("not covered: {} ({weight})", Quoted(member.pointer()))
    }));
    if signed.unlisted() > 0 {
        found.push(format!("and {} more", signed.unlisted()));
    }
    trace.accepted("judge what the signature covers", found);
    trace.accepted("verdict", vec![format!("signed by {} over {}", signed.spiffe_id(), signed.profile())]);
}

fn conclude_refused(rejection: &Rejection, trace: &mut Trace) {
    for outcome in &rejection.signatures {
        explain_outcome(outcome, trace);
    }
    let also: Vec<String> = rejection.others.iter().map(ToString::to_string).collect();
    if !also.is_empty() {
        trace.noted("other refusals on the way", also);
    }
    trace.refused("verdict", &rejection.refusal);
}

fn explain_outcome(outcome: &countersign_core::verify::SignatureOutcome, trace: &mut Trace) {
    let step = format!("signature {}: check it over the forms", outcome.index);
    match &outcome.result {
        Ok(profile) => trace.accepted(&step, vec![format!("verifies over {profile}")]),
        Err(refusal) => trace.refused(&step, refusal),
    }
}

//! Verification of a chain: structure, roles, trust domain, anchor, signatures, then time (rules 29–42).
//! Checks run in the order of the reasons, so that a refusal tells how far the chain came.

use super::anchor::Anchor;
use super::certificate::Certificate;
use super::constraints::NameConstraints;
use super::issued::{is_signed_by, is_supported};
use super::leaf::verify_leaf_role;
use super::path::{allows_issuers_below, check_order};
use super::proof::{ChainPolicy, ChainProof, Issuer, Moments, VerifiedChain};
use super::role::check_issuer_role;
use crate::budget::WorkBudget;
use crate::bundle::Bundle;
use crate::encoding::sha256;
use crate::jws::{KeyKind, KeyView, PublicKey};
use crate::limits::{CHAIN_BYTES, CHAIN_CERTIFICATES};
use crate::refusal::{Reason, Refusal};
use crate::spiffe::TrustDomain;
use std::sync::Arc;

/// Verifies that `chain` (DER, leaf first) is an X509-SVID of `trust_domain` issued under `bundle`, and that every
/// certificate is valid at the given times. Takes the cost of each signature from `budget` before checking it.
pub fn verify_chain(
    chain: &[Vec<u8>],
    trust_domain: &TrustDomain,
    bundle: &Bundle,
    policy: &ChainPolicy,
    at: Moments,
    budget: &mut WorkBudget,
) -> Result<VerifiedChain, Refusal> {
    VerifiedChain::check_times(Arc::new(prove_chain(chain, trust_domain, bundle, budget)?), policy, at)
}

/// Verifies everything about a chain that does not depend on time.
pub(crate) fn prove_chain(
    chain: &[Vec<u8>],
    trust_domain: &TrustDomain,
    bundle: &Bundle,
    budget: &mut WorkBudget,
) -> Result<ChainProof, Refusal> {
    if bundle.trust_domain() != trust_domain {
        let message = format!("the bundle belongs to {}, the card to {trust_domain}", bundle.trust_domain());
        return Err(Refusal::new(Reason::TrustDomainUnknown, message));
    }
    check_size(chain)?;
    let (root, chain) = split_root(chain, bundle);
    let Some((leaf, issuers)) = chain.split_first() else {
        return Err(Refusal::new(Reason::ChainEncoding, "the chain is empty"));
    };
    let leaf = Certificate::parse(leaf).map_err(|refusal| at_position(0, &refusal))?;
    let issuers = parse_issuers(issuers)?;

    check_order(&leaf, &issuers, root, bundle.anchors())?;
    let spiffe_id = verify_leaf_role(&leaf)?;
    check_issuers(&leaf, &issuers, spiffe_id.trust_domain())?;
    let keys = read_keys(&leaf, &issuers)?;
    if spiffe_id.trust_domain() != trust_domain {
        let message = format!(
            "the signer is of the trust domain {}, and signers of {trust_domain} alone are trusted here",
            spiffe_id.trust_domain()
        );
        return Err(Refusal::new(Reason::TrustDomainMismatch, message));
    }
    let anchors = verify_signatures(&leaf, &issuers, &keys.issuers, root, bundle, budget)?;
    Ok(ChainProof {
        spiffe_id,
        leaf_sha256: sha256(leaf.der),
        leaf_key: keys.leaf,
        leaf_validity: leaf.validity,
        subject_key_id: leaf.subject_key_id.map(Into::into),
        issuers: issuers
            .iter()
            .map(|issuer| Issuer { validity: issuer.validity, key_id: issuer.subject_key_id.map(Into::into) })
            .collect(),
        anchors,
    })
}

fn check_size(chain: &[Vec<u8>]) -> Result<(), Refusal> {
    if chain.len() > CHAIN_CERTIFICATES {
        let message =
            format!("the chain has {} certificates, the limit is {CHAIN_CERTIFICATES}", chain.len());
        return Err(Refusal::new(Reason::ChainTooLarge, message));
    }
    let bytes = chain.iter().fold(0_usize, |sum, certificate| sum.saturating_add(certificate.len()));
    if bytes > CHAIN_BYTES {
        let message = format!("the chain has {bytes} bytes, the limit is {CHAIN_BYTES}");
        return Err(Refusal::new(Reason::ChainTooLarge, message));
    }
    Ok(())
}

/// Splits off a trailing root that equals an anchor byte for byte (rule 31).
fn split_root<'b, 'c>(chain: &'c [Vec<u8>], bundle: &'b Bundle) -> (Option<&'b Anchor>, &'c [Vec<u8>]) {
    match chain.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            match bundle.anchors().iter().find(|anchor| anchor.der() == last.as_slice()) {
                Some(anchor) => (Some(anchor), rest),
                None => (None, chain),
            }
        }
        _ => (None, chain),
    }
}

fn parse_issuers(issuers: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, Refusal> {
    let mut parsed = Vec::with_capacity(issuers.len());
    for (index, der) in issuers.iter().enumerate() {
        parsed
            .push(Certificate::parse(der).map_err(|refusal| at_position(index.saturating_add(1), &refusal))?);
    }
    Ok(parsed)
}

fn check_issuers(
    leaf: &Certificate<'_>,
    issuers: &[Certificate<'_>],
    trust_domain: &TrustDomain,
) -> Result<(), Refusal> {
    for (below, issuer) in issuers.iter().enumerate() {
        let position = below.saturating_add(1);
        check_issuer_role(issuer, trust_domain).map_err(|refusal| at_position(position, &refusal))?;
        if !allows_issuers_below(issuer.path_length, below) {
            let message = format!("certificate {position} allows fewer than the {below} issuers below it");
            return Err(Refusal::new(Reason::IssuerPathLength, message));
        }
        if let Some(constraints) = &issuer.name_constraints {
            let below = std::iter::once(leaf).chain(issuers.iter().take(below));
            check_constraints(constraints, below, &format!("certificate {position} of the chain"))?;
        }
    }
    Ok(())
}

/// Refuses a chain in which a certificate of `below` (leaf first) has a name that `holder` does not allow (rule 37).
fn check_constraints<'c, 'a: 'c>(
    constraints: &NameConstraints,
    below: impl Iterator<Item = &'c Certificate<'a>>,
    holder: &str,
) -> Result<(), Refusal> {
    for (position, certificate) in below.enumerate() {
        constraints.check(certificate.subject, certificate.alternative_names).map_err(|problem| {
            let message = format!("by the name constraints of {holder}, certificate {position} {problem}");
            Refusal::new(Reason::NameConstraints, message)
        })?;
    }
    Ok(())
}

struct Keys<'a> {
    leaf: PublicKey,
    issuers: Vec<KeyView<'a>>,
}

/// Parses all keys, and refuses unsupported keys and signature algorithms (rules 15 and 39).
fn read_keys<'a>(leaf: &Certificate<'_>, issuers: &[Certificate<'a>]) -> Result<Keys<'a>, Refusal> {
    let refuse = |position: usize, problem: &str| {
        Refusal::new(Reason::ChainAlgorithm, format!("certificate {position} of the chain {problem}"))
    };
    let key = PublicKey::from_spki(leaf.spki).map_err(|refusal| at_position(0, &refusal))?;
    if key.kind() == KeyKind::Ed25519 {
        return Err(refuse(0, "has an Ed25519 key"));
    }
    let mut views = Vec::with_capacity(issuers.len());
    for (index, issuer) in issuers.iter().enumerate() {
        let position = index.saturating_add(1);
        let view = KeyView::parse(issuer.spki)
            .map_err(|problem| refuse(position, &format!("has a key that {problem}")))?;
        if view.kind == KeyKind::Ed25519 {
            return Err(refuse(position, "has an Ed25519 key"));
        }
        views.push(view);
    }
    for (position, certificate) in std::iter::once(leaf).chain(issuers).enumerate() {
        if !is_supported(certificate.signature_algorithm) {
            return Err(refuse(position, "is signed with something other than RSA or ECDSA with SHA-2"));
        }
    }
    Ok(Keys { leaf: key, issuers: views })
}

/// Finds the anchor that signed the last certificate, verifies the chain from there down to the leaf, and returns
/// every anchor with the key of that anchor.
///
/// The order is top down, so that each key is vouched for before a sender can make the verifier use it (rule 40).
fn verify_signatures(
    leaf: &Certificate<'_>,
    issuers: &[Certificate<'_>],
    keys: &[KeyView<'_>],
    root: Option<&Anchor>,
    bundle: &Bundle,
    budget: &mut WorkBudget,
) -> Result<Vec<Arc<Anchor>>, Refusal> {
    let top = issuers.last().unwrap_or(leaf);
    let candidates = select_anchors(leaf, issuers, root, bundle)?;
    let mut tried = candidates.iter();
    let signer = loop {
        match tried.next() {
            None => {
                let message = "the last certificate of the chain was not signed by the authority it names";
                return Err(Refusal::new(Reason::ChainSignature, message));
            }
            Some(candidate) if is_signed_by(top, candidate.key().view(), budget)? => break candidate,
            Some(_) => {}
        }
    };
    for (position, key) in keys.iter().enumerate().rev() {
        let child = position.checked_sub(1).and_then(|below| issuers.get(below)).unwrap_or(leaf);
        if !is_signed_by(child, *key, budget)? {
            let message = format!("certificate {position} of the chain was not signed by the one after it");
            return Err(Refusal::new(Reason::ChainSignature, message));
        }
    }
    let signer = Arc::clone(signer);
    Ok(candidates.into_iter().filter(|other| other.key() == signer.key()).map(Arc::clone).collect())
}

/// The anchors that can have issued `top`: those of its issuer name, narrowed to its authority key identifier if any
/// of them has that one (rule 40). An authority re-issued with an unchanged key is listed twice.
fn select_anchors<'b>(
    leaf: &Certificate<'_>,
    issuers: &[Certificate<'_>],
    root: Option<&Anchor>,
    bundle: &'b Bundle,
) -> Result<Vec<&'b Arc<Anchor>>, Refusal> {
    let top = issuers.last().unwrap_or(leaf);
    let mut candidates: Vec<_> = bundle
        .anchors()
        .iter()
        .filter(|anchor| root.is_none_or(|root| root.key() == anchor.key()))
        .filter(|anchor| top.names_as_issuer(anchor.subject(), anchor.subject_key_id()))
        .collect();
    if top.authority_key_id.is_some() {
        let exact = |anchor: &&Arc<Anchor>| anchor.subject_key_id() == top.authority_key_id;
        if candidates.iter().any(exact) {
            candidates.retain(exact);
        }
    }
    if candidates.is_empty() {
        let message =
            format!("no authority of {} issued the last certificate of the chain", bundle.trust_domain());
        return Err(Refusal::new(Reason::AnchorUnknown, message));
    }
    candidates.retain(|anchor| allows_issuers_below(anchor.path_length(), issuers.len()));
    if candidates.is_empty() {
        let message = format!("the authority allows fewer than the {} issuers below it", issuers.len());
        return Err(Refusal::new(Reason::IssuerPathLength, message));
    }
    let mut refusal = None;
    candidates.retain(|anchor| {
        let Some(constraints) = anchor.name_constraints() else { return true };
        let below = std::iter::once(leaf).chain(issuers);
        match check_constraints(constraints, below, "the authority in the bundle") {
            Ok(()) => true,
            Err(problem) => {
                refusal = Some(problem);
                false
            }
        }
    });
    match refusal {
        Some(refusal) if candidates.is_empty() => Err(refusal),
        _ => Ok(candidates),
    }
}

fn at_position(position: usize, refusal: &Refusal) -> Refusal {
    Refusal::new(refusal.reason(), format!("certificate {position} of the chain: {}", refusal.message()))
}

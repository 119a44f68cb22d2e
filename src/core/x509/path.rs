//! The order and the length of a chain (rules 31 and 37).
//! The sender's order is checked as it is: a search or sort would do work that the sender chooses.

use super::anchor::Anchor;
use super::certificate::Certificate;
use crate::refusal::{Reason, Refusal};
use std::sync::Arc;

/// Checks that each certificate names the next one as its issuer, and that none is repeated or a root.
///
/// `root` is the trailing root of the chain that the bundle contains, if any; `issuers` comes without it.
pub(crate) fn check_order(
    leaf: &Certificate<'_>,
    issuers: &[Certificate<'_>],
    root: Option<&Anchor>,
    anchors: &[Arc<Anchor>],
) -> Result<(), Refusal> {
    let mut child = leaf;
    for (index, issuer) in issuers.iter().enumerate() {
        check_issuer_name(child, issuer.subject, issuer.subject_key_id, anchors, index)?;
        child = issuer;
    }
    if let Some(root) = root {
        check_issuer_name(child, root.subject(), root.subject_key_id(), anchors, issuers.len())?;
    }
    for (index, issuer) in issuers.iter().enumerate() {
        let position = index.saturating_add(1);
        let repeated =
            issuer.der == leaf.der || issuers.iter().take(index).any(|other| other.der == issuer.der);
        if repeated {
            return Err(extra(format!("certificate {position} of the chain is a repetition")));
        }
        if issuer.claims_to_be_self_signed() {
            return Err(extra(format!(
                "certificate {position} of the chain is a root that the bundle does not contain"
            )));
        }
    }
    Ok(())
}

fn check_issuer_name(
    child: &Certificate<'_>,
    subject: &[u8],
    subject_key_id: Option<&[u8]>,
    anchors: &[Arc<Anchor>],
    index: usize,
) -> Result<(), Refusal> {
    if child.names_as_issuer(subject, subject_key_id) {
        return Ok(());
    }
    let next = index.saturating_add(1);
    // The bundle issued `child`, so the chain was complete and the following certificate does not belong to it.
    if anchors.iter().any(|anchor| child.names_as_issuer(anchor.subject(), anchor.subject_key_id())) {
        let message =
            format!("certificate {index} is issued by the bundle, but certificate {next} follows it");
        return Err(extra(message));
    }
    let message = format!("certificate {index} names another issuer than certificate {next}");
    Err(Refusal::new(Reason::ChainOrder, message))
}

fn extra(message: String) -> Refusal {
    Refusal::new(Reason::ChainExtraCertificate, message)
}

/// True if a path length constraint allows `below` CA certificates between its holder and the leaf.
///
/// Self-issued certificates count, unlike in RFC 5280 §6.1.4: SPIRE servers share one name, so the exception would
/// lift the limit altogether.
pub(crate) fn allows_issuers_below(path_length: Option<u32>, below: usize) -> bool {
    path_length.and_then(|limit| usize::try_from(limit).ok()).is_none_or(|limit| below <= limit)
}

//! Lines about the signatures of a card on which readers do not agree: who accepts which, and what it leaves out.

use countersign_core::canon::Profile;
use countersign_core::sign::{NewSignature, NewlySigned};
use countersign_core::text::Quoted;
use countersign_core::x509::{ChainPolicy, leaf_facts};
use std::time::Duration;

/// Most members that one line names; the others are counted.
const NAMED: usize = 8;

/// Who verifies signatures over a form, in the order of [`Profile::ALL`]. Only current releases are named: older
/// ones read some cards differently even where the form is the same.
const READERS: [(Profile, &str); 4] = [
    (Profile::JcsRaw, "Countersign"),
    (Profile::ProtoCleanJcs, "a2a-js ≥ 1.0.1"),
    (Profile::KagentiGo, "kagenti"),
    (Profile::ProtoFoldedJcs, "a2a-python ≥ 1.1.4"),
];

/// Makes the lines; none if one signature serves Countersign and every current SDK.
pub(super) fn of(signed: &NewlySigned) -> Vec<String> {
    let sdks = [Profile::ProtoCleanJcs, Profile::ProtoFoldedJcs];
    let serves_all = |first: &NewSignature| sdks.iter().all(|sdk| first.profiles.contains(sdk));
    if signed.signatures.first().is_some_and(serves_all) {
        return Vec::new();
    }
    let mut lines: Vec<String> =
        signed.signatures.iter().enumerate().map(|(index, signature)| line(index, signature)).collect();
    let any = |profile| signed.signatures.iter().any(|signature| signature.profiles.contains(&profile));
    if let Some(refusal) = &signed.without_sdks {
        lines.push(format!("no signature is for the A2A SDKs: {refusal}"));
    } else if !any(Profile::ProtoCleanJcs) {
        lines.push(
            "a2a-js accepts no signature of this card, because it does not read 0.3 members; --upgrade writes 1.0 ones"
                .to_owned(),
        );
    }
    lines
}

/// Makes the line about an SVID that lives longer than verifiers accept, unless their policy says otherwise.
pub(super) fn of_lifetime(chain: &[Vec<u8>]) -> Option<String> {
    let leaf = leaf_facts(chain.first()?).ok()?;
    let ChainPolicy { max_svid_lifetime, backdating, .. } = ChainPolicy::default();
    let longest = max_svid_lifetime?;
    if leaf.not_after <= leaf.not_before.plus(longest).plus(backdating) {
        return None;
    }
    let lifetime = u64::try_from(leaf.not_after.since(leaf.not_before)).ok()?;
    let shown = |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string();
    Some(format!(
        "warning: the SVID lives for {}, and verifiers refuse one that lives longer than {} unless their policy allows it: \
         whoever steals its key signs until {}; issue SVIDs of an hour, or set maxSvidLifetime where the card is verified",
        shown(lifetime),
        shown(u64::from(longest.get())),
        leaf.not_after
    ))
}

fn line(index: usize, signature: &NewSignature) -> String {
    let readers: Vec<&str> = READERS
        .iter()
        .filter(|(profile, _)| signature.profiles.contains(profile))
        .map(|(_, reader)| *reader)
        .collect();
    let listed = signature.uncovered.listed();
    let named: Vec<String> =
        listed.iter().take(NAMED).map(|member| Quoted(member.pointer()).to_string()).collect();
    let covers = if signature.profiles.contains(&Profile::JcsRaw) {
        "covers the whole card".to_owned()
    } else if named.is_empty() {
        "leaves out empty members".to_owned()
    } else {
        match signature.uncovered.total().saturating_sub(named.len()) {
            0 => format!("leaves out {}", named.join(", ")),
            more => format!("leaves out {} and {more} more", named.join(", ")),
        }
    };
    format!("signature {}: accepted by {}; {covers}", index.saturating_add(1), readers.join(" and "))
}

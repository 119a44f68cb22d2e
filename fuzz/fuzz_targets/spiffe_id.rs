//! What we accept as a SPIFFE ID or trust domain is what the SPIFFE grammar, written down here a second time,
//! and the `spiffe` crate accept, unchanged in every byte.
#![no_main]

use countersign_core::spiffe::{SpiffeId, TrustDomain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    check_id(text);
    // Most inputs lack the scheme; with it they reach the grammar behind it.
    check_id(&format!("spiffe://{text}"));
    check_id(&format!("spiffe://example.org/{text}"));
    check_domain(text);
});

fn check_id(text: &str) {
    let ours = SpiffeId::parse(text).ok();
    assert_eq!(ours.is_some(), is_spiffe_id(text), "{text:?}");
    let Some(id) = ours else { return };
    assert_eq!((id.as_str(), id.to_string().as_str()), (text, text));
    assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
    assert_eq!(id.has_path(), id.path().len() > 1);
    assert_eq!(SpiffeId::parse(id.as_str()).as_ref(), Ok(&id));
    assert_eq!(TrustDomain::parse(id.trust_domain().as_str()).as_ref(), Ok(id.trust_domain()));
    let theirs = spiffe::SpiffeId::new(text).expect("the spiffe crate accepts it");
    assert_eq!((theirs.trust_domain().as_str(), theirs.path()), (id.trust_domain().as_str(), id.path()));
}

fn check_domain(text: &str) {
    let ours = TrustDomain::parse(text).ok();
    assert_eq!(ours.is_some(), is_trust_domain(text), "{text:?}");
    if let Some(domain) = ours {
        assert_eq!(domain.as_str(), text);
        assert_eq!(spiffe::TrustDomain::new(text).expect("the spiffe crate accepts it").as_str(), text);
    }
}

fn is_trust_domain(text: &str) -> bool {
    const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
    (1..=255).contains(&text.len()) && text.chars().all(|c| ALPHABET.contains(c))
}

fn is_spiffe_id(text: &str) -> bool {
    const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    let mut parts = text.split('/');
    text.len() <= 2048
        && parts.next() == Some("spiffe:")
        && parts.next() == Some("")
        && parts.next().is_some_and(is_trust_domain)
        && parts.all(|segment| {
            !["", ".", ".."].contains(&segment) && segment.chars().all(|c| ALPHABET.contains(c))
        })
}

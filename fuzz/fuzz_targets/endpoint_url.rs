//! Whenever we accept an endpoint, the WHATWG URL parser finds the same scheme, host and port in it, the host is
//! a domain, and nothing in the text could point elsewhere.
#![no_main]

use countersign_core::endpoint::Endpoint;
use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

fuzz_target!(|text: &str| {
    check(text);
    // Most inputs lack the scheme; with it they reach what stands behind it.
    check(&format!("https://{text}"));
    check(&format!("http://a.example{text}"));
});

fn check(text: &str) {
    let Ok(ours) = Endpoint::parse(text) else { return };
    let theirs = match Url::parse(text) {
        Ok(theirs) => theirs,
        // A label that claims to be Punycode and is not names no host anywhere; we compare labels, not decode them.
        Err(url::ParseError::IdnaError) if ours.host().split('.').any(|label| label.starts_with("xn--")) => {
            return;
        }
        Err(error) => panic!("the url crate refuses it: {error}"),
    };
    assert_eq!(theirs.scheme(), if ours.is_encrypted() { "https" } else { "http" });
    assert_eq!(theirs.host(), Some(Host::Domain(ours.host())), "{theirs}");
    let default = if ours.is_encrypted() { 443 } else { 80 };
    assert_eq!(theirs.port_or_known_default(), Some(ours.port().unwrap_or(default)));
    assert_eq!((theirs.username(), theirs.password(), theirs.fragment()), ("", None, None));
    // A host that is written again reads the same, and nothing was decoded or normalised on the way.
    assert!(text.to_ascii_lowercase().contains(ours.host()));
    assert!(!ours.host().contains(['%', '@', ':', '[']) && ours.host().is_ascii());
    let again =
        format!("{}://{}", theirs.scheme(), &theirs[url::Position::BeforeHost..url::Position::AfterPort]);
    let again = Endpoint::parse(&again).expect("its own normal form");
    assert_eq!(again.host(), ours.host());
}

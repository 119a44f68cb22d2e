//! An answer of a token endpoint that is accepted has one bearer token that can be sent, by `serde_json` too.
#![no_main]

use countersign_authbridge::token_response::{parse_token_error, parse_token_response};
use countersign_fuzz::json::Facts;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Some(error) = parse_token_error(data.to_vec()) {
        assert!(error.len() <= 120 && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    let Ok(response) = parse_token_response(data.to_vec()) else { return };
    let facts = Facts::of(data).expect("JSON");
    assert!(!facts.duplicates && !facts.nul, "{facts:?}");
    let value: Value = serde_json::from_slice(data).expect("JSON");
    assert_eq!(value["access_token"].as_str(), Some(response.token.as_str()));
    assert!(!response.token.is_empty() && response.token.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
    assert!(value["token_type"].as_str().expect("a type").eq_ignore_ascii_case("bearer"));
    assert!(!format!("{response:?}").contains("access_token"));
    assert_eq!(response.lifetime.is_some(), value.get("expires_in").is_some());
});

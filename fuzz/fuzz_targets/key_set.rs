//! A key set that is accepted is one for josekit too, and holds no more keys than josekit finds in it.
#![no_main]

use countersign_authbridge::jwt::parse_key_set;
use josekit::jwk::JwkSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(keys) = parse_key_set(data.to_vec()) else { return };
    assert!(!keys.is_empty() && keys.len() + keys.skipped() <= 64);
    let text = std::str::from_utf8(data).expect("JSON is UTF-8");
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let entries = value["keys"].as_array().expect("keys");
    assert_eq!(entries.len(), keys.len() + keys.skipped());
    // josekit reads a set as a whole; where it can, it finds every key that we use.
    if let Ok(set) = JwkSet::from_bytes(text) {
        assert!(set.keys().len() >= keys.len());
    }
    // The digest is of these bytes: a changed document is another set.
    let again = parse_key_set([data, b" "].concat()).expect("white space changes nothing");
    assert_ne!(again.digest(), keys.digest());
});

//! What the beginning of a connection says does not change when more of it arrives, and a name is a host name.
#![no_main]

use countersign_authbridge::client_hello::{Hello, parse_client_hello};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = parse_client_hello(data);
    if let Hello::Name(Some(name)) = &whole {
        assert!(!name.is_empty() && name.len() <= 255 && *name == name.to_ascii_lowercase());
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
        assert!(data.to_ascii_lowercase().windows(name.len()).any(|window| window == name.as_bytes()));
    }
    for length in (0..data.len()).rev().take(64) {
        let part = parse_client_hello(&data[..length]);
        assert!(part == Hello::Incomplete || part == whole, "{length}: {part:?} before {whole:?}");
    }
});

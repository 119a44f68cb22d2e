//! Both base64 readers accept exactly what a strict reference decoder accepts, with the same bytes, and every
//! byte string has one text.
#![no_main]

use countersign_core::encoding::{
    decode_base64_standard, decode_base64url, encode_base64_standard_into, encode_base64url_into,
};
use data_encoding::{BASE64, BASE64URL_NOPAD, Encoding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check(data, &BASE64URL_NOPAD, |text| decode_base64url(text).ok(), encode_base64url_into);
    check(data, &BASE64, |text| decode_base64_standard(text).ok(), encode_base64_standard_into);
});

fn check(
    data: &[u8],
    reference: &Encoding,
    decode: impl Fn(&str) -> Option<Vec<u8>>,
    encode: impl Fn(&[u8], &mut String),
) {
    if let Ok(text) = std::str::from_utf8(data) {
        let decoded = decode(text);
        // The reference reads several padded texts in a row; only one is canonical.
        let expected = reference.decode(data).ok().filter(|bytes| reference.encode(bytes) == text);
        assert_eq!(decoded, expected);
        if let Some(bytes) = decoded {
            let mut again = String::new();
            encode(&bytes, &mut again);
            assert_eq!(again, text, "a second text for the same bytes");
        }
    }
    let mut text = String::from("before");
    encode(data, &mut text);
    let text = text.strip_prefix("before").expect("appended");
    assert_eq!(text, reference.encode(data));
    assert_eq!(decode(text).as_deref(), Some(data));
}

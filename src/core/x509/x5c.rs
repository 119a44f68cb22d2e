//! Decoding of the header parameter `x5c`: standard base64 texts, leaf first (rule 29; RFC 7515 §4.1.6).

use crate::encoding::decode_base64_standard;
use crate::json::Array;
use crate::limits::{CERTIFICATE_BYTES, CHAIN_BYTES, CHAIN_CERTIFICATES};
use crate::refusal::{Reason, Refusal};

/// Decodes the elements of an `x5c` array. The length of each text is checked before it is decoded.
pub(crate) fn decode_x5c(values: Array<'_>) -> Result<Vec<Vec<u8>>, Refusal> {
    if values.is_empty() {
        return Err(Refusal::new(Reason::ChainEncoding, "x5c is empty"));
    }
    if values.len() > CHAIN_CERTIFICATES {
        let message = format!("x5c has {} certificates, the limit is {CHAIN_CERTIFICATES}", values.len());
        return Err(Refusal::new(Reason::ChainTooLarge, message));
    }
    let mut chain = Vec::with_capacity(values.len());
    let mut total = 0_usize;
    for (index, value) in values.iter().enumerate() {
        let Some(text) = value.as_str() else {
            return Err(Refusal::new(Reason::ChainEncoding, format!("x5c[{index}] is not a string")));
        };
        let bytes = text.len().div_ceil(4).saturating_mul(3);
        if bytes > CERTIFICATE_BYTES.saturating_add(2) {
            let message = format!("x5c[{index}] has about {bytes} bytes, the limit is {CERTIFICATE_BYTES}");
            return Err(Refusal::new(Reason::ChainTooLarge, message));
        }
        let der = decode_base64_standard(text).map_err(|refusal| {
            Refusal::new(Reason::ChainEncoding, format!("x5c[{index}]: {}", refusal.message()))
        })?;
        total = total.saturating_add(der.len());
        if total > CHAIN_BYTES || der.len() > CERTIFICATE_BYTES {
            let message = format!("x5c[..={index}] has {total} bytes, the limit is {CHAIN_BYTES}");
            return Err(Refusal::new(Reason::ChainTooLarge, message));
        }
        chain.push(der);
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Document, JsonLimits, Numbers};

    fn decode(json: &str) -> Result<Vec<Vec<u8>>, Reason> {
        Document::parse(json.as_bytes().to_vec(), &JsonLimits::BUNDLE, Numbers::Strict)
            .and_then(|document| decode_x5c(document.root().as_array().expect("an array")))
            .map_err(|refusal| refusal.reason())
    }

    #[test]
    fn one_to_five_standard_base64_strings_are_decoded_in_order() {
        assert_eq!(decode(r#"["AQI=","+/8="]"#), Ok(vec![vec![1, 2], vec![0xfb, 0xff]]));
        assert_eq!(decode(r#"["AA==","AQ==","Ag==","Aw==","BA=="]"#).map(|chain| chain.len()), Ok(5));
    }

    #[test]
    fn rule_29_another_alphabet_white_space_or_shape_is_not_a_chain() {
        for json in [
            "[]",
            "[1]",
            "[null]",
            r#"["-_8="]"#,
            r#"["AQI"]"#,
            r#"["AQ I="]"#,
            r#"["AQI=\n"]"#,
            r#"[["AQI="]]"#,
        ] {
            assert_eq!(decode(json), Err(Reason::ChainEncoding), "{json}");
        }
    }

    #[test]
    fn rule_29_count_and_sizes_are_bounded_exactly() {
        let of = |sizes: &[usize]| {
            use base64::Engine as _;
            let texts: Vec<_> = sizes
                .iter()
                .map(|size| {
                    format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(vec![0; *size]))
                })
                .collect();
            decode(&format!("[{}]", texts.join(","))).map(|chain| chain.len())
        };
        assert_eq!(of(&[8192, 8192]), Ok(2));
        assert_eq!(of(&[8193]), Err(Reason::ChainTooLarge));
        assert_eq!(of(&[8192, 8192, 1]), Err(Reason::ChainTooLarge));
        assert_eq!(of(&[1, 1, 1, 1, 1, 1]), Err(Reason::ChainTooLarge));
    }
}

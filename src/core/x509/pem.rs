//! Certificates in PEM text; keys, requests and parameters beside them are ignored (rule 43; RFC 7468).

use crate::limits::{BUNDLE_ANCHORS, CHAIN_CERTIFICATES};
use crate::refusal::{Reason, Refusal};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Parses the certificates of a chain, leaf first, as SPIRE writes them to `svid.pem`; returns 1 to 5 in DER.
pub fn parse_pem_chain(text: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let chain = parse_pem_certificates(text, CHAIN_CERTIFICATES).map_err(|problem| match problem {
        Problem::TooMany => {
            let message = format!("the chain has more than {CHAIN_CERTIFICATES} certificates");
            Refusal::new(Reason::ChainTooLarge, message)
        }
        Problem::Broken(message) => Refusal::new(Reason::ChainEncoding, message),
    })?;
    if chain.is_empty() {
        return Err(Refusal::new(Reason::ChainEncoding, "the text holds no PEM certificate"));
    }
    Ok(chain)
}

/// An error in PEM text.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The text holds more certificates than the limit.
    TooMany,
    /// A block is cut off or not base64; the text says which.
    Broken(String),
}

/// Parses at most `limit` certificates into DER.
pub(crate) fn parse_pem_certificates(text: &str, limit: usize) -> Result<Vec<Vec<u8>>, Problem> {
    let mut certificates = Vec::new();
    for block in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let der = block.map_err(|error| {
            Problem::Broken(format!(
                "PEM block after certificate {} does not read: {error:?}",
                certificates.len()
            ))
        })?;
        if certificates.len() == limit.min(BUNDLE_ANCHORS) {
            return Err(Problem::TooMany);
        }
        certificates.push(der.to_vec());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    #[test]
    fn certificates_are_read_in_order_and_private_keys_passed_over() {
        let key = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
        let other = "-----BEGIN SOMETHING-----\nAQID\n-----END SOMETHING-----\n";
        let text = format!("comment\n{key}{BLOCK}{other}{}", BLOCK.replace("AQID", "BAUG"));
        assert_eq!(parse_pem_chain(&text).unwrap(), [vec![1, 2, 3], vec![4, 5, 6]]);
    }

    #[test]
    fn a_cut_or_empty_text_is_not_a_chain() {
        let cut = BLOCK.replace("-----END CERTIFICATE-----\n", "");
        let not_base64 = BLOCK.replace("AQID", "A!ID");
        for text in ["", "AQID", cut.as_str(), not_base64.as_str()] {
            assert_eq!(parse_pem_chain(text).unwrap_err().reason(), Reason::ChainEncoding, "{text:?}");
        }
        assert_eq!(parse_pem_chain(&BLOCK.repeat(6)).unwrap_err().reason(), Reason::ChainTooLarge);
    }
}

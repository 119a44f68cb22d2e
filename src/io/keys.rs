//! Private keys from PEM: PKCS#8, SEC 1 or PKCS#1 in, PKCS#8 out.
//! No key appears in `Debug` output or in an error.

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use zeroize::Zeroizing;

/// Longest PEM file with a private key, in bytes; RSA-4096 needs 3.3 KiB, and the file may hold a chain as well.
pub const KEY_FILE_BYTES: usize = 64 * 1024;

/// `INTEGER 0`, the version of an unencrypted PKCS#8 key without attributes.
const VERSION: &[u8] = &[0x02, 1, 0];
/// `AlgorithmIdentifiers` for SEC 1 and PKCS#1 keys, whose own encoding has none (RFC 5480 §2.1, RFC 8017 §A.1).
const P256: &[u8] =
    &[0x30, 19, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x30, 16, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 5, 0x2b, 0x81, 4, 0, 0x22];
const RSA: &[u8] = &[0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0];

/// A private key as one or more PKCS#8 documents, in memory that is overwritten on drop. A SEC 1 key need not name
/// its curve, so there is one document for each curve, and the first one that parses counts.
pub struct PrivateKey(Vec<Zeroizing<Vec<u8>>>);

impl PrivateKey {
    /// Makes a key of one PKCS#8 document.
    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Self {
        Self(vec![der])
    }

    /// The PKCS#8 documents, in the order in which to try them.
    pub fn pkcs8(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|der| der.as_slice())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

/// A text without exactly one usable private key, with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text has no PEM block with a private key.
    #[error("it holds no PEM private key; give a PKCS#8, SEC 1 or PKCS#1 key")]
    None,
    /// The key is protected by a pass phrase.
    #[error(
        "its private key is encrypted; decrypt it first, for example with `openssl pkey -in FILE -out KEY`"
    )]
    Encrypted,
    /// The text has more than one private key.
    #[error("it holds more than one private key; give a file with exactly one")]
    Several,
    /// The PEM block is damaged.
    #[error("its private key is damaged; export the key again")]
    Damaged,
}

/// Parses exactly one private key; certificates and other blocks are ignored.
pub fn parse_private_key(pem: &str) -> Result<PrivateKey, KeyError> {
    if is_encrypted(pem) {
        return Err(KeyError::Encrypted);
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(pem.as_bytes());
    let first = keys.next().ok_or(KeyError::None)?;
    let key = first.map_err(|_| KeyError::Damaged)?;
    if keys.next().is_some() {
        return Err(KeyError::Several);
    }
    let der = key.secret_der();
    let documents = match &key {
        PrivateKeyDer::Pkcs8(_) => vec![der.to_vec()],
        PrivateKeyDer::Sec1(_) => vec![wrap(P256, der), wrap(P384, der)],
        PrivateKeyDer::Pkcs1(_) => vec![wrap(RSA, der)],
        _ => return Err(KeyError::None),
    };
    Ok(PrivateKey(documents.into_iter().map(Zeroizing::new).collect()))
}

/// True if the text has a private key that is protected by a pass phrase. One of the traditional form has header lines
/// (RFC 1421 §4.6.1.1), which no decoder of keys reads.
pub fn is_encrypted(pem: &str) -> bool {
    ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"].iter().any(|mark| pem.contains(mark))
}

/// Wraps a SEC 1 or PKCS#1 key into a `PrivateKeyInfo` (RFC 5958 §2).
fn wrap(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    tlv(0x30, &[VERSION, algorithm, &tlv(0x04, key)].concat())
}

/// Encodes a DER element; `value` must be shorter than 64 KiB, as every key file is.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = vec![tag];
    match length {
        [0, short @ 0..=0x7f] => out.push(short),
        [0, byte] => out.extend([0x81, byte]),
        two => out.extend([0x82, two[0], two[1]]),
    }
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

    fn pem(label: &str, der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    fn pkcs8() -> Vec<u8> {
        rcgen::KeyPair::generate().unwrap().serialize_der()
    }

    fn is_p256(der: &[u8]) -> bool {
        let random = ring::rand::SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).is_ok()
    }

    #[test]
    fn a_sec1_key_comes_out_as_the_pkcs8_key_it_was_taken_from() {
        let whole = pkcs8();
        assert!(is_p256(&whole));
        // The SEC 1 key is the OCTET STRING that follows the algorithm: the 0x30 0x.. after 0x04.
        let start = whole.windows(P256.len()).position(|part| part == P256).unwrap() + P256.len();
        let inner = &whole[start + 2..];
        let key = parse_private_key(&pem("EC PRIVATE KEY", inner)).unwrap();
        assert!(key.pkcs8().any(is_p256));
        assert_eq!(key.pkcs8().next().unwrap(), whole);
    }

    #[test]
    fn certificates_beside_the_key_are_ignored_and_a_second_key_is_not() {
        let key = pem("PRIVATE KEY", &pkcs8());
        let certificate = pem("CERTIFICATE", b"anything");
        assert!(parse_private_key(&format!("{certificate}{key}{certificate}")).is_ok());
        assert_eq!(parse_private_key(&format!("{key}{key}")).unwrap_err(), KeyError::Several);
    }

    #[test]
    fn what_is_not_a_plain_key_says_so() {
        assert_eq!(parse_private_key("").unwrap_err(), KeyError::None);
        assert_eq!(parse_private_key(&pem("CERTIFICATE", b"x")).unwrap_err(), KeyError::None);
        assert_eq!(parse_private_key(&pem("ENCRYPTED PRIVATE KEY", b"x")).unwrap_err(), KeyError::Encrypted);
        for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            // As `openssl ec -aes256` and `openssl rsa -aes256 -traditional` write it.
            let headers = "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,5B2F\n\n";
            let encrypted = pem(label, b"cipher text").replacen("-----\n", headers, 1);
            assert_eq!(parse_private_key(&encrypted).unwrap_err(), KeyError::Encrypted, "{encrypted}");
        }
    }

    #[test]
    fn the_key_never_shows_in_debug_output() {
        let key = PrivateKey::from_pkcs8(vec![77, 88, 99].into());
        assert_eq!(format!("{key:?}"), "PrivateKey(***)");
    }

    #[test]
    fn lengths_are_encoded_in_their_shortest_form() {
        assert_eq!(tlv(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[0; 256])[..4], [4, 0x82, 1, 0]);
    }
}

//! Strict parsing of one certificate into the facts that the rules use (rule 30).
//! Two parsers must accept each certificate: webpki for canonical DER, and x509-parser for the fields.

use super::constraints::NameConstraints;
use crate::der;
use crate::limits::{CERTIFICATE_BYTES, CERTIFICATE_EXTENSIONS};
use crate::refusal::{Reason, Refusal};
use crate::time::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::nom::Parser as _;
use x509_parser::oid_registry as oid;

/// The key usage extension: the bits that decide about the role of a certificate, and its criticality.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each bool is one bit of the extension")]
pub(crate) struct KeyUsage {
    pub(crate) critical: bool,
    pub(crate) digital_signature: bool,
    pub(crate) signs_certificates: bool,
    pub(crate) signs_revocations: bool,
}

/// The purposes of an extended key usage, as far as an SVID has use for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purposes {
    /// True if serverAuth and clientAuth are both there.
    pub(crate) both_ends_of_tls: bool,
    /// True if anyExtendedKeyUsage is there.
    pub(crate) any: bool,
}

/// The facts of one certificate, borrowed from the DER.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    pub(crate) der: &'a [u8],
    /// The `tbsCertificate`, which the signature covers, with tag and length.
    pub(crate) signed: &'a [u8],
    /// Contents of the `AlgorithmIdentifier` of the signature; `check_canonical` has compared the inner and outer one.
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
    pub(crate) validity: Validity,
    pub(crate) is_ca: bool,
    pub(crate) path_length: Option<u32>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) purposes: Option<Purposes>,
    /// Number of URI names in the subject alternative name.
    pub(crate) uri_count: usize,
    pub(crate) first_uri: Option<&'a str>,
    /// The names of the subject alternative name, in DER.
    pub(crate) alternative_names: &'a [u8],
    pub(crate) subject_key_id: Option<&'a [u8]>,
    pub(crate) authority_key_id: Option<&'a [u8]>,
    pub(crate) name_constraints: Option<NameConstraints>,
}

/// The validity period: first and last second, both included (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl<'a> Certificate<'a> {
    /// Parses exactly one certificate of version 3, in canonical DER.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Refusal> {
        if der.len() > CERTIFICATE_BYTES {
            let message = format!("it has {} bytes, the limit is {CERTIFICATE_BYTES}", der.len());
            return Err(Refusal::new(Reason::ChainTooLarge, message));
        }
        check_canonical(der)?;
        let (rest, parsed) = X509CertificateParser::new()
            .parse(der)
            .map_err(|error| malformed(format!("it does not parse: {error}")))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow it", rest.len())));
        }
        let mut certificate = Self::from_parts(der, &parsed)?;
        certificate.read_extensions(parsed.extensions())?;
        Ok(certificate)
    }

    fn from_parts(der: &'a [u8], parsed: &X509Certificate<'a>) -> Result<Self, Refusal> {
        // The signature algorithm is chosen by the exact bytes of the outer AlgorithmIdentifier, which x509-parser does
        // not keep.
        let broken =
            || malformed("its outer structure is not tbsCertificate, signatureAlgorithm, signatureValue");
        let contents = der::read_only(der, der::SEQUENCE).ok_or_else(broken)?;
        let signed = der::read(contents, der::SEQUENCE).ok_or_else(broken)?;
        let algorithm = der::read(signed.rest, der::SEQUENCE).ok_or_else(broken)?;
        let signature =
            der::read_only(algorithm.rest, der::BIT_STRING).and_then(der::whole_bytes).ok_or_else(broken)?;
        let tbs = &parsed.tbs_certificate;
        let validity = Validity {
            not_before: Timestamp::from_unix(tbs.validity.not_before.timestamp()),
            not_after: Timestamp::from_unix(tbs.validity.not_after.timestamp()),
        };
        if validity.not_before > validity.not_after {
            return Err(malformed("its validity ends before it begins"));
        }
        Ok(Self {
            der,
            signed: signed.whole,
            signature_algorithm: algorithm.contents,
            signature,
            issuer: tbs.issuer.as_raw(),
            subject: tbs.subject.as_raw(),
            spki: tbs.subject_pki.raw,
            validity,
            is_ca: false,
            path_length: None,
            key_usage: None,
            purposes: None,
            uri_count: 0,
            first_uri: None,
            alternative_names: &[],
            subject_key_id: None,
            authority_key_id: None,
            name_constraints: None,
        })
    }

    fn read_extensions(&mut self, extensions: &[X509Extension<'a>]) -> Result<(), Refusal> {
        if extensions.len() > CERTIFICATE_EXTENSIONS {
            let message =
                format!("it has {} extensions, the limit is {CERTIFICATE_EXTENSIONS}", extensions.len());
            return Err(malformed(message));
        }
        for (index, extension) in extensions.iter().enumerate() {
            if extensions.iter().take(index).any(|earlier| earlier.oid == extension.oid) {
                return Err(malformed(format!("it has the extension {} twice", extension.oid)));
            }
            self.read_extension(extension)?;
        }
        Ok(())
    }

    fn read_extension(&mut self, extension: &X509Extension<'a>) -> Result<(), Refusal> {
        use ParsedExtension as P;
        match extension.parsed_extension() {
            P::BasicConstraints(constraints) => {
                self.is_ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
            }
            P::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    critical: extension.critical,
                    digital_signature: usage.digital_signature(),
                    signs_certificates: usage.key_cert_sign(),
                    signs_revocations: usage.crl_sign(),
                });
            }
            P::ExtendedKeyUsage(usage) => {
                self.purposes = Some(Purposes {
                    both_ends_of_tls: usage.server_auth && usage.client_auth,
                    any: usage.any,
                });
            }
            P::SubjectAlternativeName(names) => {
                self.alternative_names = der::read_only(extension.value, der::SEQUENCE).unwrap_or_default();
                for name in &names.general_names {
                    match name {
                        GeneralName::URI(uri) => {
                            self.uri_count = self.uri_count.saturating_add(1);
                            self.first_uri = self.first_uri.or(Some(uri));
                        }
                        GeneralName::Invalid(..) => {
                            return Err(malformed("a subject alternative name is not valid"));
                        }
                        _ => {}
                    }
                }
            }
            P::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0),
            P::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|key_id| key_id.0);
            }
            P::NameConstraints(_) => {
                let constraints = NameConstraints::parse(extension.value)
                    .map_err(|problem| malformed(format!("its name constraints {problem}")))?;
                self.name_constraints = Some(constraints);
            }
            P::ParseError { .. } => {
                return Err(malformed(format!("its extension {} does not parse", extension.oid)));
            }
            _ => {
                return if extension.critical {
                    Err(critical(format!("its critical extension {} is not understood", extension.oid)))
                } else {
                    Ok(())
                };
            }
        }
        if is_whole(extension) {
            Ok(())
        } else {
            Err(malformed(format!("its extension {} is not one DER element", extension.oid)))
        }
    }

    /// True if the certificate names itself as its issuer. Only the signature could prove this, but the authority key
    /// identifier of a genuine intermediate never equals its own subject key identifier.
    pub(crate) fn claims_to_be_self_signed(&self) -> bool {
        self.issuer == self.subject
            && (self.authority_key_id.is_none() || self.authority_key_id == self.subject_key_id)
    }

    /// True if this certificate names the holder of `subject` and `subject_key_id` as its issuer: equal names, byte for
    /// byte, and equal key identifiers if both sides have one (RFC 5280 §4.2.1.1).
    pub(crate) fn names_as_issuer(&self, subject: &[u8], subject_key_id: Option<&[u8]>) -> bool {
        let same_key = match (self.authority_key_id, subject_key_id) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        };
        same_key && self.issuer == subject
    }
}

/// True if the value of an extension holds the elements of its type, in order, and nothing else. x509-parser ignores
/// what follows the elements that it knows, so another reader could see more than the rules do.
fn is_whole(extension: &X509Extension<'_>) -> bool {
    let value = extension.value;
    let only = |allowed: &mut dyn FnMut(u8) -> bool| {
        der::read_only(value, der::SEQUENCE).is_some_and(|elements| der::consists_of(elements, allowed))
    };
    let optional = |mut order: &[u8]| {
        only(&mut |tag| match order.iter().position(|known| *known == tag) {
            Some(index) => {
                order = order.get(index.saturating_add(1)..).unwrap_or_default();
                true
            }
            None => false,
        })
    };
    match &extension.oid {
        id if *id == oid::OID_X509_EXT_KEY_USAGE => der::read_only(value, der::BIT_STRING).is_some(),
        id if *id == oid::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER => {
            der::read_only(value, der::OCTET_STRING).is_some()
        }
        id if *id == oid::OID_X509_EXT_BASIC_CONSTRAINTS => {
            let flag =
                der::read_only(value, der::SEQUENCE).and_then(|inside| der::read(inside, der::BOOLEAN));
            optional(&[der::BOOLEAN, der::INTEGER])
                && flag.is_none_or(|flag| matches!(flag.contents, [0x00 | 0xff]))
        }
        id if *id == oid::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER => optional(&[0x80, 0xa1, 0x82]),
        id if *id == oid::OID_X509_EXT_EXTENDED_KEY_USAGE => only(&mut |tag| tag == 0x06),
        _ => only(&mut |tag| tag & 0xc0 == 0x80),
    }
}

/// Refuses a certificate that is not canonical DER, not version 3, or whose inner and outer signature algorithms
/// differ.
fn check_canonical(der: &[u8]) -> Result<(), Refusal> {
    match webpki::EndEntityCert::try_from(&CertificateDer::from(der)) {
        Ok(_) => Ok(()),
        Err(webpki::Error::UnsupportedCriticalExtension) => {
            Err(critical("it has a critical extension that is not understood".to_owned()))
        }
        Err(webpki::Error::SignatureAlgorithmMismatch) => {
            Err(malformed("its signature algorithm is not the same inside and outside of the signed part"))
        }
        Err(error) => Err(malformed(format!("it is not a version 3 certificate in strict DER ({error})"))),
    }
}

fn malformed(message: impl AsRef<str>) -> Refusal {
    Refusal::new(Reason::CertificateMalformed, message)
}

fn critical(message: String) -> Refusal {
    Refusal::new(Reason::CertificateCriticalExtension, message)
}

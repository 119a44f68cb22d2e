//! X.509 certificates with everything about them adjustable: valid by default, then twisted one way at a time.

use super::authority::{DOMAIN, KEYS, NOW, WORKLOAD, key};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::sha::sha1;
use openssl::x509::{X509, X509Extension, X509Name};
use std::sync::LazyLock;

const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const SUBJECT_KEY_ID: &str = "2.5.29.14";
const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const NAME_CONSTRAINTS: &str = "2.5.29.30";

const URIS: [&str; 12] = [
    WORKLOAD,
    "spiffe://example.org",
    "spiffe://example.org/ns/a/sa/other",
    "spiffe://example.org/",
    "spiffe://Example.org/ns/a/sa/b",
    "spiffe://example.org.evil/ns/a/sa/b",
    "spiffe://evil.org/ns/a/sa/b",
    "spiffe://example.org/ns//sa/b",
    "spiffe://example.org/../b",
    "spiffe://example.org/%62",
    "https://example.org/ns/a/sa/b",
    "",
];
const NAMES: [&str; 5] = ["root", "intermediate 1", "intermediate 2", "intermediate 3", "leaf"];
const EXTENSIONS: [&str; 7] = [
    BASIC_CONSTRAINTS,
    KEY_USAGE,
    EXTENDED_KEY_USAGE,
    SUBJECT_ALT_NAME,
    SUBJECT_KEY_ID,
    AUTHORITY_KEY_ID,
    NAME_CONSTRAINTS,
];

/// What a certificate is made of.
#[derive(Clone, Debug)]
pub struct Spec {
    pub subject: String,
    pub issuer: String,
    /// Place of the subject's key in the list of keys.
    pub key: usize,
    /// Place of the key that is named as the issuer's, and of the one that signs.
    pub issuer_key: usize,
    pub signer: usize,
    pub not_before: i64,
    pub not_after: i64,
    pub version: i32,
    pub sha1: bool,
    /// Object identifier, criticality, contents.
    pub extensions: Vec<(String, bool, Vec<u8>)>,
}

/// One thing that is different from a valid certificate.
#[derive(Arbitrary, Clone, Debug)]
pub enum Twist {
    Authority(bool),
    PathLength(u8),
    KeyUsage { bits: u8, critical: bool },
    ExtendedKeyUsage(u8),
    Uris(u8, Option<u8>),
    OtherName(u8),
    NotBefore(i16),
    NotAfter(i16),
    Key(u8),
    IssuerKey(u8),
    Signer(u8),
    Subject(u8),
    Issuer(u8),
    Remove(u8),
    Repeat(u8),
    Critical(u8),
    Unknown(bool),
    NameConstraints(u8, bool, bool),
    Version(u8),
    Sha1,
    Contents(u8, u8, u8),
}

/// Bases of name constraints, by the tag of their kind.
const BASES: [(u8, &[u8]); 9] = [
    (0x86, b"example.org"),
    (0x86, b".org"),
    (0x86, b".example.org"),
    (0x86, b""),
    (0x86, b"other.org"),
    (0x82, b"example.org"),
    (0x81, b"example.org"),
    (0x87, &[0; 8]),
    (0xa4, &[0x30, 0]),
];

/// One DER element.
pub fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend_from_slice(contents);
    out
}

/// SHA-1 of each public key.
static KEY_IDS: LazyLock<Vec<[u8; 20]>> =
    LazyLock::new(|| KEYS.iter().map(|key| sha1(&key.public_key_to_der().expect("a public key"))).collect());

fn key_id(place: usize) -> [u8; 20] {
    KEY_IDS[place % KEY_IDS.len()]
}

fn constraints(authority: bool, length: Option<u8>) -> Vec<u8> {
    let mut contents = if authority { tlv(1, &[0xff]) } else { Vec::new() };
    contents.extend(length.map(|length| tlv(2, &[length & 0x7f])).unwrap_or_default());
    tlv(0x30, &contents)
}

/// Bit 0 is digitalSignature, bit 5 keyCertSign, bit 6 cRLSign; trailing zero bits are left out.
fn usage(bits: u8) -> Vec<u8> {
    let reversed = bits.reverse_bits();
    match reversed {
        0 => tlv(3, &[0]),
        some => tlv(3, &[some.trailing_zeros() as u8, some]),
    }
}

fn uris(list: &[&str]) -> Vec<u8> {
    tlv(0x30, &list.iter().flat_map(|uri| tlv(0x86, uri.as_bytes())).collect::<Vec<_>>())
}

/// serverAuth, clientAuth and codeSigning, as the bits say.
fn purposes(bits: u8) -> Vec<u8> {
    let of = |last: u8| tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, last]);
    let list = (0..3).filter(|bit| bits & (1 << bit) != 0).flat_map(|bit| of(bit + 1));
    tlv(0x30, &list.collect::<Vec<_>>())
}

impl Spec {
    /// A CA as SPIRE makes it.
    pub fn authority(subject: &str, issuer: &str, key: usize, issuer_key: usize) -> Self {
        let mut spec = Self::blank(subject, issuer, key, issuer_key);
        spec.not_before = NOW - 3600;
        spec.not_after = NOW + 86_400;
        spec.set(BASIC_CONSTRAINTS, true, constraints(true, None));
        spec.set(KEY_USAGE, true, usage(0b110_0000));
        spec.set(SUBJECT_ALT_NAME, false, uris(&[&format!("spiffe://{DOMAIN}")]));
        spec
    }

    /// An SVID of one hour as SPIRE makes it.
    pub fn leaf(uri: &str, issuer: &str, key: usize, issuer_key: usize) -> Self {
        let mut spec = Self::blank("leaf", issuer, key, issuer_key);
        spec.not_before = NOW - 10;
        spec.not_after = NOW + 3590;
        spec.set(BASIC_CONSTRAINTS, true, constraints(false, None));
        spec.set(KEY_USAGE, true, usage(1));
        spec.set(EXTENDED_KEY_USAGE, false, purposes(0b11));
        spec.set(SUBJECT_ALT_NAME, false, uris(&[uri]));
        spec
    }

    fn blank(subject: &str, issuer: &str, key: usize, issuer_key: usize) -> Self {
        let mut spec = Self {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            key,
            issuer_key,
            signer: issuer_key,
            not_before: 0,
            not_after: 0,
            version: 2,
            sha1: false,
            extensions: Vec::new(),
        };
        spec.set(SUBJECT_KEY_ID, false, tlv(4, &key_id(key)));
        spec.name_issuer_key(issuer_key);
        spec
    }

    fn name_issuer_key(&mut self, place: usize) {
        self.set(AUTHORITY_KEY_ID, false, tlv(0x30, &tlv(0x80, &key_id(place))));
    }

    fn set(&mut self, oid: &str, critical: bool, contents: Vec<u8>) {
        let extension = (oid.to_owned(), critical, contents);
        match self.extensions.iter_mut().find(|(known, ..)| known == oid) {
            Some(known) => *known = extension,
            None => self.extensions.push(extension),
        }
    }

    fn position(&self, choice: u8) -> Option<usize> {
        let oid = EXTENSIONS[usize::from(choice) % EXTENSIONS.len()];
        self.extensions.iter().position(|(known, ..)| known == oid)
    }

    /// Makes one thing different.
    pub fn twist(&mut self, twist: &Twist) {
        let name = |choice: &u8| NAMES[usize::from(*choice) % NAMES.len()].to_owned();
        let uri = |choice: &u8| URIS[usize::from(*choice) % URIS.len()];
        match twist {
            Twist::Authority(yes) => self.set(BASIC_CONSTRAINTS, true, constraints(*yes, None)),
            Twist::PathLength(length) => {
                self.set(BASIC_CONSTRAINTS, true, constraints(true, Some(length % 5)));
            }
            Twist::KeyUsage { bits, critical } => self.set(KEY_USAGE, *critical, usage(*bits)),
            Twist::ExtendedKeyUsage(bits) => self.set(EXTENDED_KEY_USAGE, false, purposes(*bits)),
            Twist::Uris(one, None) => self.set(SUBJECT_ALT_NAME, false, uris(&[uri(one)])),
            Twist::Uris(one, Some(two)) => self.set(SUBJECT_ALT_NAME, false, uris(&[uri(one), uri(two)])),
            Twist::OtherName(tag) => {
                let other = tlv(0x81 + (tag % 2), uri(&0).as_bytes());
                let names = [tlv(0x86, uri(&0).as_bytes()), other].concat();
                self.set(SUBJECT_ALT_NAME, false, tlv(0x30, &names));
            }
            Twist::NotBefore(minutes) => self.not_before = NOW + i64::from(*minutes) * 60,
            Twist::NotAfter(minutes) => self.not_after = NOW + i64::from(*minutes) * 60,
            Twist::Key(place) => {
                self.key = usize::from(*place);
                self.set(SUBJECT_KEY_ID, false, tlv(4, &key_id(self.key)));
            }
            Twist::IssuerKey(place) => self.name_issuer_key(usize::from(*place)),
            Twist::Signer(place) => self.signer = usize::from(*place),
            Twist::Subject(choice) => self.subject = name(choice),
            Twist::Issuer(choice) => self.issuer = name(choice),
            Twist::Unknown(critical) => self.set("1.3.6.1.4.1.99999.1", *critical, tlv(5, &[])),
            Twist::NameConstraints(base, excluded, critical) => {
                let (tag, base) = BASES[usize::from(*base) % BASES.len()];
                let subtree = tlv(0x30, &tlv(tag, base));
                let list = tlv(if *excluded { 0xa1 } else { 0xa0 }, &subtree);
                self.set(NAME_CONSTRAINTS, *critical, tlv(0x30, &list));
            }
            Twist::Version(version) => self.version = i32::from(version % 4),
            Twist::Sha1 => self.sha1 = true,
            Twist::Remove(_) | Twist::Repeat(_) | Twist::Critical(_) | Twist::Contents(..) => {
                self.twist_extension(twist);
            }
        }
    }

    fn twist_extension(&mut self, twist: &Twist) {
        let (Twist::Remove(choice)
        | Twist::Repeat(choice)
        | Twist::Critical(choice)
        | Twist::Contents(choice, ..)) = twist
        else {
            return;
        };
        let Some(position) = self.position(*choice) else { return };
        match twist {
            Twist::Remove(_) => drop(self.extensions.remove(position)),
            Twist::Repeat(_) => self.extensions.push(self.extensions[position].clone()),
            Twist::Contents(_, at, byte) => {
                let contents = &mut self.extensions[position].2;
                let at = usize::from(*at) % (contents.len() + 1);
                match contents.get_mut(at) {
                    Some(found) => *found = *byte,
                    None => contents.push(*byte),
                }
            }
            _ => self.extensions[position].1 ^= true,
        }
    }

    /// Builds and signs; `None` if OpenSSL refuses to.
    pub fn build(&self) -> Option<Vec<u8>> {
        let name = |text: &str| -> Option<X509Name> {
            let mut builder = X509Name::builder().ok()?;
            builder.append_entry_by_text("CN", text).ok()?;
            Some(builder.build())
        };
        let mut builder = X509::builder().ok()?;
        builder.set_version(self.version).ok()?;
        let serial = BigNum::from_u32(7).and_then(|serial| Asn1Integer::from_bn(&serial)).ok()?;
        builder.set_serial_number(&serial).ok()?;
        builder.set_subject_name(&*name(&self.subject)?).ok()?;
        builder.set_issuer_name(&*name(&self.issuer)?).ok()?;
        builder.set_not_before(&*Asn1Time::from_unix(self.not_before).ok()?).ok()?;
        builder.set_not_after(&*Asn1Time::from_unix(self.not_after).ok()?).ok()?;
        builder.set_pubkey(key(self.key)).ok()?;
        for (oid, critical, contents) in &self.extensions {
            let oid = Asn1Object::from_str(oid).ok()?;
            let contents = Asn1OctetString::new_from_bytes(contents).ok()?;
            builder.append_extension(X509Extension::new_from_der(&oid, *critical, &contents).ok()?).ok()?;
        }
        let signer = key(self.signer);
        let digest = match () {
            () if signer.id() == openssl::pkey::Id::ED25519 => MessageDigest::null(),
            () if self.sha1 => MessageDigest::sha1(),
            () => MessageDigest::sha256(),
        };
        builder.sign(signer, digest).ok()?;
        builder.build().to_der().ok()
    }
}

//! The rules for chains a second time: `x509-cert` reads, OpenSSL verifies, and each rule is one line.
//! Slow and plain; it says yes or the first thing that is wrong.

use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509;
use std::collections::BTreeSet;
use x509_cert::Certificate;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::asn1::{BitStringRef, Ia5StringRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

/// Times of judgement and tolerances, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub now: i64,
    pub skew: i64,
    pub max_lifetime: i64,
}

/// Facts about one certificate.
struct Facts {
    parsed: Certificate,
    openssl: X509,
    der: Vec<u8>,
    is_ca: bool,
    path_length: Option<u64>,
    usage: Option<(bool, u8)>,
    purposes: Option<Vec<String>>,
    uris: Vec<String>,
    subject_key: Option<Vec<u8>>,
    authority_key: Option<Vec<u8>>,
    /// What name constraints say: whether a subtree is excluded, the tag of its kind, and its base.
    constraints: Vec<(bool, u8, Vec<u8>)>,
    /// Tags of the kinds of alternative names.
    kinds: BTreeSet<u8>,
}

type Found<T> = Result<T, String>;

fn ensure(holds: bool, problem: &str) -> Found<()> {
    if holds { Ok(()) } else { Err(problem.to_owned()) }
}

/// The SPIFFE ID that the chain proves under one of the anchors, or what is wrong.
pub fn judge(chain: &[Vec<u8>], anchors: &[Vec<u8>], domain: &str, terms: Terms) -> Found<String> {
    ensure((1..=5).contains(&chain.len()), "length")?;
    let chain = chain.iter().map(|der| Facts::read(der)).collect::<Found<Vec<_>>>()?;
    let (leaf, mut issuers) = chain.split_first().ok_or("empty")?;
    let id = leaf_id(leaf, domain)?;
    // A trailing root has to be an anchor, and then says nothing more.
    if let Some((last, rest)) = issuers.split_last()
        && anchors.contains(&last.der)
    {
        ensure(rest.last().unwrap_or(leaf).issued_by(last), "not issued by the root that follows")?;
        issuers = rest;
    }
    // What an anchor is signed with proves nothing and is not looked at.
    ensure([leaf].into_iter().chain(issuers).all(Facts::is_signed_with_sha2), "algorithm")?;
    for (below, issuer) in issuers.iter().enumerate() {
        issuer.may_issue(domain, below)?;
        issuer.allows_names_of([leaf].into_iter().chain(issuers.iter().take(below)), domain)?;
        issuer.is_valid(terms)?;
        let child = below.checked_sub(1).map_or(leaf, |child| &issuers[child]);
        ensure(child.issued_by(issuer), "not issued by the next one")?;
    }
    leaf.is_valid(terms)?;
    let (from, to) = leaf.validity();
    ensure(to - from <= terms.max_lifetime + terms.skew, "lives too long")?;
    let top = issuers.last().unwrap_or(leaf);
    let anchored = anchors.iter().filter_map(|der| Facts::read(der).ok()).any(|anchor| {
        top.issued_by(&anchor)
            && anchor.may_issue(domain, issuers.len()).is_ok()
            && anchor.allows_names_of([leaf].into_iter().chain(issuers), domain).is_ok()
            && anchor.is_valid(terms).is_ok()
    });
    ensure(anchored, "no anchor issued it")?;
    Ok(id)
}

/// Whether a certificate is an authority of the domain, whatever it constrains and whenever it is valid.
pub fn is_authority(der: &[u8], domain: &str) -> Found<()> {
    Facts::read(der)?.may_issue(domain, 0)
}

fn leaf_id(leaf: &Facts, domain: &str) -> Found<String> {
    ensure(!leaf.is_ca, "the leaf is a CA")?;
    let (critical, bits) = leaf.usage.ok_or("no key usage")?;
    ensure(critical, "key usage is not critical")?;
    ensure(bits & 0x80 != 0, "no digitalSignature")?;
    ensure(bits & 0b0000_0110 == 0, "keyCertSign or cRLSign")?;
    if let Some(purposes) = &leaf.purposes {
        let has = |last| purposes.iter().any(|purpose| purpose == &format!("1.3.6.1.5.5.7.3.{last}"));
        ensure(has(1) && has(2), "extended key usage")?;
    }
    let [uri] = leaf.uris.as_slice() else { return Err("not one URI".to_owned()) };
    let id = spiffe::SpiffeId::new(uri).map_err(|error| error.to_string())?;
    ensure(uri == &format!("spiffe://{domain}{}", id.path()), "another domain or another form")?;
    ensure(id.path().len() > 1, "no path")?;
    Ok(uri.clone())
}

impl Facts {
    fn read(der: &[u8]) -> Found<Self> {
        let parsed = Certificate::from_der(der).map_err(|error| error.to_string())?;
        let openssl = X509::from_der(der).map_err(|error| error.to_string())?;
        let tbs = &parsed.tbs_certificate;
        ensure(tbs.version == x509_cert::Version::V3, "version")?;
        ensure(tbs.signature == parsed.signature_algorithm, "two algorithms")?;
        ensure(has_strong_key(&openssl), "key")?;
        let mut facts = Self {
            openssl,
            der: der.to_vec(),
            is_ca: false,
            path_length: None,
            usage: None,
            purposes: None,
            uris: Vec::new(),
            subject_key: None,
            authority_key: None,
            constraints: Vec::new(),
            kinds: BTreeSet::new(),
            parsed: parsed.clone(),
        };
        let mut seen = BTreeSet::new();
        for extension in tbs.extensions.iter().flatten() {
            ensure(seen.insert(extension.extn_id), "an extension twice")?;
            let read = facts.read_extension(
                &extension.extn_id.to_string(),
                extension.critical,
                extension.extn_value.as_bytes(),
            );
            read.map_err(|error| format!("{}: {error}", extension.extn_id))??;
        }
        Ok(facts)
    }

    fn read_extension(
        &mut self,
        oid: &str,
        critical: bool,
        value: &[u8],
    ) -> x509_cert::der::Result<Found<()>> {
        match oid {
            "2.5.29.19" => {
                let items = sequence(value)?;
                let mut items = items.iter().peekable();
                if let Some(flag) = items.next_if(|item| item.tag() == Tag::Boolean) {
                    self.is_ca = flag.decode_as()?;
                }
                if let Some(length) = items.next() {
                    self.path_length = Some(length.decode_as()?);
                }
                return Ok(ensure(items.next().is_none(), "more in basicConstraints"));
            }
            "2.5.29.15" => {
                let bits = BitStringRef::from_der(value)?;
                self.usage = Some((critical, bits.raw_bytes().first().copied().unwrap_or(0)));
            }
            "2.5.29.37" => {
                let oids = sequence(value)?;
                // One that this crate cannot hold, as a very long one, is no purpose of an SVID.
                let oids = oids.iter().filter_map(|oid| oid.decode_as::<ObjectIdentifier>().ok());
                self.purposes = Some(oids.map(|oid| oid.to_string()).collect());
            }
            "2.5.29.17" => {
                for name in sequence(value)? {
                    self.kinds.extend(name.to_der()?.first());
                    if name.to_der()?.first() == Some(&0x86) {
                        self.uris.push(Ia5StringRef::new(name.value())?.to_string());
                    }
                }
            }
            "2.5.29.14" => self.subject_key = Some(OctetStringRef::from_der(value)?.as_bytes().to_vec()),
            "2.5.29.35" => {
                for item in sequence(value)? {
                    if item.to_der()?.first() == Some(&0x80) {
                        self.authority_key = Some(item.value().to_vec());
                    }
                }
            }
            "2.5.29.30" => {
                for list in sequence(value)? {
                    let excluded = list.to_der()?.first() == Some(&0xa1);
                    for subtree in sequence(&[&[0x30], &list.to_der()?[1..]].concat())? {
                        for base in sequence(&subtree.to_der()?)? {
                            let tag = base.to_der()?.first().copied().unwrap_or_default();
                            self.constraints.push((excluded, tag, base.value().to_vec()));
                        }
                    }
                }
            }
            _ => return Ok(ensure(!critical, "unknown and critical")),
        }
        Ok(Ok(()))
    }

    fn validity(&self) -> (i64, i64) {
        let validity = &self.parsed.tbs_certificate.validity;
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs() as i64;
        (seconds(&validity.not_before), seconds(&validity.not_after))
    }

    fn is_valid(&self, terms: Terms) -> Found<()> {
        let (from, to) = self.validity();
        ensure(from <= terms.now + terms.skew, "not valid yet")?;
        ensure(to >= terms.now - terms.skew, "expired")
    }

    fn may_issue(&self, domain: &str, below: usize) -> Found<()> {
        ensure(self.is_ca, "not a CA")?;
        ensure(self.usage.is_some_and(|(_, bits)| bits & 0b0000_0100 != 0), "no keyCertSign")?;
        ensure(self.path_length.is_none_or(|length| below as u64 <= length), "path length")?;
        if let Some(purposes) = &self.purposes {
            let has = |oid: &str| purposes.iter().any(|purpose| purpose == oid);
            let svid = has("1.3.6.1.5.5.7.3.1") && has("1.3.6.1.5.5.7.3.2");
            ensure(svid || has("2.5.29.37.0"), "an issuer's extended key usage")?;
        }
        let domain = format!("spiffe://{domain}");
        ensure(self.uris.len() <= 1 && self.uris.iter().all(|uri| *uri == domain), "an issuer's URI")
    }

    /// Name constraints by RFC 5280 for URIs; the subjects and other names that are made here are never allowed where a
    /// constraint speaks of their kind.
    fn allows_names_of<'f>(&self, below: impl Iterator<Item = &'f Self>, domain: &str) -> Found<()> {
        let of_kind = |kind: u8| self.constraints.iter().filter(move |(_, tag, _)| *tag == kind);
        let within = |base: &[u8]| match base {
            [] => true,
            [b'.', ..] => domain.as_bytes().to_ascii_lowercase().ends_with(&base.to_ascii_lowercase()),
            host => domain.as_bytes().eq_ignore_ascii_case(host),
        };
        ensure(of_kind(0xa4).next().is_none(), "a constraint on subjects")?;
        for certificate in below {
            for kind in certificate.kinds.iter().filter(|kind| **kind != 0x86) {
                ensure(of_kind(*kind).next().is_none(), "a constraint on another name")?;
            }
            if certificate.uris.is_empty() {
                continue;
            }
            ensure(!of_kind(0x86).any(|(excluded, _, base)| *excluded && within(base)), "an excluded URI")?;
            let mut permitted = of_kind(0x86).filter(|(excluded, ..)| !excluded).peekable();
            let any = permitted.peek().is_none();
            ensure(any || permitted.any(|(_, _, base)| within(base)), "no permitted URI")?;
        }
        Ok(())
    }

    fn is_signed_with_sha2(&self) -> bool {
        let oid = self.parsed.signature_algorithm.oid.to_string();
        let ecdsa = oid.strip_prefix("1.2.840.10045.4.3.").is_some_and(|hash| ["2", "3"].contains(&hash));
        let rsa = oid
            .strip_prefix("1.2.840.113549.1.1.")
            .is_some_and(|hash| ["10", "11", "12", "13"].contains(&hash));
        ecdsa || rsa
    }

    fn issued_by(&self, issuer: &Self) -> bool {
        let name = |name: &x509_cert::name::Name| name.to_der().expect("a name");
        let (child, parent) = (&self.parsed.tbs_certificate, &issuer.parsed.tbs_certificate);
        let same_key = match (&self.authority_key, &issuer.subject_key) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        };
        let public: Option<PKey<Public>> = issuer.openssl.public_key().ok();
        same_key
            && name(&child.issuer) == name(&parent.subject)
            && public.is_some_and(|public| self.openssl.verify(&public).unwrap_or(false))
    }
}

/// The elements of a SEQUENCE that is all of `der`.
fn sequence(der: &[u8]) -> x509_cert::der::Result<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.value())?;
    AnyRef::from_der(der)?.tag().assert_eq(Tag::Sequence)?;
    let mut items = Vec::new();
    while !reader.is_finished() {
        items.push(AnyRef::decode(&mut reader)?);
    }
    Ok(items)
}

/// P-256, P-384 or RSA from 2048 to 4096 bits.
fn has_strong_key(certificate: &X509) -> bool {
    certificate.public_key().is_ok_and(|public| match public.id() {
        Id::EC => [256, 384].contains(&public.bits()),
        Id::RSA => (2048..=4096).contains(&public.bits()),
        _ => false,
    })
}

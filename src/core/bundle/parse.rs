//! Parsing of bundles: SPIFFE JSON, a JWKS without `use`, PEM, or a map of bundles (rules 43 and 44).
//! An unusable entry is listed and left out; an unreadable document is refused as a whole.

use super::{Bundle, SkippedEntry, fingerprint};
use crate::encoding::decode_base64_standard;
use crate::json::{Document, JsonLimits, Numbers, Object, Value};
use crate::jws::KeyKind;
use crate::limits::{BUNDLE_ANCHORS, BUNDLE_BYTES, BUNDLE_DOMAINS, DOMAINS_FOUND};
use crate::refusal::{Reason, Refusal};
use crate::spiffe::TrustDomain;
use crate::text::Quoted;
use crate::time::Seconds;
use crate::x509::{Anchor, PemProblem, parse_pem_certificates};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Parses the bundle of `trust_domain`: JSON if the first character is a brace, PEM otherwise.
///
/// Fails with `BundleMalformed` for an unreadable document, with `BundleEmpty` for one without a usable authority,
/// which means that the domain revoked its keys, and with `TrustDomainUnknown` if a map lacks the domain.
pub fn parse_bundle(trust_domain: &TrustDomain, bytes: Vec<u8>) -> Result<Bundle, Refusal> {
    if bytes.len() > BUNDLE_BYTES {
        return Err(malformed(format!("the bundle has {} bytes, the limit is {BUNDLE_BYTES}", bytes.len())));
    }
    let mut reader = BundleReader {
        trust_domain,
        anchors: Vec::new(),
        skipped: Vec::new(),
        others: BTreeSet::new(),
        foreign: 0,
    };
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let (sequence, refresh_hint) =
        if is_json { reader.read_json(bytes)? } else { reader.read_pem(&bytes)? };
    reader.finish(sequence, refresh_hint)
}

/// The members `spiffe_sequence` and `spiffe_refresh_hint` of a bundle.
type Numbering = (Option<u64>, Option<Seconds>);

struct BundleReader<'a> {
    trust_domain: &'a TrustDomain,
    anchors: Vec<Arc<Anchor>>,
    skipped: Vec<SkippedEntry>,
    /// Trust domains of authorities that are those of others.
    others: BTreeSet<TrustDomain>,
    /// Number of skipped entries that are such authorities.
    foreign: usize,
}

impl BundleReader<'_> {
    fn read_pem(&mut self, bytes: &[u8]) -> Result<Numbering, Refusal> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| malformed("the bundle is neither JSON nor PEM text"))?;
        let certificates = parse_pem_certificates(text, BUNDLE_ANCHORS).map_err(|problem| match problem {
            PemProblem::TooMany => too_many(),
            PemProblem::Broken(message) => malformed(message),
        })?;
        if certificates.is_empty() {
            return Err(malformed("the bundle is neither a JSON object nor PEM with certificates"));
        }
        for (index, der) in certificates.iter().enumerate() {
            self.add(format!("certificate {index}"), der, None)?;
        }
        Ok((None, None))
    }

    fn read_json(&mut self, bytes: Vec<u8>) -> Result<Numbering, Refusal> {
        let document = Document::parse(bytes, &JsonLimits::BUNDLE, Numbers::Strict)
            .map_err(|refusal| malformed(format!("{}: {}", refusal.reason().code(), refusal.message())))?;
        let root = document.root().as_object().ok_or_else(|| malformed("the bundle is not a JSON object"))?;
        match (root.get("trust_domains"), root.get("keys")) {
            (None, _) => self.read_single(root),
            (Some(_), Some(_)) => Err(malformed("the document is a bundle and a map of bundles at once")),
            (Some(domains), None) => {
                let (sequence, _) = self.read_single(self.find_in_map(domains)?)?;
                // A map is refreshed as a whole (SPIFFE Trust Domain and Bundle §6).
                Ok((sequence, None))
            }
        }
    }

    fn find_in_map<'d>(&self, domains: Value<'d>) -> Result<Object<'d>, Refusal> {
        let domains = domains.as_object().ok_or_else(|| malformed("trust_domains is not an object"))?;
        if domains.len() > BUNDLE_DOMAINS {
            let message =
                format!("the map has {} trust domains, the limit is {BUNDLE_DOMAINS}", domains.len());
            return Err(malformed(message));
        }
        for (name, _) in domains.iter() {
            TrustDomain::parse(name)
                .map_err(|refusal| malformed(format!("the map: {}", refusal.message())))?;
        }
        let found = domains.get(self.trust_domain.as_str()).ok_or_else(|| {
            let message = format!("the map of bundles does not contain {}", self.trust_domain);
            Refusal::new(Reason::TrustDomainUnknown, message)
        })?;
        found
            .as_object()
            .ok_or_else(|| malformed(format!("the bundle of {} is not an object", self.trust_domain)))
    }

    fn read_single(&mut self, bundle: Object<'_>) -> Result<Numbering, Refusal> {
        let whole = |name: &str| match bundle.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_u53()
                .map(Some)
                .ok_or_else(|| malformed(format!("{name} is not a whole number from 0"))),
        };
        let sequence = whole("spiffe_sequence")?;
        let hint =
            whole("spiffe_refresh_hint")?.map(|hint| Seconds::new(u32::try_from(hint).unwrap_or(u32::MAX)));
        let keys =
            bundle.get("keys").and_then(Value::as_array).ok_or_else(|| malformed("keys is not an array"))?;
        for (index, key) in keys.iter().enumerate() {
            self.read_key(index, key)?;
        }
        Ok((sequence, hint))
    }

    /// Reads one JWK. Keys with another `use` are ignored, as SPIFFE Trust Domain and Bundle §4.2.2 requires.
    fn read_key(&mut self, index: usize, key: Value<'_>) -> Result<(), Refusal> {
        let location = format!("keys[{index}]");
        let Some(key) = key.as_object() else {
            self.skip(location, "it is not an object");
            return Ok(());
        };
        match key.get("use").map(Value::as_str) {
            Some(Some("x509-svid")) => {}
            Some(Some(_)) => return Ok(()),
            Some(None) => {
                self.skip(location, "its use is not a string");
                return Ok(());
            }
            // In a JWKS without `use`, only `x5c` tells an X.509 authority from a JWT key.
            None if key.get("x5c").is_none() => return Ok(()),
            None => {}
        }
        let Some(key_type) = key.get("kty").and_then(Value::as_str).filter(|kty| ["EC", "RSA"].contains(kty))
        else {
            self.skip(location, "its kty is not EC or RSA");
            return Ok(());
        };
        let certificates = key.get("x5c").and_then(Value::as_array);
        let first = certificates.and_then(|certificates| certificates.iter().next()).and_then(Value::as_str);
        let (Some(certificates), Some(first)) = (certificates, first) else {
            self.skip(location, "its x5c does not begin with a string");
            return Ok(());
        };
        match decode_base64_standard(first) {
            Ok(der) => self.add(format!("{location}.x5c[0]"), &der, Some(key_type))?,
            Err(refusal) => self.skip(format!("{location}.x5c[0]"), refusal.message()),
        }
        for extra in 1..certificates.len() {
            self.skip(
                format!("{location}.x5c[{extra}]"),
                "only the first certificate of a key is an authority",
            );
        }
        Ok(())
    }

    fn add(&mut self, location: String, der: &[u8], key_type: Option<&str>) -> Result<(), Refusal> {
        let anchor = match Anchor::parse(der, self.trust_domain) {
            Ok(anchor) => anchor,
            Err(refusal) => {
                let other = Anchor::other_domain(der, self.trust_domain);
                self.foreign = self.foreign.saturating_add(usize::from(other.is_some()));
                self.others.extend(other);
                self.skip(location, &refusal.to_string());
                return Ok(());
            }
        };
        let found = match anchor.key().kind() {
            KeyKind::P256 | KeyKind::P384 => "EC",
            KeyKind::Rsa { .. } => "RSA",
            KeyKind::Ed25519 => {
                self.skip(location, "its key is Ed25519, which cannot issue an X509-SVID here");
                return Ok(());
            }
        };
        if let Some(claimed) = key_type.filter(|claimed| *claimed != found) {
            self.skip(location, &format!("its kty is {}, its certificate holds {found}", Quoted(claimed)));
            return Ok(());
        }
        if self.anchors.len() == BUNDLE_ANCHORS {
            return Err(too_many());
        }
        self.anchors.push(Arc::new(anchor));
        Ok(())
    }

    fn skip(&mut self, location: String, why: &str) {
        self.skipped.push(SkippedEntry { location, why: why.to_owned() });
    }

    fn finish(mut self, sequence: Option<u64>, refresh_hint: Option<Seconds>) -> Result<Bundle, Refusal> {
        let mut seen = BTreeSet::new();
        self.anchors.retain(|anchor| seen.insert(anchor.sha256()));
        // A chain without an authority key identifier is tried against equally named authorities in this order, and the
        // newest one usually signs. Publishers append, so of equal dates the later entry counts as newer.
        self.anchors.reverse();
        self.anchors.sort_by_key(|anchor| Reverse(anchor.not_before()));
        if self.anchors.is_empty() {
            let mut message = format!("the bundle of {} holds no usable X.509 authority", self.trust_domain);
            if !self.others.is_empty() {
                let others: Vec<&str> =
                    self.others.iter().take(DOMAINS_FOUND).map(TrustDomain::as_str).collect();
                // What was skipped for another cause may be the domain's own, and is listed below with its cause.
                let is_all = self.foreign == self.skipped.len();
                message.push_str(if is_all { ", because those in it" } else { "; some of those in it" });
                message.push_str(" are of the trust domain ");
                message.push_str(&others.join(", "));
            }
            for entry in &self.skipped {
                for part in ["; ", &entry.location, ": ", &entry.why] {
                    message.push_str(part);
                }
            }
            return Err(Refusal::new(Reason::BundleEmpty, message));
        }
        Ok(Bundle {
            trust_domain: self.trust_domain.clone(),
            fingerprint: fingerprint(&seen),
            anchors: self.anchors,
            sequence,
            refresh_hint,
            skipped: self.skipped,
        })
    }
}

fn malformed(message: impl AsRef<str>) -> Refusal {
    Refusal::new(Reason::BundleMalformed, message)
}

fn too_many() -> Refusal {
    malformed(format!("the bundle has more than {BUNDLE_ANCHORS} authorities"))
}

//! Files as a user has them: a bundle, an SVID with its key, an unsigned and a signed card.
//! Validity is around the real time, because `sign` asks the clock.

use crate::run::Folder;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The workload that signs, unless a test says otherwise.
pub(crate) const WEATHER: &str = "spiffe://example.org/ns/demo/sa/weather";
/// What every verification needs.
pub(crate) const TRUST: [&str; 4] = ["--bundle", "bundle.pem", "--trust-domain", "example.org"];

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "certificates for a binary that asks the real clock")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// RFC 3339 of a moment this many seconds from now.
pub(crate) fn in_seconds(seconds: u64) -> String {
    countersign_core::time::Timestamp::from_unix(
        i64::try_from(now().saturating_add(seconds)).expect("a time"),
    )
    .to_string()
}

/// An authority of one trust domain.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let mut params = params(&format!("spiffe://{domain}"), 86_400, 86_400);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The bundle in the format that `spire-server bundle show -format spiffe` prints.
    #[cfg(feature = "sidecar")]
    pub(crate) fn spiffe_json(&self) -> String {
        let certificate: String = self.pem.lines().filter(|line| !line.starts_with('-')).collect();
        // An uncompressed point: 4, then both coordinates.
        let point = self.issuer.key().public_key_raw();
        let [x, y] = [&point[1..33], &point[33..]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let key =
            json!({ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": x, "y": y, "x5c": [certificate] });
        json!({ "keys": [key], "spiffe_sequence": 1 }).to_string()
    }

    /// Writes `NAME.pem` and `NAME.key` of an SVID that began `age` seconds ago and lives for an hour.
    pub(crate) fn issue(&self, folder: &Folder, name: &str, id: &str, age: u64) {
        self.issue_for(folder, name, id, (age, 3600_u64.saturating_sub(age)));
    }

    /// Writes `NAME.pem` and `NAME.key` of an SVID that is valid from so many seconds ago to so many from now.
    pub(crate) fn issue_for(&self, folder: &Folder, name: &str, id: &str, (before, after): (u64, u64)) {
        let mut params = params(id, before, after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        folder.write(&format!("{name}.pem"), leaf.pem());
        folder.write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// Valid from `before` seconds ago to `after` seconds from now.
fn params(uri: &str, before: u64, after: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "SPIRE");
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    let at = |unix: u64| {
        let since: time::Duration = Duration::from_secs(unix).try_into().expect("a duration");
        time::OffsetDateTime::UNIX_EPOCH.checked_add(since).expect("a date")
    };
    params.not_before = at(now().saturating_sub(before));
    params.not_after = at(now().saturating_add(after));
    params
}

/// A card that can be signed.
pub(crate) fn card() -> Value {
    json!({
        "name": "Weather", "description": "Tells the weather", "version": "1.0.0",
        "supportedInterfaces": [{
            "url": "https://weather.demo.svc.cluster.local/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0",
        }],
        "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "s1", "name": "Forecast", "description": "Tomorrow", "tags": ["weather"] }],
    })
}

/// A folder with `bundle.pem`, `svid.pem`, `svid.key`, `card.json` and `signed.json`.
pub(crate) fn world(name: &str) -> (Folder, Authority) {
    let folder = Folder::new(name);
    let authority = Authority::new("example.org");
    folder.write("bundle.pem", authority.pem());
    folder.write("card.json", card().to_string());
    authority.issue(&folder, "svid", WEATHER, 10);
    let signed =
        folder.run(&["sign", "card.json", "--key", "svid.key", "--chain", "svid.pem", "-o", "signed.json"]);
    assert_eq!((signed.code, signed.stdout.as_str(), signed.stderr.as_str()), (0, "", ""));
    (folder, authority)
}

/// Writes `plain.json`: the card with a signature that has no times of its own, as other signers make it.
pub(crate) fn sign_plainly(folder: &Folder) {
    let [leaf, key] = ["svid.pem", "svid.key"].map(|name| {
        let text = folder.read(name);
        text.lines().filter(|line| !line.starts_with('-')).collect::<String>()
    });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({ "alg": "ES256", "kid": "k1", "typ": "JOSE", "x5c": [leaf] });
    let protected = encode(header.to_string().as_bytes());
    let payload = encode(&serde_json_canonicalizer::to_vec(&card()).expect("a card"));
    let random = ring::rand::SystemRandom::new();
    let key = STANDARD.decode(key).expect("base64");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random).expect("a key");
    let signature = key.sign(&random, format!("{protected}.{payload}").as_bytes()).expect("a signature");
    let signatures = json!([{ "protected": protected, "signature": encode(signature.as_ref()) }]);
    folder.write("plain.json", inserted(card(), "signatures", signatures));
}

/// The card with one member changed or added, as text.
fn inserted(mut card: Value, name: &str, value: Value) -> String {
    card.as_object_mut().expect("a card").insert(name.to_owned(), value);
    card.to_string()
}

/// The signed card with one member changed or added after signing.
pub(crate) fn with_member(folder: &Folder, name: &str, value: Value) -> String {
    inserted(serde_json::from_str(&folder.read("signed.json")).expect("a card"), name, value)
}

/// `verify`, the card, the trust flags, JSON, and more.
pub(crate) fn verify<'a>(card: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let any: &[&str] = if more.contains(&"--expect-id") { &[] } else { &["--any-workload"] };
    [&["verify", card][..], &TRUST, &["-o", "json"], any, more].concat()
}

//! The keys of the fuzz targets, made once per process with OpenSSL, and the moment at which everything is judged.

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use std::sync::LazyLock;

/// The moment at which targets judge: 2026-11-18T11:06:40Z.
pub const NOW: i64 = 1_795_000_000;
/// The trust domain of the targets.
pub const DOMAIN: &str = "example.org";
/// The workload whose cards are honest.
pub const WORKLOAD: &str = "spiffe://example.org/ns/a/sa/b";

/// What keys are used for, by their place in [`KEYS`].
pub const ROOT: usize = 0;
/// Intermediate CAs: this and the next two.
pub const INTERMEDIATE: usize = 1;
/// The workload.
pub const LEAF: usize = 4;
/// Another workload of the same domain.
pub const NEIGHBOUR: usize = 5;
/// The root of another domain.
pub const FOREIGN: usize = 6;
/// First of the keys of other kinds: P-384, RSA-2048, Ed25519, P-521, RSA-1024.
pub const P384: usize = 8;
/// RSA of 2048 bits.
pub const RSA: usize = 9;

/// Eight P-256 keys, then one of each other kind.
pub static KEYS: LazyLock<Vec<PKey<Private>>> = LazyLock::new(|| {
    let curve = |nid| {
        let group = EcGroup::from_curve_name(nid).expect("a curve");
        PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
    };
    let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).expect("a key")).expect("a key");
    let mut keys: Vec<_> = (0..P384).map(|_| curve(Nid::X9_62_PRIME256V1)).collect();
    keys.extend([curve(Nid::SECP384R1), rsa(2048), PKey::generate_ed25519().expect("a key")]);
    keys.extend([curve(Nid::SECP521R1), rsa(1024)]);
    keys
});

/// The key at a place of the input's choice.
pub fn key(choice: usize) -> &'static PKey<Private> {
    &KEYS[choice % KEYS.len()]
}

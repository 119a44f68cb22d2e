//! JSON Web Signatures (RFC 7515) of cards: algorithms, headers, public keys, and the signature check.
//! This module decides whether a key made a signature; `verify` and `x509` decide for whom the key may sign.

mod algorithm;
mod header;
mod key;
mod signature;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use header::{FORM_PARAMETER, Header, parse_header, parse_numeric_date, parse_token_header};
pub(crate) use key::KeyView;
pub use key::{KeyKind, PublicKey};
pub use signature::verify_signature;

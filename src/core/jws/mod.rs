//! JSON Web Signatures (RFC 7515) as cards use them: algorithms, keys, and the one signature check.
//! Everything here works on decoded bytes; which key may sign for whom is decided elsewhere.

mod algorithm;
mod header;
mod key;
mod signature;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use header::{Header, parse_header, parse_token_header};
pub(crate) use key::KeyView;
pub use key::{KeyKind, PublicKey};
pub use signature::verify_signature;

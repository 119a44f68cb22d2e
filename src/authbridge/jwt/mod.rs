//! Access tokens: compact JSON Web Tokens (RFC 7519, RFC 9068), verified against a key set and a policy.
//! Headers, algorithms and signatures follow the rules of [`countersign_core::jws`]; time and keys are arguments.

mod claims;
mod der;
mod key_set;
mod policy;
mod verify;

pub use claims::{Claims, Confirmation, unverified_expiry};
pub use key_set::{KeySet, parse_key_set};
pub use policy::TokenPolicy;
pub use verify::{VerifiedToken, verify_token};

//! The pure verification core: bytes in, a verdict or a reasoned refusal out.
//! No clock, environment, I/O or async: time, limits and bundles are arguments.

pub mod bind;
pub mod bundle;
pub mod cache;
pub mod canon;
pub mod card;
pub mod client_hello;
pub mod deliver;
pub(crate) mod der;
pub mod encoding;
pub mod endpoint;
pub mod glob;
pub mod history;
pub mod json;
pub mod jws;
pub mod jwt;
pub mod limits;
pub mod policy;
pub mod refusal;
pub mod request_path;
pub mod sign;
pub mod spiffe;
pub mod text;
pub mod time;
pub mod token_response;
pub mod verdict;
pub mod verify;
pub mod x509;

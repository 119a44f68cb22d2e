//! The pure verification core: bytes in, a verdict or a reasoned refusal out.
//! No clock, environment, I/O or async: time, limits and bundles are arguments.

pub mod canon;
pub mod bundle;
pub(crate) mod der;
pub mod encoding;
pub mod json;
pub mod jws;
pub mod limits;
pub mod refusal;
pub mod spiffe;
pub mod text;
pub mod time;
pub mod x509;

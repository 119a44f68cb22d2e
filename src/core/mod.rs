//! The pure verification core: bytes in, a verdict or a reasoned refusal out.
//! No clock, environment, I/O or async: time, limits and bundles are arguments.

pub mod canon;
pub mod json;
pub mod limits;
pub mod refusal;
pub mod text;
pub mod time;

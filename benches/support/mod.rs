//! What the benchmarks measure: cards of given sizes, signed under throw-away authorities, and the bare
//! signature checks that verifying each of them contains.

#![expect(dead_code, reason = "no benchmark measures all of it")]

pub(crate) mod bare;
pub(crate) mod card;
pub(crate) mod case;
#[expect(clippy::panic, reason = "made for tests")]
#[path = "../../tests/support/pki.rs"]
pub(crate) mod pki;

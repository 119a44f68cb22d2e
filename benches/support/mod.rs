//! What the benchmarks measure: cards of given sizes, signed under throw-away authorities, and the bare
//! signature checks that verifying each of them contains.

pub(crate) mod bare;
pub(crate) mod card;
pub(crate) mod case;
#[expect(dead_code, clippy::panic, reason = "made for tests, which use more of it")]
#[path = "../../tests/support/pki.rs"]
pub(crate) mod pki;

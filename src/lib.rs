//! Countersign verifies who an AI agent is and lets only verified agents speak.
//!
//! A signed A2A card and the trust bundle of its domain go in; a proof, or a refusal with a reason, comes out:
//!
//! ```
//! use countersign::core::{bundle::parse_bundle, card::Card, policy::Policy, spiffe::TrustDomain,
//!     time::Timestamp, verify::{Against, verify_card}, x509::ChainMemo};
//! # let (card_json, bundle_json) = (
//! #     include_bytes!("../tests/fixtures/doc/card.json").to_vec(),
//! #     include_bytes!("../tests/fixtures/doc/bundle.json").to_vec());
//! let domain = TrustDomain::parse("example.org")?;
//! let bundle = parse_bundle(&domain, bundle_json)?;
//! let policy = Policy::new(domain);
//! let now = Timestamp::from_unix(1_795_219_200);
//! let card = Card::parse(card_json, policy.numbers)?;
//! let against = Against { bundle: &bundle, policy: &policy, expected: None, history: None, now };
//! let signed = verify_card(&card, against, &mut ChainMemo::new())?;
//! assert_eq!(signed.spiffe_id().as_str(), "spiffe://example.org/ns/demo/sa/weather");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The layers, each using only those above it:
//!
//! ```text
//! core      bytes → Card → SignedCard → BoundCard → Verdict; pure, no optional dependency
//! api       names and kinds of the Kubernetes API that others rely on
//! plan      Verdict → NetworkPolicies; pure
//! io        files, HTTP, Workload API, clock
//! operator  the process in a cluster: flags, probes, metrics, lease, controllers
//! sidecar   AuthBridge, the data plane beside an agent
//! cli       the command line over all of it
//! ```
#![forbid(unsafe_code)]

#[cfg(any(feature = "plan", feature = "sidecar"))]
pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
pub mod core;
#[cfg(any(feature = "cli", feature = "sidecar"))]
pub mod io;
#[cfg(feature = "operator")]
pub mod operator;
#[cfg(feature = "plan")]
pub mod plan;
#[cfg(feature = "sidecar")]
pub mod sidecar;

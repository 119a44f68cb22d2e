//! Countersign verifies who an AI agent is and lets only verified agents speak.
//!
//! A signed A2A card and the trust bundle of its domain go in; a proof, or a refusal with a reason, comes out:
//!
//! ```
//! use countersign_core::{bundle::parse_bundle, card::Card, policy::Policy, spiffe::TrustDomain,
//!     time::Timestamp, verify::{Against, verify_card}, x509::ChainMemo};
//! # let (card_json, bundle_json) = (
//! #     include_bytes!("../../tests/fixtures/doc/card.json").to_vec(),
//! #     include_bytes!("../../tests/fixtures/doc/bundle.json").to_vec());
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
//! No clock, environment, I/O or async: time, limits and bundles are arguments.

pub mod bind;
pub mod bundle;
pub mod cache;
pub mod canon;
pub mod card;
pub mod deliver;
pub(crate) mod der;
pub mod encoding;
pub mod endpoint;
pub mod glob;
pub mod history;
pub mod json;
pub mod jws;
pub mod limits;
pub mod policy;
pub mod refusal;
pub mod sign;
pub mod spiffe;
pub mod text;
pub mod time;
pub mod verdict;
pub mod verify;
pub mod x509;

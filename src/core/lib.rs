//! Countersign verifies who an AI agent is and lets only verified agents speak.
//!
//! Input is a signed A2A card and the trust bundle of its trust domain; output is a proof, or a refusal with a reason:
//!
//! ```
//! use countersign_core::{Against, Card, Policy, Timestamp, TrustDomain, parse_bundle, verify_card};
//! # let card_json = include_bytes!("../../tests/fixtures/doc/card.json").to_vec();
//! # let bundle_json = include_bytes!("../../tests/fixtures/doc/bundle.json").to_vec();
//! # let unix_seconds = 1_795_219_200;
//! let domain = TrustDomain::parse("example.org")?;
//! let bundle = parse_bundle(&domain, bundle_json)?;
//! let policy = Policy::new(domain);
//! let card = Card::parse(card_json, policy.numbers)?;
//! let now = Timestamp::from_unix(unix_seconds);
//! let against = Against { bundle: &bundle, policy: &policy, expected: None, history: None, now };
//! let signed = verify_card(&card, against)?;
//! assert_eq!(signed.spiffe_id().as_str(), "spiffe://example.org/ns/demo/sa/weather");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate has no clock, environment, I/O or async: time, limits and bundles are arguments, and no verdict depends
//! on an earlier one. Only a [`sign::SigningKey`] draws random numbers, from the operating system.

pub mod bind;
pub mod budget;
pub mod bundle;
pub mod canon;
pub mod card;
pub mod deliver;
mod deny;
mod der;
pub mod encoding;
pub mod endpoint;
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
pub mod upgrade;
pub mod verdict;
pub mod verify;
pub mod x509;

pub use bind::{BoundCard, bind_card};
pub use bundle::{Bundle, parse_bundle};
pub use card::Card;
pub use policy::Policy;
pub use refusal::{Reason, Refusal};
pub use sign::{NewSignature, NewlySigned, SignOptions, Signer, SigningKey, sign_card};
pub use spiffe::{SpiffeId, TrustDomain};
pub use time::{Seconds, Timestamp};
pub use upgrade::upgrade_card;
pub use verdict::Verdict;
pub use verify::{Against, SignedCard, verify_card};

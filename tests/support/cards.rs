//! Signed cards with everything about them adjustable, and the shortest way to a verdict over them.

use crate::pki::{Authority, Leaf, NOW, Svid, domain};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_core::bind::{BoundCard, Source, WorkloadFacts, bind_card};
use countersign_core::card::Card;
use countersign_core::history::History;
use countersign_core::jws::Algorithm;
use countersign_core::policy::{Coverage, Policy};
use countersign_core::refusal::{Reason, Refusal};
use countersign_core::spiffe::SpiffeId;
use countersign_core::time::Timestamp;
use countersign_core::verify::{Against, Rejection, SignedCard, verify_card};
use serde_json::{Value, json};
use std::rc::Rc;

/// The host of the workload of the tests.
pub(crate) const HOST: &str = "weather.demo.svc.cluster.local";

/// A card of which every form but kagenti's and those of Python keeps everything.
pub(crate) fn card() -> Value {
    json!({
        "name": "Weather",
        "description": "Tells the weather",
        "supportedInterfaces": [
            {"url": format!("https://{HOST}/a2a"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "version": "1.0.0",
        "capabilities": {"streaming": true},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s1", "name": "Forecast", "description": "tomorrow", "tags": ["weather"]}]
    })
}

/// The card with one more or another member.
pub(crate) fn card_with(name: &str, value: Value) -> Value {
    let mut card = card();
    card[name] = value;
    card
}

/// An authority with one workload that it issued an SVID to.
pub(crate) struct World {
    pub(crate) authority: Rc<Authority>,
    pub(crate) svid: Rc<Svid>,
    pub(crate) policy: Policy,
    pub(crate) now: u64,
    pub(crate) expected: Option<SpiffeId>,
    pub(crate) history: Option<History>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&Leaf::default())
    }

    pub(crate) fn with(leaf: &Leaf) -> Self {
        let authority = Authority::root(&crate::pki::Ca::default());
        let svid = authority.issue(leaf);
        let policy = Policy::new(domain());
        Self {
            authority: authority.into(),
            svid: svid.into(),
            policy,
            now: NOW,
            expected: None,
            history: None,
        }
    }

    pub(crate) fn reporting() -> Self {
        let mut world = Self::new();
        world.policy.coverage = Coverage::Report;
        world
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_unix(i64::try_from(self.now).unwrap())
    }

    /// The protected header of an honest signer.
    pub(crate) fn header(&self) -> Value {
        header(&self.svid)
    }

    /// One entry of `signatures` over `payload`.
    pub(crate) fn entry(&self, header: &Value, payload: &[u8]) -> Value {
        entry(&self.svid, header.to_string().as_bytes(), payload)
    }

    /// The card as a raw signer serves it: signed over RFC 8785 of the document.
    pub(crate) fn signed(&self, card: &Value) -> Vec<u8> {
        self.signed_under(card, &self.header())
    }

    pub(crate) fn signed_under(&self, card: &Value, header: &Value) -> Vec<u8> {
        attach(card, &[self.entry(header, &jcs(card))])
    }

    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<SignedCard, Box<Rejection>> {
        let card = Card::parse(bytes.to_vec(), self.policy.numbers)?;
        let bundle = self.authority.bundle();
        let against = Against {
            bundle: &bundle,
            policy: &self.policy,
            expected: self.expected.as_ref(),
            history: self.history.as_ref(),
            now: self.time(),
        };
        verify_card(&card, against)
    }

    pub(crate) fn reason(&self, bytes: &[u8]) -> Option<Reason> {
        self.verify(bytes).err().map(|rejection| rejection.refusal.reason())
    }

    pub(crate) fn bind(&self, bytes: &[u8], facts: &WorkloadFacts) -> Result<BoundCard, Refusal> {
        let signed = self.verify(bytes).map_err(|rejection| rejection.refusal)?;
        bind_card(signed, facts, self.history.as_ref())
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, reason: Reason, bytes: &[u8]) {
        assert_eq!(self.reason(bytes), Some(reason), "{}", String::from_utf8_lossy(bytes));
    }

    #[track_caller]
    pub(crate) fn assert_verified(&self, bytes: &[u8]) -> SignedCard {
        self.verify(bytes).unwrap_or_else(|rejection| panic!("{rejection}"))
    }
}

/// What is true of the workload of the tests.
pub(crate) fn facts() -> WorkloadFacts {
    WorkloadFacts {
        expected_id: SpiffeId::parse(crate::pki::WORKLOAD).unwrap(),
        cluster_hosts: [HOST.to_owned(), "weather.demo.svc".to_owned()].into(),
        ingress_hosts: ["weather.example.org".to_owned()].into(),
        source: Source::Http { host: HOST.to_owned() },
    }
}

/// The protected header of an honest signer with this SVID.
pub(crate) fn header(svid: &Svid) -> Value {
    let x5c: Vec<_> = svid.chain.iter().map(|der| STANDARD.encode(der)).collect();
    json!({"alg": "ES256", "kid": "k1", "typ": "JOSE", "x5c": x5c})
}

/// One entry of `signatures`, over exactly these header bytes and payload.
pub(crate) fn entry(svid: &Svid, header: &[u8], payload: &[u8]) -> Value {
    let protected = URL_SAFE_NO_PAD.encode(header);
    let input = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = svid.sign(Algorithm::Es256, input.as_bytes());
    json!({"protected": protected, "signature": URL_SAFE_NO_PAD.encode(signature)})
}

/// RFC 8785 by an implementation that is not ours.
pub(crate) fn jcs(card: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(card).unwrap()
}

/// The card with these signatures, as bytes.
pub(crate) fn attach(card: &Value, signatures: &[Value]) -> Vec<u8> {
    card_bytes(&{
        let mut card = card.clone();
        card["signatures"] = signatures.into();
        card
    })
}

pub(crate) fn card_bytes(card: &Value) -> Vec<u8> {
    serde_json::to_vec(card).unwrap()
}

/// The document with `from` replaced once by `to`, for what a JSON library would not write.
pub(crate) fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "nothing to replace: {from}");
    text.replacen(from, to, 1).into_bytes()
}

//! Binds a signed card to the workload that serves it: identity, endpoints, source, replay (rules 50–55).
//! The only way to a [`BoundCard`]; the caller brings facts, the card brings none.

use super::endpoint::{Endpoint, endpoint_urls};
use super::history::{Accepted, History};
use super::refusal::{Reason, Refusal};
use super::spiffe::SpiffeId;
use super::text::Quoted;
use super::verify::{SignedCard, identity_mismatch};
use std::collections::BTreeSet;

/// What the caller observed about the workload behind a card.
#[derive(Clone, Debug)]
pub struct WorkloadFacts {
    /// The identity that its namespace and service account call for.
    pub expected_id: SpiffeId,
    /// DNS names of its Services inside the cluster, in lower case.
    pub cluster_hosts: BTreeSet<String>,
    /// Declared ingress hosts, in lower case; reachable by https only.
    pub ingress_hosts: BTreeSet<String>,
    /// How the card arrived. It adds no trust, only ways to be refused (rule 52).
    pub source: Source,
}

/// How a card arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file given by the user of a command line: there is no path to judge.
    File,
    /// Fetched over plain HTTP or web TLS from this host.
    Http {
        /// The host that was asked, in lower case.
        host: String,
    },
    /// Fetched over SPIFFE mTLS.
    Mtls {
        /// The host that was asked, in lower case.
        host: String,
        /// The identity that the server proved.
        peer: SpiffeId,
    },
    /// Read from a ConfigMap.
    ConfigMap {
        /// Its name.
        name: String,
        /// The name that belongs to the agent.
        expected_name: String,
        /// Whether an owner reference ties it to the workload.
        owned: bool,
    },
}

/// A signed card that belongs to its workload: made only by [`bind_card`].
#[derive(Debug)]
pub struct BoundCard {
    signed: SignedCard,
}

impl BoundCard {
    /// The signed card.
    pub const fn signed(&self) -> &SignedCard {
        &self.signed
    }

    /// What to remember of it, by [`History::after`].
    pub fn accepted(&self) -> Accepted {
        Accepted::of(&self.signed)
    }
}

/// Binds `signed` to the workload of `facts`, or says which tie is missing.
pub fn bind_card(
    signed: SignedCard,
    facts: &WorkloadFacts,
    history: Option<&History>,
) -> Result<BoundCard, Refusal> {
    if signed.spiffe_id() != &facts.expected_id {
        return Err(identity_mismatch(signed.spiffe_id(), &facts.expected_id));
    }
    refuse_foreign_source(&signed, facts)?;
    refuse_foreign_endpoints(&signed, facts)?;
    if let Some(history) = history {
        history.refuse_replay(&signed)?;
    }
    Ok(BoundCard { signed })
}

/// Rules 51 (origin), 52 and 53.
fn refuse_foreign_source(signed: &SignedCard, facts: &WorkloadFacts) -> Result<(), Refusal> {
    let host = match &facts.source {
        Source::File => return Ok(()),
        Source::ConfigMap { name, expected_name, owned } => {
            if name != expected_name {
                let found =
                    format!("the card came from ConfigMap {}, not {}", Quoted(name), Quoted(expected_name));
                return Err(Refusal::new(Reason::SourceNotOwned, found));
            }
            if !owned {
                let found = format!("the ConfigMap {} is not owned by the workload", Quoted(name));
                return Err(Refusal::new(Reason::SourceNotOwned, found));
            }
            return Ok(());
        }
        Source::Mtls { peer, .. } if peer != signed.spiffe_id() => {
            let found = format!("the server is {peer}, the signer is {}", signed.spiffe_id());
            return Err(Refusal::new(Reason::PeerIdentityMismatch, found));
        }
        Source::Http { host } | Source::Mtls { host, .. } => host,
    };
    if facts.owns(host) {
        return Ok(());
    }
    let found = format!("the card was fetched from {}, which is none of the workload's hosts", Quoted(host));
    Err(Refusal::new(Reason::OriginNotOwned, found))
}

/// Rule 51, over the signed document: what is not signed is not used.
fn refuse_foreign_endpoints(signed: &SignedCard, facts: &WorkloadFacts) -> Result<(), Refusal> {
    let Some(card) = signed.document().root().as_object() else {
        return Err(Refusal::new(Reason::PayloadNotCard, "the signed document is not an object"));
    };
    for url in endpoint_urls(card) {
        let url = url?;
        let endpoint = Endpoint::parse(url)?;
        if !facts.owns(endpoint.host()) {
            let found = format!("the endpoint {} is none of the workload's hosts", Quoted(url));
            return Err(Refusal::new(Reason::EndpointNotOwned, found));
        }
        if !endpoint.is_encrypted() && !facts.cluster_hosts.contains(endpoint.host()) {
            let found = format!("the endpoint {} leaves the cluster without https", Quoted(url));
            return Err(Refusal::new(Reason::EndpointNotEncrypted, found));
        }
    }
    Ok(())
}

impl WorkloadFacts {
    fn owns(&self, host: &str) -> bool {
        self.cluster_hosts.contains(host) || self.ingress_hosts.contains(host)
    }
}

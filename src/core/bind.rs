//! Binds a signed card to the workload that serves it: identity, endpoints, source, replay (rules 50–55).
//! Only [`bind_card`] makes a [`BoundCard`]. The caller observes every fact about the workload; the card states none.

use super::endpoint::{Endpoint, endpoint_urls};
use super::history::{Accepted, History};
use super::refusal::{Reason, Refusal};
use super::spiffe::SpiffeId;
use super::text::Quoted;
use super::verify::{SignedCard, identity_mismatch};
use std::collections::BTreeSet;

/// Facts that the caller observed about the workload behind a card.
#[derive(Clone, Debug)]
pub struct WorkloadFacts {
    /// The SPIFFE ID that follows from the workload's namespace and service account.
    pub expected_id: SpiffeId,
    /// DNS names of the workload's Services inside the cluster, in lower case.
    pub cluster_hosts: BTreeSet<String>,
    /// Hosts of the workload's Ingresses, in lower case; an endpoint there must use https (rule 51).
    pub ingress_hosts: BTreeSet<String>,
    /// The source of the card. No source adds trust; each one can only refuse a card (rule 52).
    pub source: Source,
}

/// The source that a card was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that the user of a command line named: no host, peer or owner is checked.
    File,
    /// An HTTP server, plain or over web TLS.
    Http {
        /// The host that served the card, in lower case.
        host: String,
    },
    /// A server that authenticated by SPIFFE mTLS.
    Mtls {
        /// The host that served the card, in lower case.
        host: String,
        /// The SPIFFE ID that the server proved in the handshake; it must equal the signer's (rule 53).
        peer: SpiffeId,
    },
    /// A ConfigMap.
    ConfigMap {
        /// The name of the ConfigMap that was read.
        name: String,
        /// The name that the agent's ConfigMap must have.
        expected_name: String,
        /// True if an owner reference of the ConfigMap names the workload.
        owned: bool,
    },
}

/// Proof that a signed card belongs to its workload; made only by [`bind_card`].
#[derive(Debug)]
pub struct BoundCard {
    signed: SignedCard,
}

impl BoundCard {
    /// The card with the proof of its signature.
    pub const fn signed(&self) -> &SignedCard {
        &self.signed
    }

    /// The facts that the next [`History::after`] remembers of this card.
    pub fn accepted(&self) -> Accepted {
        self.signed.accepted()
    }
}

/// Binds `signed` to the workload of `facts`, or refuses it for the first rule of 50 to 55 that fails.
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
        history.refuse_replay(&signed.accepted())?;
    }
    Ok(BoundCard { signed })
}

/// Refuses a card whose source does not belong to the workload (rules 51, 52 and 53).
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

/// Refuses endpoints outside the workload's hosts, or unencrypted outside the cluster (rule 51). Reads the signed
/// document alone: a member that is not signed is never used.
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

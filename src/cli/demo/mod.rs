//! `countersign demo`: fetches, verifies and binds the cards of six agents on this machine.
//! A throw-away authority issues the SVIDs; the cards pass real sockets and the code that verifies any other card.

mod agents;
mod authority;
mod names;
mod serve;
mod show;

use super::exit::{Done, Unusable};
use super::received::{ReceivedCard, block_on};
use super::verify::CardVerifier;
use agents::DemoAgent;
use authority::DemoAuthority;
use countersign_core::bind::{BoundCard, Source, WorkloadFacts, bind_card};
use countersign_core::bundle::parse_bundle;
use countersign_core::policy::Policy;
use countersign_core::refusal::Refusal;
use countersign_core::spiffe::{SpiffeId, TrustDomain};
use countersign_core::verdict::Verdict;
use countersign_io::clock;
use countersign_io::fetch::{CardUrl, FetchLimits, fetch_card};
use names::DOMAIN;
use std::net::{IpAddr, Ipv4Addr};

/// Show the whole way: six agents on this machine, their verdicts and the policies that follow.
///
/// A throw-away authority issues an SVID to each agent. Two agents are honest; the others were tampered with,
/// signed by a neighbour, signed with an expired SVID, or had an endpoint injected. Nothing leaves the machine.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// An agent, the card that was fetched, and the verdict.
struct AgentOutcome {
    agent: DemoAgent,
    received: Option<ReceivedCard>,
    verdict: Verdict,
}

pub(super) fn run(_: &Args) -> Result<Done, Unusable> {
    let now = clock::now();
    let authority = DemoAuthority::new(now).map_err(Unusable::new)?;
    let agents = agents::all(&authority, now).map_err(Unusable::new)?;
    let domain = TrustDomain::parse(DOMAIN).map_err(Unusable::new)?;
    let bundle = parse_bundle(&domain, authority.bundle()).map_err(Unusable::new)?;
    let verifier =
        CardVerifier { bundle: &bundle, policy: Policy::new(domain), expected: None, history: None, now };
    let outcomes = block_on(async {
        let mut outcomes = Vec::new();
        for agent in agents {
            outcomes.push(visit(agent, &verifier).await?);
        }
        Ok::<_, Unusable>(outcomes)
    })??;
    show::page(&outcomes, &verifier).map(Done::text)
}

/// Serves one card, fetches it, verifies it and binds it to its workload.
async fn visit(agent: DemoAgent, verifier: &CardVerifier<'_>) -> Result<AgentOutcome, Unusable> {
    let server = serve::start(agent.body.clone())
        .await
        .map_err(|error| Unusable::new(format!("this machine lets no agent listen on 127.0.0.1: {error}")))?;
    // In a cluster this name is that of the Service; here `limits.address` leads it to the loopback address.
    let host = agent.host();
    let url = CardUrl::parse(&format!("http://{host}:{}", server.port())).map_err(Unusable::new)?;
    let limits = FetchLimits { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..FetchLimits::default() };
    let expected_id = agent.spiffe_id().map_err(Unusable::new)?;
    let outcome = match fetch_card(&url, limits).await {
        Err(refusal) => AgentOutcome { agent, received: None, verdict: Verdict::refused(refusal) },
        Ok(fetched) => {
            let facts = WorkloadFacts {
                expected_id,
                cluster_hosts: [host.clone()].into(),
                ingress_hosts: [].into(),
                source: Source::Http { host },
            };
            let received = ReceivedCard::new(fetched.body, fetched.url);
            let bound = bind(&received, verifier, &facts);
            AgentOutcome { agent, received: Some(received), verdict: Verdict::of(bound) }
        }
    };
    Ok(outcome)
}

fn bind(
    received: &ReceivedCard,
    verifier: &CardVerifier<'_>,
    facts: &WorkloadFacts,
) -> Result<BoundCard, Refusal> {
    let signed = verifier.verify(received.bytes.clone()).map_err(|rejection| rejection.refusal)?;
    bind_card(signed, facts, None)
}

impl DemoAgent {
    /// The DNS name of the agent's Service.
    fn host(&self) -> String {
        agents::host(self.name)
    }

    /// The SPIFFE ID that follows from the agent's namespace and service account.
    fn spiffe_id(&self) -> Result<SpiffeId, Refusal> {
        SpiffeId::parse(&authority::spiffe_id(self.name))
    }
}

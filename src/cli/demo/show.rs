//! The page of the demonstration: the table of verdicts, one refusal explained, and the NetworkPolicies.

use super::AgentOutcome;
use super::names::NAMESPACE;
use crate::exit::Unusable;
use crate::explain::{Trace, explain_received};
use crate::page::{BAD, GOOD, Page, STRONG, styled};
use crate::planned::{Planned, example_cluster};
use crate::verify::CardVerifier;
use countersign_plan::input::identity::Expected;
use countersign_plan::{CardOutcome, CardRef, EnrolledWorkload, Mode, Namespace, plan_network_policies};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The agent whose refusal is explained.
const EXPLAINED: &str = "shop";
/// The agents whose NetworkPolicies are shown in full: one verified, one refused.
const SHOWN: [&str; 2] = ["weather", EXPLAINED];

pub(super) fn page(outcomes: &[AgentOutcome], verifier: &CardVerifier<'_>) -> Result<Vec<u8>, Unusable> {
    let mut page = Page::new();
    page.paragraph(
        0,
        "Six agents serve their cards on this machine. Each card was fetched over HTTP, verified over the trust \
         bundle of example.org, and bound to the workload that served it.",
    );
    page.gap();
    table(outcomes, &mut page);
    page.gap();
    page.line(styled(STRONG, "Why the card of `shop` was refused, step by step"));
    let mut text = page.into_bytes();
    if let Some(received) =
        outcomes.iter().find(|one| one.agent.name == EXPLAINED).and_then(|one| one.received.clone())
    {
        let mut trace = Trace::new(&received.source);
        explain_received(verifier, received, &mut trace);
        text.extend(trace.to_text());
    }
    text.extend(policies(outcomes)?);
    Ok(text)
}

fn table(outcomes: &[AgentOutcome], page: &mut Page) {
    page.line(styled(STRONG, format_args!("{:<9}{:<38}{:<10}WHY", "AGENT", "CARD", "VERDICT")));
    for AgentOutcome { agent, verdict, .. } in outcomes {
        let (style, word, why) = match verdict.outcome() {
            Ok(bound) => (GOOD, "verified", bound.signed().profile().id()),
            Err(refusal) => (BAD, "refused", refusal.reason().code()),
        };
        let word = styled(style, format_args!("{word:<10}"));
        page.line(format_args!("{:<9}{:<38}{word}{why}", agent.name, agent.story));
    }
}

fn policies(outcomes: &[AgentOutcome]) -> Result<Vec<u8>, Unusable> {
    let mut page = Page::new();
    page.gap();
    page.line(styled(STRONG, "The policies that would be applied"));
    let cluster = example_cluster().map_err(Unusable::new)?;
    let mut whole = Vec::new();
    for outcome in outcomes {
        let planned = plan(outcome, &cluster).map_err(Unusable::new)?;
        for policy in &planned.policies {
            page.line(format_args!("  {}", Planned::summary(policy)));
        }
        if SHOWN.contains(&outcome.agent.name) {
            whole.extend(planned.last_yaml()?);
        }
    }
    page.gap();
    page.line(styled(STRONG, "In full: what lets a verified agent speak, and what a refused one gets"));
    let mut text = page.into_bytes();
    text.extend(whole);
    Ok(text)
}

fn plan(
    outcome: &AgentOutcome,
    cluster: &countersign_plan::ClusterAccess,
) -> Result<Planned, Box<dyn std::error::Error>> {
    let name = outcome.agent.name;
    let labels = [("app".to_owned(), name.to_owned())].into();
    let workload = EnrolledWorkload::new(
        Namespace::parse(NAMESPACE)?,
        "Deployment",
        name,
        Expected::exactly(outcome.agent.spiffe_id()?),
        LabelSelector { match_labels: Some(labels), match_expressions: None },
    )?;
    let card = CardOutcome::new(CardRef::new(&format!("{name}-deployment-card"), None)?, &outcome.verdict);
    Ok(Planned {
        enrolled_by: None,
        workload: format!("Deployment {NAMESPACE}/{name}"),
        because: Planned::because(&outcome.verdict),
        policies: plan_network_policies(&[card], &workload, cluster, Mode::Enforce),
    })
}

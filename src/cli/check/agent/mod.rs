//! Checks of one agent, from its workload to its packets: each link needs those before it.

mod card;
mod conditions;
mod named;
mod pods;
mod policies;
mod runtime;
mod service;
mod workload;

pub(super) use named::Named;

use super::client::Reader;
use super::finding::Finding;
use super::unread::{Answer, Unread};
use countersign_api::agent_card::AgentCard;
use countersign_api::agent_runtime::{AgentRuntime, RuntimeCondition};
use countersign_api::keys::{MANAGED_BY, MANAGED_BY_LABEL};
use named::Kind;
use workload::Workload;

/// Checks the agent `named` of a namespace.
pub(super) async fn check(reader: &Reader, namespace: &str, named: &Named) -> Vec<Finding> {
    let workload = match workload::choose(named, namespace, find(reader, namespace, named).await) {
        Ok(workload) => workload,
        Err(finding) => return vec![finding],
    };
    let shown = workload.shown();
    let mut findings = vec![Finding::ok("workload", &shown, "exists")];
    let runtimes: Answer<Vec<AgentRuntime>> = reader.list(Some(namespace), "").await;
    findings.push(runtime::judge_runtime(&workload, &runtimes));
    findings.push(workload::judge_labels(&workload));
    let pods = match pods::selector_text(&workload.selector) {
        Some(selector) => reader.list(Some(namespace), &selector).await.map(pods::running),
        None => Err(Unread::Failed("its selector selects every Pod, or is not understood".to_owned())),
    };
    findings.push(pods::judge_pods(&workload, &pods));
    let found = runtimes.as_ref().ok().and_then(|all| runtime::of(&workload, all));
    let configured = found.and_then(|one| runtime::condition(one, RuntimeCondition::SidecarConfigured));
    let why_none = configured.map(|condition| format!("{}: {}", condition.reason, condition.message));
    findings.extend(pods::judge_sidecar(&workload, &pods, why_none.as_deref()));
    if !workload.is_agent() {
        findings.push(Finding::skipped("agentcard", &shown, "is no agent, so it has no card and no verdict"));
        return findings;
    }
    findings.push(service::judge_service(&workload, &reader.get(Some(namespace), &workload.name).await));
    let cards: Answer<Vec<AgentCard>> = reader.list(Some(namespace), "").await;
    let cards = cards.map(|cards| card::of(&workload, cards));
    findings.extend(card::judge_cards(&workload, &cards));
    if let Ok(cards) = &cards {
        let verdict = card::verdict(cards);
        findings.extend(pods::judge_marks(&workload, &pods, &verdict));
        let managed = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
        let stored = reader.list(Some(namespace), &managed).await;
        findings.push(policies::judge_policies(&workload, &stored, &verdict, card::is_audited(cards)));
    }
    findings
}

/// The Deployment and the `StatefulSet` of the name, or that of the given kind alone.
async fn find(reader: &Reader, namespace: &str, named: &Named) -> [Answer<Workload>; 2] {
    let deployment = match named.kind {
        None | Some(Kind::Deployment) => {
            reader.get(Some(namespace), &named.name).await.map(Workload::of_deployment)
        }
        Some(Kind::StatefulSet) => Err(Unread::Absent),
    };
    let stateful_set = match named.kind {
        None | Some(Kind::StatefulSet) => {
            reader.get(Some(namespace), &named.name).await.map(Workload::of_stateful_set)
        }
        Some(Kind::Deployment) => Err(Unread::Absent),
    };
    [deployment, stateful_set]
}

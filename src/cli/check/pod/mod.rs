//! `countersign explain pod`: why one Pod has a sidecar, or has none.

mod judge;

use super::client::{ClientArgs, Reader, ServerFacts};
use super::finding::Finding;
use super::{cluster, judged, parse_namespace};
use crate::args::Output;
use crate::exit::{Done, Unusable};
use judge::{Sidecar, judge_next, judge_pod, judge_scope};
use k8s_openapi::api::core::v1::{Namespace, Pod};

/// Explain why a Pod has a sidecar, or has none
///
/// Says what the annotation countersign.dev/injection of the Pod says, and what the admission webhook would decide now about a
/// Pod like it, by the rules and settings of the operator. Lines and exit codes are those of `countersign check`.
#[derive(Debug, clap::Args)]
pub(in super::super) struct PodArgs {
    /// Name of the Pod.
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: String,
    /// Namespace of the Pod.
    #[arg(short, long, value_name = "NAME", value_parser = parse_namespace)]
    namespace: String,
    /// Namespace of the operator.
    #[arg(long, value_name = "NAME", default_value = "countersign-system", value_parser = parse_namespace)]
    operator_namespace: String,
    #[command(flatten)]
    client: ClientArgs,
    /// How the explanation is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Name of an object, which becomes a part of a path.
fn parse_name(text: &str) -> Result<String, String> {
    let is_inner =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(is_inner) {
        return Err("write the name of a Pod: 1 to 253 of a-z 0-9 - .".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs `countersign explain pod`.
pub(in super::super) fn explain_pod(args: &PodArgs) -> Result<Done, Unusable> {
    let subject = format!("pod {}/{}", args.namespace, args.name);
    let judge = async |reader: &Reader, facts: &ServerFacts| explained(reader, facts, args).await;
    judged(subject, (&args.client, args.output), judge)
}

async fn explained(reader: &Reader, facts: &ServerFacts, args: &PodArgs) -> Vec<Finding> {
    let (name, namespace, operator) = (&args.name, args.namespace.as_str(), args.operator_namespace.as_str());
    let pod = reader.get::<Pod>(Some(namespace), name).await;
    let shown = format!("Pod {namespace}/{name}");
    let pod = match judge_pod(&shown, pod) {
        Ok(pod) => pod,
        Err(finding) => return vec![finding],
    };
    let labels = reader.get::<Namespace>(None, namespace).await;
    let labels = labels.map(|namespace| namespace.metadata.labels.unwrap_or_default());
    let (unasked, scope) = judge_scope(namespace, &labels, operator);
    let sidecar = Sidecar::of(&shown, &pod);
    let mut findings = vec![scope, sidecar.judge(unasked.as_deref())];
    let settings = cluster::sidecar_settings(reader, facts, operator).await;
    findings.push(judge_next(&sidecar, &pod, unasked.as_deref(), settings));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        assert_eq!(parse_name("weather-7d.a"), Ok("weather-7d.a".to_owned()));
        for text in ["", "../x", "A", "a/b", "a b", &"x".repeat(254)] {
            assert!(parse_name(text).is_err(), "{text}");
        }
    }
}

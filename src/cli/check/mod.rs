//! `countersign check`: asks a cluster whether all that verdicts and sidecars need is there, and an agent's objects where
//! it stops. Nothing is written.

mod agent;
mod client;
mod cluster;
mod finding;
mod limits;
mod pod;
mod show;
mod unread;

pub(super) use pod::{PodArgs, explain_pod};
pub(super) use show::Results;

use super::args::Output;
use super::exit::{Done, Outcome, Unusable};
use client::{ClientArgs, Reader, ServerFacts};
use countersign_plan::Namespace;
use finding::Finding;
use unread::UNAUTHORIZED;

/// Check a cluster before agents are enrolled, or one agent after
///
/// Each line says what was checked and found; below a warning or a failure stands what to do. What you may not read is
/// skipped, with the right to ask for. Nothing is written, and no packet is sent to anybody but the API server.
///
/// Exit codes: 0 no check failed, 1 one did, 2 no cluster is configured or the API server does not know you, 3 it does
/// not answer.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    subject: Option<Subject>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, clap::Args)]
struct ClusterArgs {
    /// Namespace of the operator.
    #[arg(long, value_name = "NAME", default_value = "countersign-system", value_parser = parse_namespace)]
    namespace: String,
    #[command(flatten)]
    client: ClientArgs,
    /// How findings are written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, clap::Subcommand)]
enum Subject {
    Agent(AgentArgs),
}

/// Walk one agent from its workload to its packets
///
/// The first line that fails is the link of the chain to mend.
#[derive(Debug, clap::Args)]
struct AgentArgs {
    /// Name of the workload, such as `weather`, `deployment/weather` or `statefulset/weather`.
    #[arg(value_name = "[KIND/]NAME", value_parser = agent::Named::parse)]
    name: agent::Named,
    /// Namespace of the workload.
    #[arg(short, long, value_name = "NAME", value_parser = parse_namespace)]
    namespace: String,
    #[command(flatten)]
    client: ClientArgs,
    /// How findings are written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn parse_namespace(text: &str) -> Result<String, String> {
    Namespace::parse(text).map(|namespace| namespace.as_str().to_owned()).map_err(|error| error.to_string())
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    match &args.subject {
        Some(Subject::Agent(args)) => {
            let AgentArgs { name, namespace, client, output } = args;
            let judge = async |reader: &Reader, _: &ServerFacts| agent::check(reader, namespace, name).await;
            judged(format!("agent {namespace}/{}", name.name), (client, *output), judge)
        }
        None => {
            let ClusterArgs { namespace, client, output } = &args.cluster;
            let judge =
                async |reader: &Reader, facts: &ServerFacts| cluster::check(reader, facts, namespace).await;
            judged("cluster".to_owned(), (client, *output), judge)
        }
    }
}

/// Findings of `judge` about a subject, from the cluster of `client`.
fn judged(
    subject: String,
    (client, output): (&ClientArgs, Output),
    judge: impl AsyncFnOnce(&Reader, &ServerFacts) -> Vec<Finding>,
) -> Result<Done, Unusable> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unusable::new)?;
    runtime.block_on(async {
        let reader = Reader::new(client).await?;
        let facts: ServerFacts = match reader.server().await {
            Ok(facts) => facts,
            Err((code, problem)) => {
                let is_nobody = code == Some(UNAUTHORIZED);
                let results = Results::new(subject, vec![unreachable(&reader.address, &problem, is_nobody)]);
                let outcome = if is_nobody { Outcome::Unusable } else { Outcome::NotFetched };
                return Ok(done(&results, output)?.with_outcome(outcome));
            }
        };
        let results = Results::new(subject, judge(&reader, &facts).await);
        Ok(done(&results, output)?.with_refused(results.has_failed()))
    })
}

fn done(results: &Results, output: Output) -> Result<Done, Unusable> {
    Ok(match output {
        Output::Text => Done::text(results.to_text()),
        Output::Json => Done::text(results.to_json()?),
    })
}

fn unreachable(address: &str, problem: &str, is_nobody: bool) -> Finding {
    let (id, what) = ("api-server", format!("the API server at {address}"));
    if is_nobody {
        let fix = "log in again, or name another context with --context";
        return Finding::fail(id, &what, &format!("does not know you: {problem}"), fix);
    }
    let fix = "see whether `kubectl version` answers; name another cluster with --context or --kubeconfig";
    Finding::fail(id, &what, &format!("does not answer: {problem}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_that_says_nothing_is_told_from_one_that_refuses() {
        assert!(unreachable("https://a", "refused", false).found.starts_with("does not answer"));
        assert!(unreachable("https://a", "401", true).found.starts_with("does not know you"));
    }
}

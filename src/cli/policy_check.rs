//! `countersign policy`: checks a policy file, or prints its schema.

use super::exit::{Done, Unusable};
use super::policy::read_policy_file;
use countersign_api::policy_file::policy_file_schema;

/// Check a file with acceptance policies, before the operator or a pipeline reads it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File to check.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<String>,
    /// Print the JSON Schema of the file instead; schemas/policy.schema.json is this output.
    #[arg(long, conflicts_with = "file")]
    schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let Some(file) = &args.file else {
        let schema = serde_json::to_string_pretty(&policy_file_schema()).map_err(Unusable::new)?;
        return Ok(Done::text(schema + "\n"));
    };
    let policies = read_policy_file(file).map_err(|problem| Unusable::new(format!("{file}: {problem}")))?;
    let domains: Vec<String> = policies.trust_domains().map(ToString::to_string).collect();
    let own = if domains.is_empty() { "no trust domain".to_owned() } else { domains.join(", ") };
    Ok(Done::text(format!("ok: settings of its own for {own}\n")))
}

//! `countersign policy`: checks a policy file, or prints its schema.

use super::exit::{Done, Unusable, shown};
use countersign_api::policy_file::{POLICY_FILE_BYTES, parse_policy_file, policy_file_schema};
use countersign_io::files::read_file;
use std::path::PathBuf;

/// Check a file with acceptance policies, before the operator or a pipeline reads it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File to check, or `-` for standard input.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the JSON Schema of the file instead; schemas/policy.schema.json is this output.
    #[arg(long, conflicts_with = "file")]
    schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let Some(file) = &args.file else {
        let schema = serde_json::to_string_pretty(&policy_file_schema()).map_err(Unusable::new)?;
        return Ok(Done::text(schema + "\n"));
    };
    let bytes = read_file(file, POLICY_FILE_BYTES)?;
    let policies =
        parse_policy_file(&bytes).map_err(|problem| Unusable::new(format!("{}: {problem}", shown(file))))?;
    let domains: Vec<String> = policies.trust_domains().map(ToString::to_string).collect();
    let parts = [
        policies.has_defaults().then(|| "defaults for every trust domain".to_owned()),
        (!domains.is_empty()).then(|| format!("settings of its own for {}", domains.join(", "))),
    ];
    let told: Vec<String> = parts.into_iter().flatten().collect();
    let told = if told.is_empty() {
        "nothing is set, so the built-in policy counts".to_owned()
    } else {
        told.join("; ")
    };
    Ok(Done::text(format!("ok: {told}\n")))
}

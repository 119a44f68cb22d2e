//! `countersign schema`: the JSON Schema of the JSON results, made from the types that write them.

use super::exit::{Done, Unusable};
use super::report::Report;
use schemars::generate::SchemaSettings;

/// Print the JSON Schema of the JSON results of `verify` and `verify-svid`.
///
/// schemas/report.schema.json in the source tree is this output. `schemaVersion` in a result is raised when a member goes
/// or means something else; new members leave it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(Args {}: &Args) -> Result<Done, Unusable> {
    // As it is written: every member is present.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<Report>();
    Ok(Done::text(serde_json::to_string_pretty(&schema).map_err(Unusable::new)? + "\n"))
}

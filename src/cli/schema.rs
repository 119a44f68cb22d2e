//! `countersign schema`: the JSON Schema of the JSON results, made from the types that write them.

use super::exit::{Done, Unusable};
use super::report::Report;
use schemars::generate::SchemaSettings;

/// Command whose results a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Results {
    /// Those of `verify` and `verify-svid`: schemas/report.schema.json.
    Verify,
    /// Those of `check` and `check agent`: schemas/check.schema.json.
    #[cfg(feature = "check")]
    Check,
}

/// Print the JSON Schema of the JSON results of a command.
///
/// The files in the source tree are this output. `schemaVersion` in a result is raised when a member goes or means something
/// else; new members leave it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command whose results are described.
    #[arg(value_enum, default_value_t = Results::Verify)]
    results: Results,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    // As it is written: every member is present.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = match args.results {
        Results::Verify => generator.into_root_schema_for::<Report>(),
        #[cfg(feature = "check")]
        Results::Check => generator.into_root_schema_for::<super::check::Results>(),
    };
    Ok(Done::text(serde_json::to_string_pretty(&schema).map_err(Unusable::new)? + "\n"))
}

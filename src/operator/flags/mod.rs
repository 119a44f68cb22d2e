//! Flags and environment of the operator, in Go's flag syntax, with all flags of the existing operator.
//! One table defines parser, help and defaults; the result is a [`Config`] of checked values.

mod config;
mod given;
mod serving;
mod surroundings;
mod syntax;
mod table;
mod values;
mod webhook;

pub use config::{BundleOrigin, BundleSource, Config, MetricsServer};
pub use serving::ServingCertificate;
pub use surroundings::Surroundings;
pub use syntax::FlagError;
pub use table::help;
pub use webhook::{WebhookCertificate, WebhookServer};

/// Request of a command line.
#[derive(Debug)]
pub enum CommandLine {
    /// Run with this configuration.
    Run(Box<Config>),
    /// Print this help text and exit with 0.
    Help(String),
}

/// Parses the arguments after the program name; `variable` reads the environment.
pub fn read(
    arguments: impl IntoIterator<Item = String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<CommandLine, FlagError> {
    match syntax::parse(arguments)? {
        None => Ok(CommandLine::Help(help())),
        Some(given) => Ok(CommandLine::Run(Box::new(Config::build(&given, variable)?))),
    }
}

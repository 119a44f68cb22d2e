//! The operator's flags and environment: Go's flag syntax and the names of the existing operator, then ours.
//! One table makes the parser, the help and the defaults; the result is a [`Config`] of checked values.

mod config;
mod syntax;
mod table;
mod values;

pub use config::{BundleOrigin, BundleSource, Config, MetricsServer, ServingCertificate};
pub use syntax::FlagError;
pub use table::help;

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// To run.
    Run(Box<Config>),
    /// To print this text and end well.
    Help(String),
}

/// Reads the arguments after the program's name, with `variable` looking into the environment.
pub fn read(
    arguments: impl IntoIterator<Item = String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Asked, FlagError> {
    match syntax::parse(arguments)? {
        None => Ok(Asked::Help(help())),
        Some(given) => Ok(Asked::Run(Box::new(Config::build(&given, variable)?))),
    }
}

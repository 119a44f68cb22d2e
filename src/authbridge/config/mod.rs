//! The configuration file of AuthBridge: read strictly, with the line and key of everything that is wrong.
//! Nothing here reads files or the environment; both come as arguments.

mod address;
mod check;
mod duration;
mod jwt_validation;
mod model;
mod node;
mod parsers;
mod plugins;
mod reader;
mod secret;
mod token_exchange;

pub use address::{Backend, ListenAddress};
pub use check::Addresses;
pub use duration::GoDuration;
pub use jwt_validation::{AudienceMode, JwtValidation};
pub use model::{
    Config, Limits, Listener, Mtls, MtlsMode, Pipeline, Pipelines, SessionSettings, SidecarMode, Spiffe,
};
pub use parsers::{A2aParser, InferenceParser, McpParser};
pub(crate) use plugins::catalogue as plugin_catalogue;
pub use plugins::{OnError, Plugin, PluginSettings};
pub use reader::Diagnostic;
pub use secret::Secret;
pub use token_exchange::{
    Action, AssertionType, ClientIdentity, DefaultPolicy, IdentityKind, NoTokenPolicy, Provider, Route,
    RouteTls, Routes, TokenExchange,
};

use countersign_core::text::Quoted;
use node::YamlNode;
use reader::{ConfigReader, ReaderContext};
use serde::Deserialize;
use std::cell::RefCell;

/// Where `${NAME}` looks names up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What is not known is an error.
    Strict,
    /// What is not known is passed over, and told.
    Lenient,
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the file says, with all defaults.
    pub config: Config,
    /// Where to listen.
    pub addresses: Addresses,
    /// What was passed over or understood differently than before.
    pub notices: Vec<Diagnostic>,
}

/// Reads and judges a configuration file.
pub fn parse_config(
    text: &str,
    variables: Variables<'_>,
    reading: Reading,
) -> Result<Checked, Vec<Diagnostic>> {
    let (root, config, mut notices): (_, Config, _) = parse(text, variables, reading)?;
    let addresses = check::check(&config, &root, &mut notices)?;
    Ok(Checked { config, addresses, notices })
}

/// Reads a file of routes: a list of them.
pub fn parse_routes(
    text: &str,
    variables: Variables<'_>,
    reading: Reading,
) -> Result<(Vec<Route>, Vec<Diagnostic>), Vec<Diagnostic>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok((Vec::new(), Vec::new()));
    }
    let (root, routes, mut diagnostics): (_, Vec<Route>, _) = parse(text, variables, reading)?;
    let notices = diagnostics.len();
    check::check_routes(&routes, &root, &[], &mut diagnostics);
    if diagnostics.len() > notices { Err(diagnostics.split_off(notices)) } else { Ok((routes, diagnostics)) }
}

fn parse<T: for<'de> Deserialize<'de>>(
    text: &str,
    variable: Variables<'_>,
    reading: Reading,
) -> Result<(YamlNode, T, Vec<Diagnostic>), Vec<Diagnostic>> {
    let root = YamlNode::parse(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        // The first line says what is wrong; the rest shows the file, which may hold secrets.
        let problem = error.without_snippet().to_string();
        let problem = problem.lines().next().unwrap_or("it is not YAML").to_owned();
        vec![Diagnostic { line, key: String::new(), problem: Quoted(&problem).to_string() }]
    })?;
    let lenient = reading == Reading::Lenient;
    let context = ReaderContext { variable, lenient, diagnostics: RefCell::default() };
    let read = T::deserialize(ConfigReader::new(&root, &context));
    let mut diagnostics = context.diagnostics.into_inner();
    match read {
        Ok(value) if lenient || diagnostics.is_empty() => Ok((root, value, diagnostics)),
        Ok(_) => Err(diagnostics),
        Err(failure) => {
            // What was passed over is no error, but it may explain one.
            diagnostics.push(failure.into_diagnostic(root.line));
            Err(diagnostics)
        }
    }
}

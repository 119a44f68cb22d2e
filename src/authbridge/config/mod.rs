//! Configuration file of AuthBridge: read strictly, with the line and key of every error.
//! It reads neither files nor the environment; both come as arguments.

mod address;
mod bare_variables;
mod check;
mod compat;
mod duration;
mod flat_form;
mod host_pattern;
mod jwt_validation;
mod model;
mod parsers;
mod plugin_names;
mod plugins;
mod secret;
mod token_exchange;
mod tree;
mod unquoted;

pub use address::{Backend, ListenAddress};
pub use check::Addresses;
pub use duration::GoDuration;
pub use jwt_validation::{AudienceMode, JwtValidation};
pub use model::{
    Config, InboundInterception, Limits, Listener, Mtls, MtlsMode, Pipeline, Pipelines, Role,
    SessionSettings, SidecarMode, Spiffe,
};
pub use parsers::{A2aParser, InferenceParser, McpParser};
pub(crate) use plugins::catalogue as plugin_catalogue;
pub use plugins::{OnError, Plugin, PluginSettings};
pub use secret::Secret;
pub use token_exchange::{
    Action, AssertionType, ClientIdentity, DefaultPolicy, IdentityKind, NoTokenPolicy, Provider, Route,
    RouteTls, Routes, TokenExchange,
};

pub use countersign_api::yaml::{Diagnostic, Variables};
use countersign_api::yaml::{Mistakes, ReaderContext, YamlNode, read_partial, syntax_problem};
use serde::de::DeserializeOwned;

/// Treatment of unknown keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// An unknown key is an error.
    Strict,
    /// An unknown key is ignored, with a notice, and so is what gates nothing in a file of the existing AuthBridge.
    Lenient,
}

/// Configuration that passed all checks and can be run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Contents of the file with all defaults.
    pub config: Config,
    /// Addresses of all listeners.
    pub addresses: Addresses,
    /// Notices: what was ignored, or is understood differently than by the existing AuthBridge.
    pub notices: Vec<Diagnostic>,
    /// Reading of the file, which is that of files that it names.
    pub reading: Reading,
}

/// Parses and checks a configuration file; the error has every problem found, not only the first.
pub fn parse_config(
    text: &str,
    variables: Variables<'_>,
    reading: Reading,
) -> Result<Checked, Vec<Diagnostic>> {
    told(text, variables, reading, |partly: PartlyRead<Config>| {
        let PartlyRead { root, value, mut mistakes, mut notices, reading } = partly;
        let Some(mut config) = value else { return Err(mistakes.into_vec()) };
        if reading == Reading::Lenient {
            check::clamp_session(&mut config.session, &root, &mut notices);
        }
        let addresses = check::check(&config, &root, &mut mistakes, &mut notices);
        let mistakes = mistakes.into_vec();
        match addresses {
            Some(addresses) if mistakes.is_empty() => Ok(Checked { config, addresses, notices, reading }),
            _ => Err(mistakes),
        }
    })
}

/// True for a text of blank lines and comments.
pub(crate) fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Parses and checks a file with a list of routes; also its notices.
pub fn parse_routes(
    text: &str,
    variables: Variables<'_>,
    reading: Reading,
) -> Result<(Vec<Route>, Vec<Diagnostic>), Vec<Diagnostic>> {
    if is_blank(text) {
        return Ok((Vec::new(), Vec::new()));
    }
    told(text, variables, reading, |partly: PartlyRead<Vec<Route>>| {
        let PartlyRead { root, value, mut mistakes, notices, .. } = partly;
        let Some(routes) = value else { return Err(mistakes.into_vec()) };
        check::check_routes(&routes, &root, &[], &mut mistakes);
        let mistakes = mistakes.into_vec();
        if mistakes.is_empty() { Ok((routes, notices)) } else { Err(mistakes) }
    })
}

/// What could be read of a file.
struct PartlyRead<T> {
    root: YamlNode,
    /// `None` where nothing is left that fits.
    value: Option<T>,
    mistakes: Mistakes,
    notices: Vec<Diagnostic>,
    reading: Reading,
}

/// Reads a file and checks what could be read of it, so that one run names all problems.
fn told<T: DeserializeOwned, C>(
    text: &str,
    variables: Variables<'_>,
    reading: Reading,
    check: impl Fn(PartlyRead<T>) -> Result<C, Vec<Diagnostic>>,
) -> Result<C, Vec<Diagnostic>> {
    let attempt = |reading| {
        let (partly, passed_over) = parse(text, variables, reading)?;
        check(partly).map_err(|mistakes| [passed_over, mistakes].concat())
    };
    attempt(reading).map_err(|mut mistakes| {
        if reading == Reading::Strict {
            explain(&mut mistakes);
            let left = attempt(Reading::Lenient).err().unwrap_or_default();
            name_compat(&mut mistakes, &left);
        }
        mistakes
    })
}

/// Says what to write where a file of the existing AuthBridge has a key that is elsewhere here.
fn explain(mistakes: &mut [Diagnostic]) {
    for one in mistakes {
        match one.key.as_str() {
            "listener.health_addr" => {
                "there is no such key; write it as health.address".clone_into(&mut one.problem);
            }
            "mode" if one.problem.starts_with("\"lite\"") => {
                one.problem.push_str("; write proxy-sidecar, which is the same program");
            }
            "mtls.mode" if one.problem.starts_with("\"disabled\"") => {
                one.problem.push_str("; take the block out to have no mTLS");
            }
            _ => {}
        }
    }
}

/// Names `--compat` in each problem that is not among those `left` with it. What may be a misspelt key is to be corrected.
fn name_compat(mistakes: &mut [Diagnostic], left: &[Diagnostic]) {
    for one in mistakes {
        let stays = left.iter().any(|other| (other.place, &other.problem) == (one.place, &one.problem));
        if !stays && !["did you mean", "--compat"].iter().any(|part| one.problem.contains(part)) {
            let problem = one.problem.trim_end_matches('.');
            one.problem = format!("{problem}; --compat lets it pass, as the existing AuthBridge does");
        }
    }
}

/// What could be read of a file, and what a lenient reading passed over: a misspelt key often explains an error.
fn parse<T: DeserializeOwned>(
    text: &str,
    variables: Variables<'_>,
    reading: Reading,
) -> Result<(PartlyRead<T>, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut root = YamlNode::parse(text).map_err(|error| vec![syntax_problem(&error)])?;
    unquoted::take_words(&mut root, text);
    let (lenient, mut notices) = (reading == Reading::Lenient, Vec::new());
    if lenient {
        compat::ease(&mut root, &mut notices);
    } else {
        // What else such a file lacks follows from its form.
        let flat = flat_form::problems(&root);
        if !flat.is_empty() {
            return Err(flat);
        }
    }
    bare_variables::tell(&root, &mut notices);
    let context = ReaderContext::new(Some(variables), lenient);
    let (value, mistakes) = read_partial(&root, &context);
    notices.append(&mut context.into_diagnostics());
    let passed_over = if lenient { notices.clone() } else { Vec::new() };
    Ok((PartlyRead { root, value, mistakes, notices, reading }, passed_over))
}

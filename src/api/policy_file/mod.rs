//! Acceptance policy as a file: what an administrator may set for each trust domain. The operator and the command line read
//! the same file, so that CI and the cluster agree. Pure: bytes in, policies out.

mod lists;
mod settings;
mod words;

use crate::yaml::{
    Diagnostic, Mistakes, PathStep, Place, ReaderContext, YamlNode, read_partial, syntax_problem,
};
use countersign_core::policy::Policy;
use countersign_core::spiffe::TrustDomain;
use serde::Deserialize;
use settings::{Member, Settings};
use std::collections::BTreeMap;

pub use settings::Base;

/// Largest policy file, in bytes: a ConfigMap holds no more.
pub const POLICY_FILE_BYTES: usize = 1024 * 1024;

/// Problem that makes a policy file unusable: line and column, member, what was found and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFileError(String);

/// Policies of all trust domains.
#[derive(Clone, Debug, Default)]
pub struct PolicyFile {
    defaults: Settings,
    trust_domains: BTreeMap<TrustDomain, Settings>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "Acceptance policy of Countersign")]
struct Written {
    /// Version of the format: 1.
    #[schemars(required, with = "Version")]
    version: Option<Version>,
    /// Settings of every trust domain.
    #[serde(default)]
    defaults: Settings,
    /// Settings of one trust domain by its name. A member that is set here replaces the one in `defaults` as a whole; lists
    /// of what is denied are added to those in `defaults`.
    #[serde(default)]
    trust_domains: BTreeMap<words::Domain, Settings>,
}

#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "u8")]
#[schemars(with = "u8", transform = only_version)]
struct Version;

/// Replaces the range of the version's integer type by the one version that there is.
fn only_version(schema: &mut schemars::Schema) {
    for keyword in ["format", "minimum", "maximum"] {
        schema.remove(keyword);
    }
    schema.insert("const".to_owned(), 1.into());
}

impl TryFrom<u8> for Version {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, String> {
        if version == 1 { Ok(Self) } else { Err(format!("version {version} is not known; write 1")) }
    }
}

/// Parses a policy file, YAML or JSON. Nothing unknown is passed over: a misspelt member would be a rule that does not hold.
///
/// # Errors
/// Every member that is unknown or invalid, in one line, each with its line, column and path; of broken syntax, and of a key
/// that occurs twice, the first.
pub fn parse_policy_file(bytes: &[u8]) -> Result<PolicyFile, PolicyFileError> {
    if bytes.len() > POLICY_FILE_BYTES {
        return Err(PolicyFileError(format!(
            "the file has {} bytes, the limit is {POLICY_FILE_BYTES}",
            bytes.len()
        )));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PolicyFileError("the file is not UTF-8".to_owned()))?;
    // A tree keeps apart what a YAML parser converts when it is asked for a type: `"no"` in quotes is a text and no boolean.
    let root = YamlNode::parse(text).map_err(|error| PolicyFileError(listed([syntax_problem(&error)])))?;
    read(&root).map_err(|mistakes| PolicyFileError(listed(mistakes)))
}

/// Reads a file, or finds its mistakes: values that do not fit, and what the others say that no card could meet.
fn read(root: &YamlNode) -> Result<PolicyFile, Vec<Diagnostic>> {
    let (written, mut mistakes) = read_partial::<Written>(root, &ReaderContext::default());
    let file = written.map(|written| {
        if written.version.is_none() {
            mistakes.add_missing(root, "version");
        }
        let file = PolicyFile::from(written);
        file.problems().into_iter().for_each(|problem| problem.add_to(&mut mistakes, root));
        file
    });
    let mistakes = mistakes.into_vec();
    match file {
        Some(file) if mistakes.is_empty() => Ok(file),
        _ => Err(mistakes),
    }
}

/// All mistakes in one line.
fn listed(mistakes: impl IntoIterator<Item = Diagnostic>) -> String {
    let told = |one: Diagnostic| {
        let Diagnostic { place: Place { line, column }, key, problem } = one;
        let at = if key.is_empty() { String::new() } else { format!("{key}: ") };
        format!("line {line} column {column}: {at}{problem}")
    };
    mistakes.into_iter().map(told).collect::<Vec<_>>().join("; also ")
}

/// JSON Schema of the file, for editors.
pub fn policy_file_schema() -> schemars::Schema {
    schemars::schema_for!(Written)
}

impl From<Written> for PolicyFile {
    fn from(written: Written) -> Self {
        let trust_domains = written.trust_domains.into_iter().map(|(domain, settings)| (domain.0, settings));
        Self { defaults: written.defaults, trust_domains: trust_domains.collect() }
    }
}

impl PolicyFile {
    /// Policy for a trust domain: `base`, then `defaults`, then the settings of the domain.
    pub fn policy(&self, trust_domain: TrustDomain, base: Base) -> Policy {
        let own = self.trust_domains.get(&trust_domain);
        let layers: Vec<&Settings> = own.into_iter().chain([&self.defaults]).collect();
        settings::apply(&layers, base.policy(trust_domain))
    }

    /// True if the file sets anything for every trust domain.
    pub fn has_defaults(&self) -> bool {
        !self.defaults.is_empty()
    }

    /// Trust domains with settings of their own, by name.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.trust_domains.keys()
    }

    /// Settings under which no card could count, or that undermine a rule.
    fn problems(&self) -> Vec<Problem<'_>> {
        let own = self.trust_domains.iter().map(|(domain, settings)| (Some(domain), settings));
        let all = [(None, &self.defaults)].into_iter().chain(own);
        all.flat_map(|(domain, settings)| {
            let problems = settings.problems(domain).into_iter();
            problems.map(move |(member, found)| Problem { domain, member, found })
        })
        .collect()
    }
}

/// Problem of one member of the settings of a trust domain, or of the defaults.
struct Problem<'a> {
    domain: Option<&'a TrustDomain>,
    member: Member,
    found: String,
}

impl Problem<'_> {
    fn add_to(self, mistakes: &mut Mistakes, root: &YamlNode) {
        let settings = match self.domain {
            Some(domain) => vec![PathStep::Key("trustDomains"), PathStep::Key(domain.as_str())],
            None => vec![PathStep::Key("defaults")],
        };
        let steps: Vec<PathStep<'_>> = settings.into_iter().chain(self.member).collect();
        mistakes.add(root, &steps, self.found);
    }
}

#[cfg(test)]
mod tests;

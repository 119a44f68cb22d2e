//! Acceptance policy as a file: what an administrator may set for each trust domain. The operator and the command line read
//! the same file, so that CI and the cluster agree. Pure: bytes in, policies out.

mod lists;
mod settings;
mod words;

use crate::yaml::{
    Diagnostic, PathStep, Place, ReaderContext, YamlNode, diagnostic_at, read_all, syntax_problem,
};
use countersign_core::policy::Policy;
use countersign_core::spiffe::TrustDomain;
use serde::Deserialize;
use settings::Settings;
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
    #[expect(dead_code, reason = "reading it is the check")]
    version: Version,
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
#[schemars(with = "u8")]
struct Version;

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
    let written: Written =
        serde_saphyr::from_str(text).map_err(|error| PolicyFileError(mistakes(text, &error)))?;
    let trust_domains = written.trust_domains.into_iter().map(|(domain, settings)| (domain.0, settings));
    let file = PolicyFile { defaults: written.defaults, trust_domains: trust_domains.collect() };
    let problems = file.problems();
    if problems.is_empty() {
        return Ok(file);
    }
    let root = YamlNode::parse(text).map_err(|error| PolicyFileError(described(&error)))?;
    Err(PolicyFileError(listed(problems.iter().map(|one| one.located(&root)))))
}

/// Mistakes of a file that the parser refuses. What it refuses at once is the one mistake; else the file is read again as
/// a tree, in which every mistake has its place.
fn mistakes(text: &str, error: &serde_saphyr::Error) -> String {
    let Ok(root) = YamlNode::parse(text) else { return described(error) };
    match read_all::<Written>(&root, &ReaderContext::default()) {
        Ok(_) => described(error),
        Err(all) => listed(all),
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

/// Problem of the parser in one line.
fn described(error: &serde_saphyr::Error) -> String {
    listed([syntax_problem(error)])
}

/// JSON Schema of the file, for editors.
pub fn policy_file_schema() -> schemars::Schema {
    schemars::schema_for!(Written)
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
    member: &'static [&'static str],
    found: String,
}

impl Problem<'_> {
    fn located(&self, root: &YamlNode) -> Diagnostic {
        let settings: &[&str] = match self.domain {
            Some(domain) => &["trustDomains", domain.as_str()],
            None => &["defaults"],
        };
        let steps: Vec<PathStep<'_>> =
            settings.iter().chain(self.member).map(|name| PathStep::Key(name)).collect();
        diagnostic_at(root, &steps, self.found.clone())
    }
}

#[cfg(test)]
mod tests;

//! Go's flag syntax: one or two dashes, `--flag=value` or `--flag value`, booleans alone or with `=`.
//! Text that is no flag is refused; in Go it silently ends the flags, and the rest has no effect.

use super::table::{FLAGS, Flag, FlagKind};
use countersign_api::duration::parse_duration;
use countersign_core::text::Quoted;
use std::collections::BTreeMap;
use thiserror::Error;

/// Error of a command line, in one sentence that says what to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlagError {
    /// Flag that does not exist.
    #[error("unknown flag --{name}{}", nearest.map(|flag| format!("; did you mean --{flag}?")).unwrap_or_default())]
    Unknown {
        /// Given name, shortened and escaped.
        name: String,
        /// Existing flag with the most similar name.
        nearest: Option<&'static str>,
    },
    /// Flag without the required value.
    #[error("--{0} needs a value, as in --{0}=VALUE")]
    NoValue(&'static str),
    /// Flag with an invalid value.
    #[error("--{flag} {problem}: {found}")]
    Value {
        /// Name of the flag.
        flag: &'static str,
        /// Problem of the value, and what to give instead.
        problem: String,
        /// Given value, shortened and escaped.
        found: String,
    },
    /// Flag that enforcement needs and that was not given.
    #[error(
        "--{0} is missing, and enforcement needs it: without a trust domain no agent can ever be verified, and all would \
         stay closed; give that of your SPIRE server, as in --{0}=example.org, or only look with --mode=audit"
    )]
    Needed(&'static str),
    /// Environment variable with an invalid value.
    #[error("the environment variable {variable} is not usable: {problem}")]
    Environment {
        /// Name of the variable.
        variable: &'static str,
        /// Problem of the value.
        problem: String,
    },
    /// Argument that belongs to no flag.
    #[error("{0} belongs to no flag; give booleans as --flag=false and other values as --flag=value")]
    Positional(String),
}

impl FlagError {
    pub(super) fn value(flag: &'static str, problem: impl Into<String>, found: &str) -> Self {
        Self::Value { flag, problem: problem.into(), found: Quoted(found).to_string() }
    }
}

/// Given flags by name, each with its values in order.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    /// All values of a flag, in order.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Last value of a flag, which counts as in Go; `None` if the flag was not given.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// Table entries of the given flags.
    pub(super) fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        FLAGS.iter().filter(|flag| self.0.contains_key(flag.name))
    }
}

/// Parses the arguments; `None` means that help was requested.
pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Given>, FlagError> {
    let mut given = Given::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(text) = flag_text(&argument) else {
            return Err(FlagError::Positional(Quoted(&argument).to_string()));
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if matches!(name, "help" | "h") {
            return Ok(None);
        }
        let flag = FLAGS.iter().find(|flag| flag.name == name).ok_or_else(|| unknown(name))?;
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, FlagKind::Bool) => "true".to_owned(),
            (None, _) => arguments.next().ok_or(FlagError::NoValue(flag.name))?,
        };
        check(flag, &value)?;
        given.0.entry(flag.name).or_default().push(value);
    }
    Ok(Some(given))
}

/// Text after one or two dashes; `None` if it cannot be a flag.
fn flag_text(argument: &str) -> Option<&str> {
    let text = argument.strip_prefix('-')?;
    let text = text.strip_prefix('-').unwrap_or(text);
    (!text.is_empty() && !text.starts_with(['-', '='])).then_some(text)
}

fn unknown(name: &str) -> FlagError {
    let similar = FLAGS.iter().map(|flag| (strsim::jaro_winkler(name, flag.name), flag.name));
    let nearest = similar.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
    FlagError::Unknown { name: shown, nearest: nearest.map(|(_, name)| name) }
}

/// Checks the syntax of a value, also of flags without effect, as the existing operator does.
fn check(flag: &Flag, value: &str) -> Result<(), FlagError> {
    let problem = match flag.kind {
        FlagKind::Bool => boolean(value).err(),
        FlagKind::Duration => parse_duration(value).err(),
        FlagKind::Number => value.parse::<u32>().err().map(|_| "is not a whole number"),
        FlagKind::Text | FlagKind::Repeated => None,
    };
    problem.map_or(Ok(()), |problem| Err(FlagError::value(flag.name, problem, value)))
}

/// Boolean in a spelling of Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is not a boolean; give true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Result<Option<Given>, FlagError> {
        parse(arguments.iter().map(|&argument| argument.to_owned()))
    }

    fn last(arguments: &[&str], name: &str) -> String {
        given(arguments).unwrap().unwrap().last(name).unwrap().to_owned()
    }

    #[test]
    fn every_spelling_of_a_flag_means_the_same() {
        for arguments in [
            &["--fetch-timeout=7s"][..],
            &["-fetch-timeout=7s"],
            &["--fetch-timeout", "7s"],
            &["-fetch-timeout", "7s"],
            &["--fetch-timeout=1s", "--fetch-timeout=7s"],
        ] {
            assert_eq!(last(arguments, "fetch-timeout"), "7s", "{arguments:?}");
        }
        for arguments in
            [&["--leader-elect"][..], &["-leader-elect=true", "-h=x"][..1], &["--leader-elect=t"]]
        {
            let value = last(arguments, "leader-elect");
            assert_eq!(boolean(&value), Ok(true), "{arguments:?}");
        }
        assert_eq!(last(&["--mode="], "mode"), "");
        assert_eq!(last(&["--kubeconfig", "-x"], "kubeconfig"), "-x", "as Go reads it");
    }

    #[test]
    fn a_repeated_flag_keeps_every_value() {
        let given = given(&["--caller=a", "--caller", "b"]).unwrap().unwrap();
        assert_eq!(given.all("caller"), ["a", "b"]);
        assert!(given.all("mode").is_empty());
    }

    #[test]
    fn help_is_not_an_error() {
        for help in ["-h", "--help", "-help", "--h"] {
            assert!(given(&[help]).unwrap().is_none(), "{help}");
        }
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        for (argument, nearest) in [
            ("--leader-election=true", Some("leader-elect")),
            ("--metric-bind-address=:1", Some("metrics-bind-address")),
            ("--spire-trustdomain=x", Some("spire-trust-domain")),
            ("--zzz", None),
        ] {
            let Err(FlagError::Unknown { nearest: found, .. }) = given(&[argument]) else {
                panic!("{argument}")
            };
            assert_eq!(found, nearest, "{argument}");
        }
        let text = given(&["--leader-election"]).unwrap_err().to_string();
        assert_eq!(text, "unknown flag --leader-election; did you mean --leader-elect?");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_one_line() {
        for (arguments, said) in [
            (&["--leader-elect", "false"][..], "--flag=false"),
            (&["--leader-elect=no"], "--leader-elect is not a boolean"),
            (&["--svid-expiry-grace-period=5"], "--svid-expiry-grace-period is not a duration"),
            (&["--concurrency=-1"], "--concurrency is not a whole number"),
            (&["--fetch-timeout"], "--fetch-timeout needs a value"),
            (&["run"], "\"run\" belongs to no flag"),
            (&["-"], "belongs to no flag"),
            (&["--"], "belongs to no flag"),
            (&["---leader-elect"], "belongs to no flag"),
            (&["--=x"], "belongs to no flag"),
            (&["--bad\nflag"], "unknown flag --badflag"),
        ] {
            let text = given(arguments).unwrap_err().to_string();
            assert!(text.contains(said) && !text.contains('\n'), "{arguments:?}: {text}");
        }
    }
}

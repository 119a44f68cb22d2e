//! Errors of clap in the form of all other errors: one line that says what to do, and exit code 2.

use super::exit::Unusable;
use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;
use std::process::ExitCode;

/// Members of the policy file that say what a flag says.
const MEMBERS: [(&str, &str); 8] = [
    ("--coverage", "coverage"),
    ("--profile", "profiles"),
    ("--all-profiles", "profiles"),
    ("--numbers", "numbers"),
    ("--max-svid-lifetime", "maxSvidLifetime"),
    ("--skew", "clockSkew"),
    ("--freshness", "freshness"),
    ("--max-age", "maxWitnessAge"),
];

/// Prints help and version unchanged, and any other message as one line. `arguments` are all of the command line.
pub(super) fn print(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Help that cannot be written has no reader, so the error is ignored.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => Unusable::new(one_line(error, arguments)).print(),
    }
}

/// Joins the message and its tips into one line; the usage block becomes a hint to `--help` at the end.
fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let rendered = error.render().to_string();
    let message: Vec<&str> = rendered.split("\n\n").take_while(|part| !part.starts_with("Usage:")).collect();
    let words: Vec<&str> = message.iter().flat_map(|part| part.split_whitespace()).collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split(" For more information,").next().unwrap_or(text);
    // Readers of the documentation of the image meet these first.
    let of_the_image = ["operator", "crd", "probe"]
        .iter()
        .find(|name| text.contains(&format!("unrecognized subcommand '{name}'")));
    if let Some(name) = of_the_image.filter(|_| !cfg!(feature = "operator")) {
        return format!(
            "`countersign {name}` is not in this program; build it with `cargo build --features operator`, as the image is"
        );
    }
    let command = subcommand(arguments).map(|name| format!("countersign {name}"));
    let command = command.unwrap_or_else(|| "countersign".to_owned());
    let member = member(error).map(|member| format!("; write `{member}` into the policy file instead"));
    format!("{text}{}; see `{command} --help`", member.unwrap_or_default())
}

/// The subcommand of a command line, whatever is wrong with the rest of it.
fn subcommand(arguments: &[OsString]) -> Option<String> {
    let named =
        arguments.iter().skip(1).find_map(|word| word.to_str().filter(|word| !word.starts_with('-')))?;
    let command = crate::Cli::command();
    command.find_subcommand(named).map(|command| command.get_name().to_owned())
}

/// The member of the policy file for a flag that `--policy` excludes, if that is the error.
fn member(error: &clap::Error) -> Option<&'static str> {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one.as_str()],
        Some(ContextValue::Strings(all)) => all.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let both = [named(ContextKind::InvalidArg), named(ContextKind::PriorArg)].concat();
    let is = |shown: &str, flag: &str| shown.split_whitespace().next() == Some(flag);
    let excludes =
        error.kind() == ErrorKind::ArgumentConflict && both.iter().any(|shown| is(shown, "--policy"));
    let mut known = MEMBERS.iter().filter(|(flag, _)| both.iter().any(|shown| is(shown, flag)));
    known.next().filter(|_| excludes).map(|(_, member)| *member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn said(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> =
            ["countersign"].iter().chain(arguments).map(|word| OsString::from(*word)).collect();
        one_line(&crate::Cli::try_parse_from(&arguments).unwrap_err(), &arguments)
    }

    #[test]
    fn an_unknown_flag_is_one_line_that_names_it_and_the_help() {
        let line = said(&["canonicalize", "card.json", "--bogus"]);
        assert!(!line.contains('\n'));
        assert!(
            line.contains("'--bogus'") && line.ends_with("see `countersign canonicalize --help`"),
            "{line}"
        );
    }

    #[cfg(not(feature = "operator"))]
    #[test]
    fn a_command_of_the_image_is_named_with_the_build_that_has_it() {
        for command in ["operator", "crd", "probe"] {
            let line = said(&[command]);
            assert!(line.contains(&format!("`countersign {command}` is not in this program")), "{line}");
            assert!(line.contains("--features operator"), "{line}");
        }
    }

    #[test]
    fn an_invalid_value_names_the_help_of_its_subcommand() {
        for arguments in [
            &["verify", "card.json", "--skew", "5m"][..],
            &["verify", "card.json", "--expect-id", "spiffe//x"],
            &["verify", "card.json", "--profile", "none"],
            &["explain", "card.json", "--at", "noon"],
            &["verify-svid", "svid.pem", "--max-svid-lifetime", "x"],
            &["plan", "-f", "x", "--caller", "A B"],
            &["canonicalize", "verify", "--profile", "none"],
        ] {
            let line = said(arguments);
            let expected = format!("see `countersign {} --help`", arguments[0]);
            assert!(line.ends_with(&expected), "{line}");
        }
        assert!(said(&["--bogus"]).ends_with("see `countersign --help`"));
    }

    #[test]
    fn missing_arguments_are_listed() {
        let line = said(&["canonicalize", "card.json"]);
        assert!(line.contains("--profile"), "{line}");
    }
}

//! Errors of clap in the form of all other errors: one line that says what to do, and exit code 2.

use super::exit::Unusable;
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Prints help and version unchanged, and any other message as one line.
pub(super) fn print(error: &clap::Error) -> ExitCode {
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
        _ => Unusable::new(one_line(&error.render().to_string())).print(),
    }
}

/// Joins the message and its tips into one line; the usage block becomes a hint to `--help` at the end.
fn one_line(rendered: &str) -> String {
    let message: Vec<&str> = rendered.split("\n\n").take_while(|part| !part.starts_with("Usage:")).collect();
    let words: Vec<&str> = message.iter().flat_map(|part| part.split_whitespace()).collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split(" For more information,").next().unwrap_or(text);
    let usage = rendered.split("Usage: ").nth(1).unwrap_or("countersign");
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-'))
        .collect();
    // Readers of the documentation of the image meet these first.
    let of_the_image = ["operator", "crd", "probe"]
        .iter()
        .find(|name| text.contains(&format!("unrecognized subcommand '{name}'")));
    if let Some(name) = of_the_image.filter(|_| !cfg!(feature = "operator")) {
        return format!(
            "`countersign {name}` is not in this program; build it with `cargo build --features operator`, as the image is"
        );
    }
    let command = if command.is_empty() { "countersign".to_owned() } else { command.join(" ") };
    format!("{text}; see `{command} --help`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn said(arguments: &[&str]) -> String {
        let arguments = ["countersign"].iter().chain(arguments);
        one_line(&crate::Cli::try_parse_from(arguments).unwrap_err().render().to_string())
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
    fn missing_arguments_are_listed() {
        let line = said(&["canonicalize", "card.json"]);
        assert!(line.contains("--profile"), "{line}");
    }
}

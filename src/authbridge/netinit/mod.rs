//! `authbridge netinit`: kernel rules that redirect a pod's traffic to its sidecar, installed by an init container.
//! All rules of both address families are one nftables transaction, so that either all are in force or none.

mod apply;
mod arguments;
mod resolv;
mod rules;
mod settings;
mod values;

pub(super) use arguments::Arguments;

use apply::apply_rules;
use resolv::read_nameservers;
use rules::plan_rules;
use settings::{NetinitSettings, Texts};
use std::io::Write;
use std::process::ExitCode;

/// Installs the rules, or prints them.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match install(arguments, &variable) {
        Ok(said) => match writeln!(std::io::stdout().lock(), "{said}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            // A write to a closed terminal fails, and there is nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "{}: {problem}", failure(arguments));
            ExitCode::FAILURE
        }
    }
}

/// What did not come about.
const fn failure(arguments: &Arguments) -> &'static str {
    if arguments.print { "the rules cannot be shown" } else { "the rules could not be installed" }
}

fn install(arguments: &Arguments, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let texts = Texts { arguments, variable };
    let mut settings = NetinitSettings::parse(&texts)?;
    for notice in settings.unused(&texts) {
        // A write to a closed terminal fails, and there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "{notice}");
    }
    if settings.confines() {
        settings.nameservers = read_nameservers(texts.resolv_conf().as_ref())?;
    }
    let transaction = plan_rules(&settings)?;
    if arguments.print {
        return Ok(transaction.trim_end().to_owned());
    }
    apply_rules(&texts.nft(), &transaction)?;
    Ok(format!("the rules of mode {} are in force, for IPv4 and IPv6", settings.mode.name()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "operators set these variables on the init container of every pod"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        arguments: Arguments,
    }

    pub(super) fn arguments(flags: &[&str]) -> Arguments {
        TestCommand::parse_from(["netinit"].iter().chain(flags)).arguments
    }

    #[test]
    fn a_confining_mode_is_refused_where_no_dns_server_is_named() {
        let problem = install(&arguments(&["--print", "--mode", "enforce-redirect"]), &|name| {
            (name == "RESOLV_CONF").then(|| "/dev/null".to_owned())
        });
        assert!(problem.unwrap_err().contains("/dev/null"));
    }

    #[test]
    fn a_failure_says_what_did_not_come_about() {
        assert_eq!(failure(&arguments(&["--print"])), "the rules cannot be shown");
        assert_eq!(failure(&arguments(&[])), "the rules could not be installed");
    }

    #[test]
    fn a_redirecting_mode_does_not_read_the_file_of_dns_servers() {
        let shown = install(&arguments(&["--print", "--resolv-conf", "/nonexistent"]), &|name| {
            (name == "POD_IP").then(|| "10.1.2.3".to_owned())
        });
        assert!(shown.unwrap().starts_with("add table inet authbridge\ndelete table inet authbridge\n"));
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let flags = ["--pod-ip", "10.1.2.3", "--nft", "/nonexistent/nft"];
        assert!(install(&arguments(&flags), &|_| None).unwrap_err().contains("/nonexistent/nft"));
    }
}

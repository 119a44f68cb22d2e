//! The command line `countersign`: from arguments to one document on standard output and an exit code.
//! Exit code 0 is verified or done, 1 refused, 2 unusable input with one line on standard error that says what to do.

mod args;
mod canonicalize;
mod chain;
#[cfg(feature = "check")]
mod check;
mod complete;
#[cfg(feature = "operator")]
mod crd;
mod demo;
mod exit;
mod explain;
mod memory;
mod page;
mod plan;
mod planned;
mod policy;
mod policy_check;
#[cfg(feature = "operator")]
mod probe;
mod received;
mod report;
mod sarif;
mod schema;
mod sign;
mod sources;
mod usage;
mod verify;
mod verify_svid;

use clap::{Parser, Subcommand};
use exit::{Done, Unusable};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

#[cfg(not(feature = "operator"))]
const AFTER_HELP: &str = "Exit codes: 0 verified or done, 1 refused, 2 unusable input, 3 not fetched.";
#[cfg(feature = "operator")]
const AFTER_HELP: &str = "Exit codes: 0 verified or done, 1 refused, 2 unusable input, 3 not fetched.\n\n\
                          `countersign operator` runs the operator in a cluster; see `countersign operator --help`.";

/// The whole command line; also what completions and manual pages are made from.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    about = "Verify A2A AgentCard signatures over SPIFFE trust bundles",
    long_about = "Verifies who signed an A2A AgentCard over a SPIFFE trust bundle, binds the signer to the workload \
                  that serves the card, and plans the NetworkPolicies that let only verified agents speak.",
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(Box<verify::Args>),
    VerifySvid(verify_svid::Args),
    Canonicalize(canonicalize::Args),
    Sign(sign::Args),
    Explain(Box<explain::Args>),
    Plan(Box<plan::Args>),
    Policy(policy_check::Args),
    Schema(schema::Args),
    #[cfg(feature = "check")]
    Check(check::Args),
    Demo(demo::Args),
    #[cfg(feature = "operator")]
    Crd(crd::Args),
    #[cfg(feature = "operator")]
    Probe(probe::Args),
    Completions(complete::CompletionsArgs),
    Man(complete::ManArgs),
}

/// Runs the command line, prints its output and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::print(&error, &arguments),
    };
    let outcome = match &cli.command {
        Command::Verify(args) => verify::run(args),
        Command::VerifySvid(args) => verify_svid::run(args),
        Command::Canonicalize(args) => canonicalize::run(args),
        Command::Sign(args) => sign::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Policy(args) => policy_check::run(args),
        Command::Schema(args) => schema::run(args),
        #[cfg(feature = "check")]
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args),
        #[cfg(feature = "operator")]
        Command::Crd(args) => crd::run(args),
        #[cfg(feature = "operator")]
        Command::Probe(args) => probe::run(args),
        Command::Completions(args) => Ok(complete::completions(args)),
        Command::Man(args) => complete::man(args),
    };
    match outcome.and_then(|done| print(&done).map(|()| done.code())) {
        Ok(code) => code,
        Err(unusable) => unusable.print(),
    }
}

/// Prints the notes to standard error, then the document to standard output, with colours only on a terminal.
fn print(done: &Done) -> Result<(), Unusable> {
    let mut stderr = anstream::stderr().lock();
    for note in &done.notes {
        // If standard error cannot be written, the document and the exit code still can.
        let _ = writeln!(stderr, "{}", exit::one_line(note));
    }
    let mut stdout = anstream::stdout().lock();
    let written = if done.raw {
        std::io::stdout().lock().write_all(&done.output)
    } else {
        stdout.write_all(&done.output).and_then(|()| stdout.flush())
    };
    match written {
        Ok(()) => Ok(()),
        // A reader may close the pipe early, as in `countersign … | head`; the exit code still tells the verdict.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Unusable::new(format!("cannot write to standard output: {error}"))),
    }
}

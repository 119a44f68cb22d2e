//! Command line of `authbridge`.

mod absent_files;
mod check;
mod logs;
mod top;

use super::config::{Config, Diagnostic, Reading};
use super::netinit;
use super::process;
use super::reload::read_config;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code for a configuration or command line that cannot be run.
const UNUSABLE: u8 = 2;

/// The data plane beside an agent: judges the tokens of requests to it, and gives its own requests the right ones.
#[derive(Debug, Parser)]
#[command(
    name = "authbridge",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct CommandLine {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct File {
    /// The configuration file.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Starts files of the existing AuthBridge: passes over what gates no request (unknown keys, plugins that only watch or
    /// are switched off, old forms) and tells each. What would weaken the gate is refused as without it.
    #[arg(long)]
    compat: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Explains the configuration as it would run, without secrets, and exits with 2 if it would not.
    Check(File),
    /// Prints the JSON Schema of the configuration file.
    Schema,
    /// Shows what a running sidecar does: requests, verdicts and exchanges.
    Top(top::Top),
    /// Installs the kernel rules that lead a pod's traffic through the sidecar; exits with 0 only if all are in force.
    Netinit(Box<netinit::Arguments>),
}

impl File {
    fn reading(&self) -> Reading {
        if self.compat { Reading::Lenient } else { Reading::Strict }
    }
}

/// Runs a command line to its exit code.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // A write to a closed terminal fails, and there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { UNUSABLE } else { 0 });
        }
    };
    match line.command {
        None => serve(line.file),
        Some(Command::Check(file)) => check::check(&file.config.clone().unwrap_or_default(), file.reading()),
        Some(Command::Schema) => check::print(&schemars::schema_for!(Config)),
        Some(Command::Top(settings)) => top::run(&settings),
        Some(Command::Netinit(arguments)) => netinit::run(&arguments),
    }
}

fn serve(file: File) -> ExitCode {
    let reading = file.reading();
    let path = file.config.unwrap_or_default();
    let (checked, digest) = match read_config(&path, reading) {
        Ok(read) => read,
        Err(diagnostics) => return check::refuse(&path, &diagnostics),
    };
    logs::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(async {
            logs::follow_signal();
            Box::pin(process::run(path, reading, checked, digest)).await
        }),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Formats a diagnostic as `FILE:LINE:KEY: PROBLEM`, which editors can jump to.
fn line(path: &std::path::Path, diagnostic: &Diagnostic) -> String {
    let path = path.to_string_lossy();
    let Diagnostic { place, key, problem } = diagnostic;
    match (place.line, key.as_str()) {
        (0, _) => problem.clone(),
        (line, "") => format!("{path}:{line}: {problem}"),
        (line, key) => format!("{path}:{line}: {key}: {problem}"),
    }
}

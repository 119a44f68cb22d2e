//! Entry point of the operator. Exit codes: 0 stopped on request, 1 failed, 2 invalid flag.

use super::flags::{CommandLine, read};
use super::process::run;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs the operator with the arguments after the program name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    let config = match read(arguments, variable) {
        Ok(CommandLine::Run(config)) => config,
        Ok(CommandLine::Help(text)) => {
            // A failed write to standard output has no reader.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed(&format!("{error}; see `countersign operator --help`"), 2),
    };
    // The load is waiting and short verifications: one thread saves wake-ups across threads, a good part of the
    // cost of a fetch, and keeps one memory arena.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(*config));
            runtime.shutdown_background();
            ended
        }
        Err(error) => return failed(&error, 1),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &impl std::fmt::Display, code: u8) -> ExitCode {
    // Without standard error, the exit code alone reports the failure.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(code)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operator's flags have Go's syntax, so clap does not read them"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

//! Installation of a transaction by the program `nft`.
//! nft installs a transaction whole or not at all, and ends with status 1 if it refuses one; anything but success is an error
//! here.

use countersign_core::text::Quoted;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

/// Exit status of nft after an error, before anything was installed (nft(8)).
const REFUSED: i32 = 1;
/// What is known, and to do, if nft did not end as it does by itself.
const UNSURE: &str = "it is not known whether the rules are in force; run netinit again, which replaces them";

/// Most bytes of nft's error output to repeat; it quotes each line that it refuses.
const COMPLAINT_BYTES: u64 = 4096;

/// Installs `transaction` by `program`. The error is a sentence with the program's own words.
pub(super) fn apply_rules(program: &str, transaction: &str) -> Result<(), String> {
    let name = Quoted(program).to_string();
    let mut command = Command::new(program);
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        format!(
            "{name} could not be started: {error}; install the package nftables, which the image of the sidecar has, or name \
             the program with --nft or NFT_CMD"
        )
    })?;
    let written = write(&mut child, transaction);
    let complaint = complaint(&mut child);
    let status =
        child.wait().map_err(|error| format!("the end of {name} was not seen: {error}; {UNSURE}"))?;
    // A program that ended early breaks the pipe; its exit status and output explain more than that error.
    let complaint = complaint.trim();
    match status.code() {
        Some(0) => written.map_err(|error| format!("{name} did not read the rules: {error}; {UNSURE}")),
        Some(REFUSED) => Err(format!("{name} ended with {status}, and nothing has changed: {complaint}")),
        // That of a wrapper, such as the 127 of a shell, may stand for anything.
        Some(_) | None => Err(format!("{name} ended with {status}; {UNSURE}: {complaint}")),
    }
}

/// Writes the transaction and closes the pipe. It fits into a pipe's buffer (64 KiB, `pipe(7)`), so a program that
/// writes errors before it has read everything cannot deadlock with this side.
fn write(child: &mut Child, transaction: &str) -> io::Result<()> {
    let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    input.write_all(transaction.as_bytes())
}

fn complaint(child: &mut Child) -> String {
    let Some(mut errors) = child.stderr.take() else { return String::new() };
    let mut bytes = Vec::new();
    // A failed read only shortens the message: the exit status decides. The rest is drained so that the program ends.
    let _ = errors.by_ref().take(COMPLAINT_BYTES).read_to_end(&mut bytes);
    let _ = io::copy(&mut errors, &mut io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sh -f -` reads its commands from standard input, as `nft -f -` does.
    fn run(script: &str) -> Result<(), String> {
        apply_rules("sh", script)
    }

    #[test]
    fn what_the_program_takes_is_done() {
        assert_eq!(run("exit 0"), Ok(()));
    }

    #[test]
    fn what_the_program_refuses_is_an_error_with_its_words() {
        let problem = run("echo 'no such chain' >&2; exit 1").unwrap_err();
        assert!(problem.ends_with("exit status: 1, and nothing has changed: no such chain"), "{problem}");
    }

    #[test]
    fn only_the_status_of_a_refusal_says_that_nothing_has_changed() {
        for status in [2, 3, 126, 127, 137, 255] {
            let problem = run(&format!("echo 'why' >&2; exit {status}")).unwrap_err();
            assert!(
                problem.ends_with(&format!("exit status: {status}; {UNSURE}: why"))
                    && !problem.contains("nothing has changed"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_long_complaint_is_cut_and_does_not_block() {
        let problem = run("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 3").unwrap_err();
        assert!(problem.len() < 4300, "{}", problem.len());
        assert!(problem.contains("exit status: 3"));
    }

    #[test]
    fn a_program_that_is_killed_or_missing_is_an_error() {
        let problem = run("kill -9 $$").unwrap_err();
        assert!(problem.contains("signal: 9") && problem.contains("not known whether"), "{problem}");
        let problem = apply_rules("/nonexistent/nft", "").unwrap_err();
        assert!(
            problem.contains("could not be started") && problem.contains("--nft or NFT_CMD"),
            "{problem}"
        );
    }
}

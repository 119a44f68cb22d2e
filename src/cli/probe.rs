//! `countersign probe`: tests that a URL answers 200 or that a file exists, for images without shell and curl.

use super::exit::{Done, Unusable};
use countersign_core::text::Quoted;
use countersign_io::probe::{answers, is_written};
use std::path::Path;
use std::time::Duration;

/// Ask an address and succeed if it answers 200, or if a file is written
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Asks an http address once and succeeds if it answers 200. Redirects are not followed, and nothing \
                  of the answer is shown but its status. A tcp:// address, as Kubernetes writes that of a Service into \
                  the environment of Pods, is asked over http. A file:// address succeeds if the file is there and not empty, \
                  for the startup probe of a signer."
)]
pub(super) struct Args {
    /// The address, for example `http://localhost:8081/readyz` or `file:///card/agent-card.json`.
    url: String,
    /// How long the answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    if let Some(path) = args.url.strip_prefix("file://") {
        let is_written = is_written(Path::new(path));
        let found = if is_written { "is written" } else { "is absent, empty or no file" };
        return Ok(Done::text(format!("{} {found}\n", Quoted(path))).with_refused(!is_written));
    }
    // The environment of a Pod has the address of each Service in this form, with brackets around one of IPv6.
    let url =
        args.url.strip_prefix("tcp://").map_or_else(|| args.url.clone(), |rest| format!("http://{rest}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unusable::new)?;
    let status = runtime.block_on(answers(&url, Duration::from_secs(args.timeout))).map_err(Unusable::new)?;
    let line = format!("{} answered {status}\n", Quoted(&url));
    Ok(Done::text(line).with_refused(status != 200))
}

//! `countersign probe`: whether an address answers 200, for images that have neither shell nor curl.

use super::exit::{Done, Unusable};
use crate::io::probe::answers;
use std::time::Duration;

/// Ask an address and succeed if it answers 200
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Asks an http address once and succeeds if it answers 200. Redirects are not followed, and nothing \
                  of the answer is shown but its status."
)]
pub(super) struct Args {
    /// The address, for example `http://localhost:8081/readyz`.
    url: String,
    /// How long the answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

pub(super) fn run(args: &Args) -> Result<Done, Unusable> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unusable::new)?;
    let status =
        runtime.block_on(answers(&args.url, Duration::from_secs(args.timeout))).map_err(Unusable::new)?;
    let line = format!("{status}\n");
    Ok(Done::text(line).with_refused(status != 200))
}
